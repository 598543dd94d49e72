"""Who is compared in the paper's figures, and how all of them are measured on fresh tapes.

A *contender* is a row of a figure: a rule, or the shipped policies of a trained method.  :class:`Stage` holds the
tapes of a scenario on which all play the same traffic and draws; :func:`evaluate` gives one number a policy, tape and
draw, :func:`by_tape` one a contender and tape, with everybody's distance to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.common.shipped import Shipped, shipped
from agents.hybrid_mappo import deciders
from agents.hybrid_mappo.acting import PolicyNet
from agents.hybrid_mappo.foresight import NONE, PERFECT, Foresight
from agents.hybrid_mappo.hybrid_mappo import HybridMappo, HybridMappoWithout
from agents.hybrid_mappo.mappo_ddpg import MappoDdpg, MappoDdpgWithout
from agents.hybrid_mappo.playing import Player
from agents.hybrid_mappo.predictor import FOLDER
from agents.hybrid_mappo.rivals import soft_rule
from agents.hybrid_mappo.sizes import Sizes
from cosim.experiments.tapes import record_tapes
from cosim.lockstep.weights import read_policy
from cosim.resources import locate
from cosim.scenario import load_scenario
from cosim.tasks.migration import MigrationOptions, MobilityTape, ObservationSet, Slot, TapeBatch, load_tape

if TYPE_CHECKING:
    import polars as pl

PAPER = "hybrid_mappo"
OURS, WITHOUT = "hybrid_mappo", "hybrid_mappo_wo"
TRAINED = (OURS, WITHOUT, "mappo_ddpg", "mappo_ddpg_wo")
"""The methods that learn, in the paper's order of merit."""
BASE = "random"
BOUND = "seq"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contender:
    """A row of a figure: its ``name``, and the ``rule`` with what it foresees, or ``policies`` of a trained method."""

    name: str
    rule: str = ""
    prediction: str = NONE
    policies: tuple[Shipped, ...] = ()


_AGENTS = {agent.name: agent for agent in (HybridMappo, HybridMappoWithout, MappoDdpg, MappoDdpgWithout)}
_PREDICTED = {"soft_lstm": "lstm-{}-20s-s0", "soft_ar": "ar-{}-20s-s0"}
"""``soft`` with predictors, by the names of their files."""
RULES = ("greedy", BASE, "fpm", "npm", "soft", *_PREDICTED, "soft_perfect", BOUND)


def methods(scenario: str) -> tuple[str, ...]:
    """Return the names of all rows of a scenario's figures, those without a policy too.

    Shipped policies of other configurations come under their own names, after the paper's methods.
    """
    others = {policy.method: None for policy in shipped(PAPER, scenario) if policy.method not in TRAINED}
    return (*TRAINED, *others, *RULES)


def contenders(scenario: str) -> tuple[tuple[Contender, ...], dict[str, str]]:
    """Return who can play on a scenario's tapes, and why the others cannot."""
    found: list[Contender] = []
    missing: dict[str, str] = {}
    policies = shipped(PAPER, scenario)
    for name in methods(scenario):
        mine = tuple(policy for policy in policies if policy.method == name)
        if name in _PREDICTED:
            weights = _PREDICTED[name].format(scenario)
            if locate(weights, FOLDER, ("", ".safetensors")) is None:
                missing[name] = f"no predictor {weights} is shipped"
            else:
                found.append(Contender(name, "soft", weights))
        elif name == "soft_perfect":
            found.append(Contender(name, "soft", PERFECT))
        elif name in RULES:
            found.append(Contender(name, name))
        elif mine:
            found.append(Contender(name, policies=mine))
        else:
            missing[name] = f"no policy {name}-{scenario}-sSEED is shipped"
    return tuple(found), missing


@dataclass(frozen=True)
class _Remembered(Foresight):
    """Counts of one set of tapes by slot: observations and settings change, where vehicles go does not."""

    known: dict[int, Floats | None] = field(default_factory=dict)

    def counts(self, layout: Any, slot: Slot, history: Floats) -> Floats | None:
        """Return z as :class:`Foresight` says."""
        if slot.t not in self.known:
            self.known[slot.t] = super().counts(layout, slot, history)
        return self.known[slot.t]


