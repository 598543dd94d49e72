"""A small task that keeps every rule, ``toy``, and one variant for each way of breaking a rule."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from cosim.lockstep import Actions, ActionSpec, Observations, RoleSpec
from cosim.scenario import Scenario, load_scenario, scenario_from_resolved
from cosim.tasks import Instant, TaskContext, tasks

END = 60.0
"""The toy decides for CAVs on the first metres of the highway."""
NO_OP = 1


class ToyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    no_op: Literal[1] = NO_OP


class AnyOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    no_op: Literal[1] = NO_OP


@tasks.register("toy")
class Toy:
    """Brake, keep or accelerate, on the first 60 m; above 10 m/s accelerating is forbidden."""

    name: ClassVar[str] = "toy"
    Options: ClassVar[type[BaseModel]] = ToyOptions
    metric_names = ("mean_speed",)
    phases = ("car",)
    step_columns = ("cars",)

    def __init__(self, options: BaseModel, context: TaskContext) -> None:
        self.roles = {"car": RoleSpec("car", 2, ActionSpec(n=3), low=0.0, high=2.0)}
        self.is_cav = np.array([t.cav for t in context.types])
        self.total = self.count = 0.0
        self.masked = 0
        self.acted: dict[str, np.ndarray] = {}
        self.rows = np.empty(0, dtype=np.intp)

    def watch(self, now: Instant) -> None:
        state = now.traffic
        near = (state.s < END) & (state.edge == state.edges.index("highway_0"))
        self.rows = np.flatnonzero(near & self.is_cav[state.type])
        if now.measured and len(self.rows):
            self.total += float(state.speed[self.rows].mean())
            self.count += 1

    def settle(self, now: Instant) -> None:
        pass

    def row_values(self, now: Instant) -> np.ndarray:
        state = now.traffic
        return np.column_stack([state.s[self.rows] / 100, state.speed[self.rows] / 25]).astype(np.float32)

    def observe(self, now: Instant, phase: str) -> Observations:
        state = now.traffic
        here = tuple(state.ids[r] for r in self.rows.tolist())
        left = tuple(name for name in self.acted if name not in here)
        obs = np.concatenate([self.row_values(now), *[self.acted[name][None] for name in left]])
        n, active = len(obs), len(here)
        mask = np.ones((n, 3), dtype=np.bool_)
        mask[:active, 2] = state.speed[self.rows] <= 10
        reward = np.array(
            [float(obs[i, 1]) if name in self.acted else 0.0 for i, name in enumerate((*here, *left))]
        )
        self.seen = Observations(
            now.t_us,
            "car",
            (*here, *left),
            obs,
            mask,
            {},
            reward,
            np.arange(n) >= active,
            np.zeros(n, dtype=np.bool_),
            active,
        )
        return self.seen

    def apply(self, now: Instant, phase: str, actions: Actions) -> Actions:
        seen = self.seen
        choice = actions.values
        allowed = seen.mask[np.arange(seen.active), choice]
        done = np.where(allowed, choice, NO_OP)
        self.masked += int((~allowed).sum())
        now.commands.speed(self.rows, now.traffic.speed[self.rows] + 0.2 * (done - 1))
        self.acted = {name: seen.obs[i] for i, name in enumerate(seen.ids[: seen.active])}
        return Actions(done)

    def step_values(self) -> tuple[float, ...]:
        return (float(len(self.rows)),)

    def totals(self) -> dict[str, Any]:
        return {"masked_actions": self.masked}

    def metrics(self) -> dict[str, float | None]:
        return {"mean_speed": self.total / self.count if self.count else None}


def wrong(kind: type[Toy]) -> type[Toy]:
    """Register a variant under its own name: ``toy_`` and the class's name in small letters."""
    kind.name = f"toy_{kind.__name__.lower()}"
    return tasks.register(kind.name)(kind)


@wrong
class Unbounded(Toy):
    def row_values(self, now):
        return super().row_values(now) * 20


@wrong
class Double(Toy):
    def row_values(self, now):
        return super().row_values(now).astype(np.float64)


@wrong
class NotFinite(Toy):
    def observe(self, now, phase):
        seen = super().observe(now, phase)
        if now.t_us > 5_000_000:
            seen.reward[:] = np.nan
        return seen


@wrong
class ForgetsLeavers(Toy):
    def observe(self, now, phase):
        self.acted = {n: o for n, o in self.acted.items() if n in {now.traffic.ids[r] for r in self.rows}}
        return super().observe(now, phase)


@wrong
class OtherLastWords(Toy):
    def observe(self, now, phase):
        self.acted = {name: obs * np.float32(0.5) for name, obs in self.acted.items()}
        return super().observe(now, phase)


@wrong
class EarlyReward(Toy):
    def observe(self, now, phase):
        seen = super().observe(now, phase)
        seen.reward[:] = 1.0
        return seen


@wrong
class ObeysTheForbidden(Toy):
    def apply(self, now, phase, actions):
        super().apply(now, phase, actions)
        return actions


@wrong
class ChangesTheAllowed(Toy):
    def apply(self, now, phase, actions):
        return replace(super().apply(now, phase, actions), values=np.zeros_like(actions.values))


@wrong
class DoesNotCount(Toy):
    def totals(self):
        return {"masked_actions": 0}


@wrong
class GlobalRandom(Toy):
    def row_values(self, now):
        return super().row_values(now) + np.float32(random.random() / 10)


@wrong
class RowNumbers(Toy):
    def row_values(self, now):
        values = super().row_values(now)
        values[:, 1] = np.arange(len(values)) / 100
        return values


@wrong
class FirstRowOnly(Toy):
    def apply(self, now, phase, actions):
        done = super().apply(now, phase, actions)
        now.commands.orders.clear()
        now.commands.speed(self.rows[:1], now.traffic.speed[self.rows[:1]])
        return done


@wrong
class ZeroOverNothing(Toy):
    def metrics(self):
        return {"mean_speed": self.total / max(self.count, 1)}


@wrong
class MeasuresTheWarmup(Toy):
    def watch(self, now):
        now.measured = True
        super().watch(now)


@wrong
class OtherMetrics(Toy):
    def metrics(self):
        return {"speed": None}


@wrong
class AnyOption(Toy):
    Options = AnyOptions


@wrong
class OrdersOfNobody(Toy):
    def apply(self, now, phase, actions):
        done = super().apply(now, phase, actions)
        now.commands.orders.append(("speed", ["ghost"], ([1.0],), "toy"))
        return done


@wrong
class OrdersNan(Toy):
    def apply(self, now, phase, actions):
        done = super().apply(now, phase, actions)
        now.commands.speed(self.rows, np.full(len(self.rows), np.nan))
        return done


@wrong
class TooManyColumns(Toy):
    def step_values(self):
        return (0.0, 0.0)


def scenario_with(*names: str, overrides: tuple[str, ...] = ()) -> Scenario:
    """Return the highway at 1000 veh/h a lane, all of them CAVs, with these tasks decided at random."""
    data = load_scenario(
        "highway_350vph", ("traffic.inflow.rate=1000 veh/h", "traffic.inflow.cav_share=1")
    ).resolved()
    data["tasks"] = {name: {"every": 0.1, "agent": "common.random"} for name in names}
    return scenario_from_resolved(data).with_overrides(list(overrides))
