"""A channel between two sets of radios: path loss + LOS state + shadowing + fading, with its memory.

Reads the ends of this tick and what may stand between them; gives large-scale loss (dB), LOS states and fading
gains, for the whole matrix vehicles x stations or for single pairs of vehicles.  Work goes in blocks of
some 25 000 pairs that stay in the nearer caches, with one Philox call for the four normals of a pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosim.network.blockage import Bodies, Buildings, WallMemory, obstacle_loss
from cosim.network.channel_config import ChannelConfig
from cosim.network.correlated import BLOCK, Correlated, Ends, Floats, Index
from cosim.network.fading import FADING
from cosim.network.geo import NLOS, NLOSV, Geo
from cosim.network.los import LOS_LAWS, LOS_MODELS, LosInput, model_state
from cosim.network.models import PATHLOSS
from cosim.network.pathloss_3gpp import antennas_below, blocker_loss
from cosim.network.randomness import Draws, ordered, uniform_of
from cosim.randomness import stream_key

States = NDArray[np.uint8]

_TO_GAIN = -math.log(10.0) / 10.0


# glibc gives blocks of 128 kB and more back to the kernel whenever they are freed, and faults them in again at the
# next use.  Once it has freed a larger one it keeps them, which saves a sixth of a tick.  Nothing is touched here.
np.empty(4_000_000)


def gain_of(loss_db: Floats) -> Floats:
    """Return the linear power gain of a loss in dB."""
    gain = loss_db * _TO_GAIN
    return np.exp(gain, out=gain)


@dataclass(frozen=True, slots=True)
class Block:
    """A channel's state for the vehicles ``rows`` and all stations: loss in dB without fading, LOS, fading gains.

    ``los`` is None where every link is in line of sight, ``fade`` without fading; ``square`` is the squared planar
    distance, m^2.
    """

    rows: slice
    loss_db: Floats
    los: States | None
    fade: Floats | None
    square: Floats


class Channel:
    """One channel of the scenario for one pair of radio kinds.

    Args:
        name: the channel's name, which is the domain of its draws.
        config: its models.
        seed: of the run.
        tick_us: the network's period; a draw belongs to step t_us // tick_us.
        buildings: outlines that may block, for LOS models that ask.
        among: both ends are the same set of vehicles; every value is then reciprocal.
    """

    def __init__(
        self, name: str, config: ChannelConfig, seed: int, tick_us: int, buildings: Buildings, among: bool
    ) -> None:
        self.name, self._config, self._seed, self.tick_us = name, config, seed, tick_us
        self._buildings, self._among = buildings, among
        self.clamped = 0
        """Pairs so far that were closer than the path loss model allows."""
        self._step = 0
        self._space = np.empty((4, 0), np.uint64)
        self._choose_models()

    def _choose_models(self) -> None:
        config = self._config
        self._pathloss = PATHLOSS.get(config.pathloss.model)
        self._pathloss_params = config.pathloss.params(self._parameter("pathloss"))
        self._los = LOS_MODELS.get(config.los.model)
        self._los_params: Any = config.los.params(self._parameter("los"))
        self._fading = FADING.get(config.fading.model)
        self._fading_params = config.fading.params(self._parameter("fading"))
        self._law = None
        if "process" in self._los.needs:
            law = getattr(self._los_params, "law", None) or self._pathloss.los_law
            self._law = LOS_LAWS[law(self._pathloss_params) if callable(law) else law or "tr38901_umi"]
        self._g: Correlated | None = None
        if "process" in self._los.needs:
            kind = "field" if getattr(self._los_params, "process", "ar1") == "field" else "walk"
            d_corr = getattr(self._los_params, "d_corr", 50.0)
            self._g = Correlated(kind, self._seed, f"{self.name}/los", d_corr, self._among)  # type: ignore[arg-type]
        self._walls = WallMemory() if "walls" in self._los.needs else None
        self._wall_matrix: Floats | None = None
        self._roof_matrix: Floats | None = None
        self._frequency = float(getattr(self._pathloss_params, "frequency", 5.9e9))
        self._choose_shadowing()

    def _parameter(self, part: str) -> Any:
        return lambda key: uniform_of(self._seed, f"channels.{self.name}.{part}.{key}", self.name)

    def _choose_shadowing(self) -> None:
        self._shadow: Correlated | None = None
        choice = self._config.shadowing
        if choice.model == "none":
            return
        p = choice.params(self._parameter("shadowing"))
        self._d_corr = self._pathloss.d_corr if p.d_corr is None else (p.d_corr,) * 3
        self._sigma = self._pathloss.sigma if p.sigma is None else (p.sigma,) * 3
        law = "field" if choice.model == "field" else "walk"
        self._shadow = Correlated(
            law,  # type: ignore[arg-type]
            self._seed,
            self.name,
            self._d_corr[0],
            self._among,
            p.site_correlation,
            getattr(p, "distance", "sum") == "relative",
            getattr(p, "waves", 64),
        )

    # --- a tick -----------------------------------------------------------------------------------------

    def begin(self, t_us: int, a: Ends, b: Ends, slots: int, bodies: Bodies | None) -> None:
        """Take over the ends and bodies of the instant ``t_us``; among vehicles, ``b`` is ``a``."""
        self._a, self._b, self._bodies = a, b, bodies
        self._step = t_us // self.tick_us
        self._stream = stream_key(self._seed, self.name, self._step)
        for process in (self._shadow, self._g):
            if process is not None:
                process.begin(a, b, self._step, slots)
        if self._walls is not None:
            self._forget_walls(self._walls, slots)
        if self._among:
            self._advance_walks()

    def _forget_walls(self, walls: WallMemory, slots: int) -> None:
        a, b = self._a, self._b
        walls.reserve(slots, slots if self._among else int(b.slot.max(initial=-1)) + 1)
        walls.forget(a.new, a.new if self._among else b.new)
        moved = walls.moved(a.slot, a.xy, self._los_params.recheck)
        if self._among:
            walls.forget(columns=moved)
        else:
            walls.forget(columns=b.slot[b.moved > 0.0])

    def _rows(self) -> list[slice]:
        n = -(-len(self._a) // max(1, round(len(self._a) * len(self._b) / BLOCK)))
        return [slice(start, start + n) for start in range(0, len(self._a), n)] if n else []

    def _draws(self, rows: slice) -> Draws:
        keys = self._a.key[rows][:, None], self._b.key[None, :]
        shape = len(self._a.key[rows]), len(self._b)
        size = shape[0] * shape[1]
        if size > self._space.shape[1]:
            self._space = np.empty((4, size), np.uint64)
        space = self._space[:, :size].reshape(4, *shape)
        return Draws(*(ordered(*keys) if self._among else keys), self._stream, space)

    def _advance_walks(self) -> None:
        """Step the walks of all pairs of vehicles, whoever asks for them later."""
        shadow = self._shadow if self._shadow is not None and self._shadow.law == "walk" else None
        g = self._g if self._g is not None and self._g.law == "walk" else None
        for rows in self._rows() if shadow or g else []:
            draws = self._draws(rows)
            if shadow:
                shadow.block(rows, draws.z0)
            if g:
                g.block(rows, draws.z1)

    def blocks(self) -> Iterator[Block]:
        """Yield the state of this tick, some vehicles at a time; walks advance, so it is used up once a tick."""
        self._look_at_obstacles()
        for rows in self._rows():
            yield self._block(rows)

    def _block(self, rows: slice) -> Block:
        a, b = self._a, self._b
        draws = self._draws(rows)
        dx, dy = a.x[rows][:, None] - b.x, a.y[rows][:, None] - b.y
        geo = self._geo(dx, dy, alike(a.h[rows], column=True), alike(b.h))
        given = LosInput(law=self._law, blocked_state=self._pathloss.blocked)
        if self._g is not None:
            given.process = self._g.block(rows, draws.z1 if self._g.law == "walk" else None)
        walls = None if self._wall_matrix is None else self._wall_matrix[rows]
        roofs = None if self._roof_matrix is None else self._roof_matrix[rows]
        loss = self._large_scale(geo, given, walls, roofs, lambda at: (a.key[rows][at[0]], b.key[at[1]]))
        if self._shadow is not None:
            walk = self._shadow.law == "walk"
            unit = self._shadow.block(rows, draws.z0 if walk else None, self._other_distance(geo))
            unit *= self._spread(geo)
            loss += unit
        fade = self._fading(draws, self._fading_params) if "draws" in self._fading.needs else None
        return Block(rows, loss, geo.los, fade, geo.square)

    def _geo(self, dx: Floats, dy: Floats, h_a: Floats | float, h_b: Floats | float) -> Geo:
        p = self._pathloss_params
        h_ut, h_bs = getattr(p, "h_ut", None), getattr(p, "h_bs", None)
        if self._among:
            h_bs = h_ut
        geo = Geo(
            dx,
            dy,
            h_a if h_ut is None else h_ut,
            h_b if h_bs is None else h_bs,
            self._frequency,
            d_min=self._pathloss.d_min,
        )
        self.clamped += geo.clamped
        return geo

    def _large_scale(
        self, geo: Geo, given: LosInput, walls: Floats | None, roofs: Floats | None, keys: Any
    ) -> Floats:
        """Set the LOS states of ``geo`` and return path loss and blockage in dB."""
        obstacles = None
        if walls is not None:
            if self._los_params.obstacle_loss:
                obstacles, given.walls = walls, np.zeros(walls.shape, np.bool_)
            else:
                given.walls = walls > 0.0
        given.roofs = roofs
        if self._los.name != "always":
            geo.los = model_state(self._los, geo, self._los_params, given)
        loss = self._pathloss_of(geo)
        if obstacles is not None:
            loss += obstacles
        if geo.los is not None:
            self._add_blockers(loss, geo, roofs, keys)
        return loss

    def _pathloss_of(self, geo: Geo) -> Floats:
        """Return path loss as an array of our own, whatever the model's function gives."""
        loss = np.asarray(self._pathloss.function(geo, self._pathloss_params), np.float64)
        shared = loss.base is not None or any(loss is array for array in vars(geo).values())
        if shared or loss.shape != geo.square.shape:
            loss = np.array(np.broadcast_to(loss, geo.square.shape))
        return loss

    def _add_blockers(self, loss: Floats, geo: Geo, roofs: Floats | None, keys: Any) -> None:
        """Add what blocking vehicles cost: a draw that a pair keeps for the run."""
        assert geo.los is not None
        at = np.nonzero(geo.los == NLOSV)
        if not len(at[0]):
            return
        a, b = keys(at)
        if self._among:
            a, b = ordered(a, b)
        z = Draws(a, b, stream_key(self._seed, f"{self.name}/nlosv", 0)).z0
        h_a, h_b = (np.broadcast_to(h, geo.los.shape)[at] for h in (geo.h_tx, geo.h_rx))
        roof = self._config.blocker_height if roofs is None else roofs[at]
        below = antennas_below(h_a, h_b, roof)
        loss[at] += blocker_loss(np.broadcast_to(geo.d3, geo.los.shape)[at], below, z, self._config.nlosv)

    def _by_state(self, geo: Geo, values: tuple[float, float, float]) -> Floats | float:
        clear, behind_vehicles, blocked = values
        if geo.los is None or clear == behind_vehicles == blocked:
            return clear
        if clear == behind_vehicles:
            return np.where(geo.los == NLOS, blocked, clear)
        return np.take(np.array(values), geo.los)

    def _other_distance(self, geo: Geo) -> tuple[NDArray[np.bool_], float] | None:
        """Return the pairs whose shadowing correlates over another distance, because buildings block them."""
        clear, _, blocked = self._d_corr
        return None if geo.los is None or clear == blocked else (geo.los == NLOS, blocked)

    def _spread(self, geo: Geo) -> Floats | float:
        """Return the shadowing spread of every pair, dB."""
        if callable(self._sigma):
            return self._sigma(geo, self._pathloss_params)
        return self._by_state(geo, self._sigma)

    # --- obstacles --------------------------------------------------------------------------------------

    def _look_at_obstacles(self) -> None:
        """Find walls and roofs between all vehicles and stations."""
        a, b = self._a, self._b
        i, j = np.arange(len(a))[:, None], np.arange(len(b))[None, :]
        if self._walls is not None:
            self._wall_matrix = self._wall_values(i, j)
        if "roofs" in self._los.needs:
            self._roof_matrix = self._roof_values(i, j)

    def _wall_values(self, i: Index, j: Index) -> Floats:
        """Return what buildings do to pairs (row of a, row of b), testing those not yet known."""
        walls, a, b = self._walls, self._a, self._b
        assert walls is not None
        value = np.asarray(walls.value[a.slot[i], b.slot[j]])
        unknown = np.isnan(value)
        if unknown.any():
            i, j = (np.broadcast_to(k, value.shape)[unknown] for k in (i, j))
            tested = self._test_walls(walls, a.xy[i], b.xy[j])
            value[unknown] = tested
            walls.value[a.slot[i], b.slot[j]] = tested
            if self._among:
                walls.value[b.slot[j], a.slot[i]] = tested
        return value

    def _test_walls(self, walls: WallMemory, start: Floats, end: Floats) -> Floats:
        limit = self._los_params.range
        offset = end - start
        near = np.ones(len(start), np.bool_)
        if limit is not None:
            near = (offset * offset).sum(axis=1) <= limit * limit
        walls.tested += int(np.count_nonzero(near))
        if self._los_params.obstacle_loss:
            result = np.zeros(len(start))
            cuts, inside = self._buildings.thickness(start[near], end[near])
            result[near] = obstacle_loss(cuts, inside, self._los_params.per_wall, self._los_params.per_metre)
            return result
        result = np.ones(len(start))
        result[near] = self._buildings.cut(start[near], end[near])
        return result

    def _roof_values(self, i: Index, j: Index) -> Floats:
        """Return the highest roof between pairs, nan where the way is free."""
        assert self._bodies is not None
        i, j = np.broadcast_arrays(i, j)
        shape, i, j = i.shape, i.ravel(), j.ravel()
        a, b = self._a, self._b
        own = (a.body[i], b.body[j])
        return self._bodies.highest(a.xy[i], b.xy[j], own).reshape(shape)

    # --- single pairs -----------------------------------------------------------------------------------

    def loss_of(self, i: Index, j: Index) -> tuple[Floats, States | None]:
        """Return large-scale loss in dB and LOS states of pairs of vehicles; ``i`` and ``j`` broadcast."""
        a = self._a
        i, j = np.asarray(i), np.asarray(j)
        geo = self._geo(a.x[i] - a.x[j], a.y[i] - a.y[j], alike(a.h, i), alike(a.h, j))
        given = LosInput(law=self._law, blocked_state=self._pathloss.blocked)
        if self._g is not None:
            given.process = self._g.pairs(i, j)
        walls = None if self._walls is None else self._wall_values(i, j)
        roofs = self._roof_values(i, j) if "roofs" in self._los.needs else None

        def keys(at: Any) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
            rows = (np.broadcast_to(k, geo.square.shape)[at] for k in (i, j))
            first, second = (a.key[r] for r in rows)
            return first, second

        loss = self._large_scale(geo, given, walls, roofs, keys)
        if self._shadow is not None:
            loss += self._spread(geo) * self._shadow.pairs(i, j)
        return loss, geo.los

    def gains(self, i: Index, j: Index, block: Index) -> Floats:
        """Return linear gains of pairs of vehicles in resource blocks, fading included; all arguments broadcast."""
        loss, _ = self.loss_of(i, j)
        loss *= _TO_GAIN
        gain = np.exp(loss, out=loss)
        if "draws" in self._fading.needs:
            gain = gain * self.fade(self._a.key[i], self._a.key[j], block)
        return gain

    def fade(self, key_a: NDArray[np.uint64], key_b: NDArray[np.uint64], block: Index) -> Floats | float:
        """Return fading gains of pairs in resource blocks (domain ``NAME/rb<k>``); all arguments broadcast."""
        if "draws" not in self._fading.needs:
            return 1.0
        if self._among:
            key_a, key_b = ordered(key_a, key_b)
        block = np.asarray(block)
        if block.ndim == 0:
            return self._fade_block(key_a, key_b, int(block))
        key_a, key_b, blocks = np.broadcast_arrays(key_a, key_b, block)
        gain = np.empty(blocks.shape)
        for k in np.unique(block):
            here = blocks == k
            gain[here] = self._fade_block(key_a[here], key_b[here], int(k))
        return gain

    def _fade_block(self, a: NDArray[np.uint64], b: NDArray[np.uint64], block: int) -> Floats:
        stream = stream_key(self._seed, f"{self.name}/rb{block}", self._step)
        return np.asarray(self._fading(Draws(a, b, stream), self._fading_params))


def alike(values: Floats, at: Index | None = None, column: bool = False) -> Floats | float:
    """Return one number where all values are equal (which saves an array per term), else the values."""
    if len(values) and (values == values[0]).all():
        return float(values[0])
    if at is not None:
        return values[at]
    return values[:, None] if column else values