class Stage:
    """Tapes on which contenders play.

    Args:
        tapes: N tapes of one layout.
        options: of the task.
    """

    def __init__(self, tapes: Sequence[MobilityTape], options: MigrationOptions) -> None:
        self.tapes, self.options, self.ranges = tuple(tapes), options, options.ranges()
        self.batch = TapeBatch(tapes, options.rules(tapes[0].slot), self.ranges)
        self._known: dict[str, _Remembered] = {}
        self._players: dict[tuple[str, float, ObservationSet], Player] = {}

    def player(self, prediction: str, zeta: float = Foresight.zeta, kind: ObservationSet = "paper") -> Player:
        """Return who plays with that foresight and observation; what is foreseen is computed once."""
        key = (prediction, zeta, kind)
        if key not in self._players:
            known = self._known.setdefault(prediction, _Remembered(**_fields(prediction)))
            self._players[key] = Player(self.batch, replace(known, zeta=zeta), kind)
        return self._players[key]

    def fix(self, **ranges: float) -> None:
        """Give draws these values (SI) from now on, all others their ranges; without any, all have their ranges."""
        self.batch.ranges = replace(self.ranges, **{name: (value, value) for name, value in ranges.items()})

    def play(self, contender: Contender, draws: int, policy: Shipped | None = None, told: str = "") -> Floats:
        """Return T_sum (N, draws, T, V) in s, NaN without a task; ``told`` names a prediction in place of its own."""
        tapes = len(self.tapes)
        if policy is None:
            player = self.player(contender.prediction)
            foresight = self._known[contender.prediction]
            rule = soft_rule(foresight) if contender.rule == "soft" else deciders.RULES[contender.rule]
        else:
            player, rule = self._trained(policy, told)
        found = player.play(rule, np.repeat(np.arange(tapes), draws), list(range(draws)) * tapes)
        return found.reshape(tapes, draws, *found.shape[1:])

    def _trained(self, policy: Shipped, told: str) -> tuple[Player, Any]:
        file = policy.file()
        assert file is not None
        read = read_policy(file)
        agent = _AGENTS[read.about["agent"]]
        config = agent.Config.model_validate(read.about.get("config", {}))
        layout = self.batch.layout
        sizes = Sizes.of(config, layout.stations, self.batch.vehicles, layout.remote)
        net = PolicyNet(read.arrays, sizes.guide, policy.name, certain=issubclass(agent, MappoDdpg))
        player = self.player(told or config.prediction, config.zeta, config.observation)
        return player, player.trained(net, config.draw)

    def crowding(self) -> float:
        """Return the mean over tapes and slots of max_m z_m, the most vehicles near one RSU."""
        return float(np.mean([tape.crowding() for tape in self.tapes]))

    def covered(self) -> float:
        """Return the share of vehicle-slots with a task."""
        return float(np.mean([(tape.serving[tape.history :] >= 0).mean() for tape in self.tapes]))


def _fields(prediction: str) -> dict[str, Any]:
    named = Foresight.named(prediction)
    return {"predictor": named.predictor, "perfect": named.perfect}


def stage_of(scenario: str, seeds: Sequence[int], folder: Path, jobs: int | None) -> Stage:
    """Return the tapes of *seeds*, recorded where ``FOLDER/tapes/SCENARIO`` lacks them; draws have their ranges."""
    loaded = load_scenario(scenario)
    files = record_tapes(loaded, seeds, folder / "tapes" / scenario, jobs=jobs).files
    stage = _stage(files, loaded.parse("tasks.migration", MigrationOptions))
    stage.fix()
    return stage


@lru_cache(maxsize=1)
def _stage(files: tuple[Path, ...], options: MigrationOptions) -> Stage:
    """Return the stage of these files; kept, as the figures of one call share it and all that is foreseen on it."""
    return Stage([load_tape(file) for file in files], options)


