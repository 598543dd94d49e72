"""Many mobility tapes stepped together: the migration task without SUMO, for training and evaluation.

    batch = TapeBatch(tapes)                    # any number of tapes of one layout
    batch.start([0, 3, 3], draws=[0, 0, 1])     # three episodes: tape 0, and tape 3 with two draws
    while not batch.over:
        observations = batch.observe("pilot")   # (E, V, 47)
        outcome = batch.step(choice, share)     # (E, V) each; outcome.reward (E, V)

All episodes are at the same decision slot.  The rewards are those of lockstep with SUMO, to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cosim.randomness import entity_keys
from cosim.tasks.migration.draws import Floats, Keys, Parameters, Ranges, draw_parameters, draw_tasks
from cosim.tasks.migration.episode import Outcome, Slot, settle
from cosim.tasks.migration.latency import Rules, spectral_efficiency
from cosim.tasks.migration.observation import ObservationSet, observe
from cosim.tasks.migration.space import Bools, Ints, action_mask, decide, distances, residence_time
from cosim.tasks.migration.tape import MobilityTape, check_alike


class TapeBatch:
    """E episodes on tapes of one layout; :meth:`start` chooses which.

    Args:
        tapes: N tapes with equal RSUs, numbers of vehicles and slots (RecordingError otherwise).
        rules: the latency model's constants and switches.
        ranges: of the draws.

    ``slot`` is the present :class:`Slot`, ``mask`` (E, V, A) its open choices, ``history`` (E, V, 12, 2) the
    positions (m) at the slots before it, ``over`` whether the last decision slot is done.
    """

    def __init__(
        self, tapes: Sequence[MobilityTape], rules: Rules | None = None, ranges: Ranges | None = None
    ) -> None:
        check_alike(tapes)
        self.tapes = tuple(tapes)
        self.rules, self.ranges = rules or Rules(slot=tapes[0].slot), ranges or Ranges()
        self.layout = tapes[0].layout
        self.decisions = tapes[0].decisions
        self._first = tapes[0].history
        self._keys: Keys = np.stack([entity_keys(tape.vehicles) for tape in tapes])
        # (S, N, …): one slot of all tapes lies together.
        self._xy = np.stack([tape.xy for tape in tapes], axis=1)
        self._speed = np.stack([tape.speed for tape in tapes], axis=1)
        remaining = np.stack([tape.remaining for tape in tapes], axis=1)
        self._serving: Ints = np.stack([tape.serving for tape in tapes], axis=1).astype(np.int64)
        self._ahead: Ints = np.stack([tape.ahead for tape in tapes], axis=1).astype(np.int64)
        self._duration = residence_time(remaining, self._speed)
        self._efficiency = spectral_efficiency(self.rules, distances(self.layout, self._xy))
        literal = self.rules.own_target == "literal"
        self._mask = action_mask(self.layout, self._serving, self._ahead, literal)
        self.start(np.arange(len(tapes)))

    def __len__(self) -> int:
        """Return the number of episodes, E."""
        return len(self._which)

    @property
    def vehicles(self) -> int:
        """Number of agent vehicles, V."""
        return int(self._xy.shape[2])

    def start(self, which: Sequence[int] | NDArray[np.int64], draws: Sequence[int] | int = 0) -> None:
        """Begin E episodes at decision slot 0 on tapes ``which`` (E,), with draw numbers ``draws`` (E,)."""
        self._which = np.asarray(which, dtype=np.int64)
        numbers = [draws] * len(self._which) if isinstance(draws, int) else list(draws)
        seeds = [self.tapes[i].seed for i in self._which.tolist()]
        slots = np.arange(self.decisions)
        self.parameters: Parameters = draw_parameters(self.ranges, seeds, numbers, self.layout.ids)
        inputs, tasks = draw_tasks(self.ranges, seeds, numbers, slots, self._keys[self._which])
        self._inputs, self._tasks = np.swapaxes(inputs, 0, 1).copy(), np.swapaxes(tasks, 0, 1).copy()
        last = np.zeros((len(self._which), self.vehicles))
        self.slot: Slot = self._at(0, self.parameters.queue, last)

    def _at(self, t: int, queue: Floats, last: Floats) -> Slot:
        row, which, known = self._first + t, self._which, self.parameters
        return Slot(
            t=t,
            xy=self._xy[row].take(which, axis=0),
            speed=self._speed[row].take(which, axis=0),
            duration=self._duration[row].take(which, axis=0),
            serving=self._serving[row].take(which, axis=0),
            ahead=self._ahead[row].take(which, axis=0),
            input_bits=self._inputs[t],
            task_bits=self._tasks[t],
            rate=known.bandwidth[:, None, :] * self._efficiency[row].take(which, axis=0),
            cpu=known.cpu,
            cpu_cloud=known.cpu_cloud,
            migration=known.migration,
            queue=queue,
            last=last,
        )

    @property
    def over(self) -> bool:
        """Whether all decision slots are done; :meth:`start` begins anew."""
        return self.slot.t >= self.decisions

    @property
    def mask(self) -> Bools:
        """Open choices at this slot, (E, V, A)."""
        mask: Bools = self._mask[self._first + self.slot.t].take(self._which, axis=0)
        return mask

    @property
    def history(self) -> Floats:
        """Positions at the slots before this one, oldest first, (E, V, H, 2) m."""
        row = self._first + self.slot.t
        past = self._xy[row - self._first : row].take(self._which, axis=1)
        return np.ascontiguousarray(past.transpose(1, 2, 0, 3))

    def observe(self, kind: ObservationSet, loads: Floats | None = None) -> NDArray[np.float32]:
        """Return the observations (E, V, d); ``loads`` (E, M) or (E, V, M) replace L(t) (eq 18)."""
        return observe(kind, self.layout, self.rules, self.slot, loads)

    def step(self, choice: Ints, share: Floats) -> Outcome:
        """Decide for all vehicles and go to the next slot.

        ``choice`` (E, V) discrete choices, ``share`` (E, V) K in [0, 1].  A masked choice migrates nothing.
        """
        slot = self.slot
        target, share = decide(self.layout, choice, share, slot.serving, slot.ahead, self.mask)
        outcome = settle(self.rules, slot, target, share)
        t = slot.t + 1
        if t < self.decisions:
            self.slot = self._at(t, outcome.queue, outcome.latency.total)
        else:
            self.slot = replace(slot, t=t, queue=outcome.queue, last=outcome.latency.total)
        return outcome
