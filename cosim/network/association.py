"""Which station serves a vehicle: policies, handover, interruption, ping-pong.

``@association(name)`` registers a pure function ``(measured, config) -> wanted`` that names the station each
vehicle should be served by.  Triggers that must hold for a time (A3) keep their memory in :class:`Association`,
in slot arrays; what a policy sees is in :class:`Measured`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosim.network.models import GROUP, Model, adder
from cosim.registry import Registry

if TYPE_CHECKING:
    from cosim.network.config import AssociationConfig

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

POLICIES: Registry[Model] = Registry(GROUP, "association policy")
association = adder(POLICIES)

NEVER = -(2**62)
"""A time before all others, µs."""


@dataclass(slots=True)
class Measured:
    """What an association policy sees of V vehicles and M stations at an instant.

    ``rx_dbm`` (V, M) is the received power of large-scale loss, -inf where a station is out of range or not
    linked; ``distance`` (V, M) in m; ``serving`` (V,) the present station (-1 none); ``held`` (V, M) how long
    each neighbour has been better than the serving station by A3's margin, µs, -1 where it is not; ``wanted``
    (V,) what agents have ordered, -1 where they have not.
    """

    rx_dbm: Floats
    distance: Floats
    serving: Index
    held: Index
    wanted: Index

    @property
    def reachable(self) -> NDArray[np.bool_]:
        """Whether a station can serve a vehicle at all, (V, M)."""
        return self.rx_dbm > -np.inf


def _best(score: Floats, measured: Measured) -> Index:
    """Return the station of the highest score for each vehicle, -1 where none is reachable."""
    if not score.shape[1]:
        return np.full(len(score), -1, np.int64)
    if score is not measured.rx_dbm:
        score = np.where(measured.reachable, score, -np.inf)
    best = score.argmax(axis=1)
    return np.where(score[np.arange(len(score)), best] > -np.inf, best, -1)


def _stay_or(measured: Measured, other: Index) -> Index:
    """Keep the serving station while it is reachable, else take the other."""
    serving = measured.serving
    safe = np.maximum(serving, 0)
    stays = serving >= 0
    if measured.rx_dbm.shape[1]:
        stays &= measured.rx_dbm[np.arange(len(serving)), safe] > -np.inf
    return np.where(stays, serving, other)


@association("strongest")
def strongest(measured: Measured, config: AssociationConfig) -> Index:
    """Take the station that is received best."""
    return _best(measured.rx_dbm, measured)


@association("max_rx")
def max_rx(measured: Measured, config: AssociationConfig) -> Index:
    """Another name of ``strongest``."""
    return _best(measured.rx_dbm, measured)


@association("nearest", needs=("distance",))
def nearest(measured: Measured, config: AssociationConfig) -> Index:
    """Take the nearest station."""
    return _best(-measured.distance, measured)


@association("a3", needs=("held",))
def a3(measured: Measured, config: AssociationConfig) -> Index:
    """Change to a neighbour that has been better by hysteresis and offset for the time to trigger.

    TS 38.331 clause 5.5.4.4: entered when neighbour - hysteresis > serving + offset, and unbroken since.  Of
    several, the strongest.  A vehicle without a station takes the strongest at once.
    """
    ready = measured.held >= config.time_to_trigger
    stay = _stay_or(measured, _best(measured.rx_dbm, measured))
    if not ready.any():
        return stay
    choice = np.where(ready, measured.rx_dbm, -np.inf).argmax(axis=1)
    return np.where(ready.any(axis=1), choice, stay)


@association("agent")
def agent(measured: Measured, config: AssociationConfig) -> Index:
    """Do what agents have ordered where that is possible; without an order, the first contact is the strongest."""
    wanted = measured.wanted
    possible = wanted >= 0
    if measured.rx_dbm.shape[1]:
        possible &= measured.rx_dbm[np.arange(len(wanted)), np.maximum(wanted, 0)] > -np.inf
    return np.where(possible, wanted, _stay_or(measured, _best(measured.rx_dbm, measured)))


@dataclass(frozen=True, slots=True)
class Decision:
    """What association gave at a tick, all (V,).

    ``serving`` (-1 none), ``former`` (the station before a handover, -1 where there was none), ``handover`` and
    ``ping_pong`` flags, ``silent_until_us`` the end of the interruption.
    """

    serving: Index
    former: Index
    handover: NDArray[np.bool_]
    ping_pong: NDArray[np.bool_]
    silent_until_us: Index


class Association:
    """The memory of who serves whom; rows are vehicle slots, columns station slots.

    A station that vanished must be dropped with :meth:`forget_stations` before its slot is used again.
    """

    def __init__(self, config: AssociationConfig) -> None:
        self._config = config
        self._policy = POLICIES.get(config.policy)
        self._resize(0)
        self._since = np.full((0, 0), NEVER, np.int64)

    @property
    def needs_distance(self) -> bool:
        """Whether the policy reads distances."""
        return "distance" in self._policy.needs

    def _resize(self, rows: int) -> None:
        self._serving = np.full(rows, -1, np.int64)
        self._left = np.full(rows, -1, np.int64)
        self._left_us = np.full(rows, NEVER, np.int64)
        self._silent_us = np.full(rows, NEVER, np.int64)
        self._wanted = np.full(rows, -1, np.int64)

    def reserve(self, rows: int, columns: int) -> None:
        """Make room for at least that many slots."""
        have = len(self._serving)
        if rows > have:
            rows = max(rows, 2 * have)
            old = self._serving, self._left, self._left_us, self._silent_us, self._wanted
            self._resize(rows)
            new = self._serving, self._left, self._left_us, self._silent_us, self._wanted
            for source, target in zip(old, new, strict=True):
                target[:have] = source
        if rows > self._since.shape[0] or columns > self._since.shape[1]:
            larger = np.full((len(self._serving), max(columns, self._since.shape[1])), NEVER, np.int64)
            larger[: self._since.shape[0], : self._since.shape[1]] = self._since
            self._since = larger

    def forget(self, rows: Index) -> None:
        """Begin anew for these vehicle slots."""
        self._serving[rows] = self._left[rows] = self._wanted[rows] = -1
        self._left_us[rows] = self._silent_us[rows] = NEVER
        self._since[rows] = NEVER

    def forget_stations(self, columns: Index) -> None:
        """Drop stations that are gone: whom they served is without a station."""
        for array in (self._serving, self._left, self._wanted):
            array[np.isin(array, columns)] = -1
        self._since[:, columns] = NEVER

    def order(self, rows: Index, stations: Index) -> None:
        """Note which station slots agents want for these vehicles (-1: no order); read by ``agent``."""
        self._wanted[rows] = stations

    def step(self, t_us: int, rows: Index, columns: Index, rx_dbm: Floats, distance: Floats) -> Decision:
        """Decide for the vehicles in slots ``rows`` (V,) among the stations in slots ``columns`` (M,).

        ``rx_dbm`` and ``distance`` are (V, M); the result names stations by column.
        """
        column_of = np.full(self._since.shape[1] + 1, -1, np.int64)
        column_of[columns] = np.arange(len(columns))
        serving = column_of[self._serving[rows]]
        held = np.empty((len(rows), 0), np.int64)
        if "held" in self._policy.needs:
            held = self._held(t_us, rows, columns, serving, rx_dbm)
        measured = Measured(rx_dbm, distance, serving, held, column_of[self._wanted[rows]])
        wanted = np.asarray(self._policy(measured, self._config), np.int64)
        return self._change(t_us, rows, columns, serving, wanted)

    def _held(self, t_us: int, rows: Index, columns: Index, serving: Index, rx_dbm: Floats) -> Index:
        """Update since when A3 holds for each neighbour and return for how long, -1 where it does not."""
        config = self._config
        if not len(columns):
            return np.empty((len(rows), 0), np.int64)
        own = rx_dbm[np.arange(len(rows)), np.maximum(serving, 0)]
        entered = rx_dbm - config.hysteresis > (own + config.offset)[:, None]
        entered &= (serving >= 0)[:, None]
        at = np.ix_(rows, columns)
        since = self._since[at]
        since = np.where(entered, np.where(since == NEVER, t_us, since), NEVER)
        self._since[at] = since
        return np.where(entered, t_us - since, -1)

    def _change(self, t_us: int, rows: Index, columns: Index, serving: Index, wanted: Index) -> Decision:
        config = self._config
        if np.array_equal(wanted, serving):
            nobody = np.zeros(len(rows), np.bool_)
            return Decision(wanted, np.full(len(rows), -1, np.int64), nobody, nobody, self._silent_us[rows])
        slot_of = np.append(columns, -1)
        handover = (serving >= 0) & (wanted >= 0) & (wanted != serving)
        recent = t_us - self._left_us[rows] <= config.ping_pong
        ping_pong = handover & recent & (self._left[rows] == slot_of[wanted])
        self._since[rows[serving != wanted]] = NEVER
        # A station is left by handover and by loss alike, so a return through a gap counts as well.
        left = (serving >= 0) & (wanted != serving)
        self._left[rows[left]] = slot_of[serving[left]]
        self._left_us[rows[left]] = t_us
        self._silent_us[rows[handover]] = t_us + config.interruption
        self._serving[rows] = slot_of[wanted]
        former = np.where(handover, serving, -1)
        return Decision(wanted, former, handover, ping_pong, self._silent_us[rows])