def evaluate(
    stage: Stage,
    rows: Sequence[Contender],
    seeds: Sequence[int],
    draws: int,
    *,
    told: str = "",
    kept: Path | None = None,
) -> pl.DataFrame:
    """Return a row a contender, policy, tape and draw: ``method``, ``policy``, ``seed``, ``draw``, ``task_latency``.

    *seeds* (N,) name the tapes, in their order; ``told`` as in :meth:`Stage.play`.  What was evaluated before with the
    same tapes, settings and weights is read from the folder ``kept``.
    """
    import polars as pl

    parts = []
    for row in rows:
        for policy in row.policies or (None,):
            file = None if kept is None else kept / _name(stage, row, policy, draws, told)
            if file is not None and file.is_file():
                parts.append(pl.read_parquet(file))
                continue
            found = np.nanmean(stage.play(row, draws, policy, told), axis=(2, 3))
            part = pl.DataFrame(
                {
                    "method": [row.name] * found.size,
                    "policy": [policy.name if policy else ""] * found.size,
                    "seed": np.repeat(np.asarray(seeds), draws),
                    "draw": np.tile(np.arange(draws), len(seeds)),
                    "task_latency": found.reshape(-1),
                }
            )
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                part.write_parquet(file)
            parts.append(part)
    return pl.concat(parts)


def _name(stage: Stage, row: Contender, policy: Shipped | None, draws: int, told: str) -> str:
    """Return a file name that is another one if anything differs that an evaluation depends on."""
    prediction = row.prediction
    weights = None if policy is None else policy.file()
    if weights is not None:
        prediction = read_policy(weights).about.get("config", {}).get("prediction", NONE)
    predictors = (locate(name, FOLDER, ("", ".safetensors")) for name in (prediction, told) if name)
    files = (weights, *predictors)
    about = (
        (row.rule, prediction),
        stage.batch.rules,
        stage.batch.ranges,
        (draws, told),
        [tape.seed for tape in stage.tapes],
        [None if file is None else sha256(file.read_bytes()).hexdigest() for file in files],
    )
    return f"{policy.name if policy else row.name}-{sha256(repr(about).encode()).hexdigest()[:12]}.parquet"


def by_tape(evaluated: pl.DataFrame, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Return the mean over draws and policies for each method and tape, and the gaps to others.

    ``vs_random`` is T / T_random - 1; ``latency_gap`` 1 - T_ours / T and ``reward_gap`` T / T_ours - 1 are the two
    readings of "ours is so much better" (rewards are -T).  *keys* are further columns that tell settings apart; all is
    compared within them.  A column without its base is null.
    """
    import polars as pl

    whole = evaluated.group_by([*keys, "method", "seed"], maintain_order=True).agg(
        pl.col("task_latency").mean()
    )
    parts = []
    for _, part in whole.group_by(list(keys) or [pl.lit(0)], maintain_order=True):
        latency = _wide(part)
        gaps = {name: _gaps(latency, name) for name in latency}
        columns = ("vs_random", "latency_gap", "reward_gap")
        parts.append(
            part.with_columns(
                pl.Series(c, np.concatenate([gaps[name][c] for name in latency]), dtype=pl.Float64).fill_nan(
                    None
                )
                for c in columns
            )
        )
    return pl.concat(parts)


def _wide(part: pl.DataFrame) -> dict[str, Floats]:
    """Return each method's T (N,) over the tapes; all methods have the same ones in the same order."""
    return {
        str(name[0]): rows["task_latency"].to_numpy()
        for name, rows in part.group_by("method", maintain_order=True)
    }


def _gaps(latency: Mapping[str, Floats], name: str) -> dict[str, Floats]:
    mine = latency[name]
    nothing = np.full(mine.shape, np.nan)
    random, ours = latency.get(BASE), latency.get(OURS)
    return {
        "vs_random": nothing if random is None else ratio(mine, random) - 1.0,
        "latency_gap": nothing if ours is None or name == OURS else 1.0 - ratio(ours, mine),
        "reward_gap": nothing if ours is None or name == OURS else ratio(mine, ours) - 1.0,
    }


def ratio(a: Floats, b: Floats) -> Floats:
    """Return (N,) numbers whose mean is mean(a) / mean(b) and whose spread is that of the ratio, a and b paired.

    Each is the ratio plus its tape's residual (a - ratio b) / mean(b): the delta method.
    """
    whole = a.mean() / b.mean()
    residual: Floats = whole + (a - whole * b) / b.mean()
    return residual
