"""Training the LSTM predictor: windows in, weights out, with checkpoints from which it goes on to the same weights.

All randomness is keyed: the order of windows by (seed, epoch), dropout by (seed, update).  So weights, optimizer and
the number of updates done are the whole state, and a training that was stopped ends as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.common.networks import (
    Arrays,
    load_module,
    load_optimizer,
    module_arrays,
    optimizer_arrays,
    set_learning_rate,
)
from agents.hybrid_mappo.predictor.data import Box, Windows
from agents.hybrid_mappo.predictor.lstm import NET, POSITION, Frame, Lstm
from agents.hybrid_mappo.predictor.net import DROPOUT, HIDDEN, PredictorNet
from agents.hybrid_mappo.predictor.scores import table2
from cosim.errors import AgentError, ScenarioError
from cosim.experiments import checkpoint as checkpoints
from cosim.experiments.checkpoint import Checkpoint
from cosim.lockstep.learner import LearnerState
from cosim.randomness import stream_key

CURVE = "curve.csv"
_COLUMNS = ("windows", "learning_rate", "loss", "test_mse", "test_mae", "test_r2")
_KEPT = 2
_ADAM = "adam"


@dataclass(frozen=True)
class PredictorConfig:
    """How a predictor is trained.  Tags: G given by the paper, P pilot, A assumed.

    ``windows`` are seen in all, repetitions counted.  With ``final_rate`` below 1 the learning rate falls along half
    a cosine to that share of ``learning_rate``.
    """

    target: str = POSITION
    """position: G; displacement: a variant (:class:`agents.hybrid_mappo.predictor.Frame`)."""
    hidden: int = HIDDEN
    """G."""
    dropout: float = DROPOUT
    """G."""
    batch: int = 64
    """P; the paper has 40."""
    learning_rate: float = 1e-3
    """A."""
    final_rate: float = 0.0
    """P: cosine; the paper names no schedule."""
    windows: int = 300_000
    """P: 1.72 epochs of 174 000; the paper has 500 epochs of an unknown number."""
    seed: int = 0
    check_every: int = 20_000
    """Windows between two rows of the curve and two checkpoints."""
    check_windows: int = 4_000
    """Test windows in a row of the curve."""


RECIPES: dict[str, PredictorConfig] = {
    "default": PredictorConfig(),
    "literal": PredictorConfig(batch=40, final_rate=1.0),
    "slot": PredictorConfig(target="displacement", hidden=64, windows=1_000_000, check_every=50_000),
}
"""``default``: the paper's network with the pilot's schedule; ``literal``: the paper's batch, constant rate; ``slot``:
a small network that predicts the displacement, for one slot ahead (20 s) in reinforcement learning."""


def recipe(name: str, **settings: Any) -> PredictorConfig:
    """Return a recipe with some settings changed; ScenarioError if there is none of this name."""
    if name not in RECIPES:
        raise ScenarioError(f"recipe '{name}': there are {', '.join(RECIPES)}")
    return replace(RECIPES[name], **{k: v for k, v in settings.items() if v is not None})


@dataclass(frozen=True)
class Trained:
    """``weights`` as trained (single precision), ``curve`` rows of :data:`CURVE`, and wall seconds of this call."""

    weights: Arrays
    frame: Frame
    curve: list[dict[str, float]]
    wall_s: float = field(compare=False)

    def predictor(self) -> Lstm:
        """Return it ready to predict."""
        return Lstm(self.weights, self.frame)


def train_predictor(
    train: Windows,
    test: Windows,
    box: Box,
    config: PredictorConfig,
    folder: Path,
    *,
    stop_after: int | None = None,
    progress: Callable[[Mapping[str, float]], None] | None = None,
) -> Trained:
    """Train, or go on from the last checkpoint in *folder*.

    Args:
        train: windows to learn from.
        test: windows of other groups, only for the curve.
        box: what positions are normalised over.
        config: how; the same as before in a folder that holds a checkpoint, except for ``check_windows``.
        folder: where curve and checkpoints go.
        stop_after: end after about so many windows in all, to go on another time.
        progress: called with each row of the curve.

    Raises:
        ScenarioError: there are too few windows, or the folder holds another training.
        AgentError: the loss is no number any more.
    """
    if len(train) < config.batch or not len(test):
        raise ScenarioError(f"{len(train)} windows to train and {len(test)} to test: too few")
    began = time.perf_counter()
    run = _Run(train, test, box, config, folder)
    run.go(config.windows if stop_after is None else stop_after, progress)
    return Trained(module_arrays(run.net, NET), run.frame, run.curve, time.perf_counter() - began)


class _Run:
    """One training under way."""

    def __init__(
        self, train: Windows, test: Windows, box: Box, config: PredictorConfig, folder: Path
    ) -> None:
        self._config, self._folder = config, folder
        self.frame = Frame.of(config.target, box, train.past, train.future)
        # What the network is shown is made batch by batch: many windows share their positions.
        self._train = train
        some = np.random.default_rng(stream_key(config.seed, "predictor-check", 0)).permutation(len(test))
        self._test = test.where(np.sort(some[: config.check_windows]))
        generator = torch.Generator().manual_seed(_seed(config.seed, "predictor-weights", 0))
        relu = config.target == POSITION
        self.net = PredictorNet(
            self.frame.inputs,
            config.hidden,
            relu=relu,
            bias=0.5 if relu else 0.0,
            dropout=config.dropout,
            generator=generator,
        )
        learnt = [p for p in self.net.parameters() if p.requires_grad]
        self._adam = torch.optim.Adam(learnt, lr=config.learning_rate, fused=True)
        self._updates = 0
        self.curve: list[dict[str, float]] = []
        self._take_up()

    # -- learning --

    def go(self, windows: int, progress: Callable[[Mapping[str, float]], None] | None) -> None:
        """Learn until that many windows have been seen."""
        config = self._config
        last = math.ceil(config.windows / config.batch)
        until = min(last, math.ceil(windows / config.batch))
        every = max(1, config.check_every // config.batch)
        loss, count = 0.0, 0
        for chosen in self._batches(until):
            loss += self._update(chosen, last)
            count += 1
            self._updates += 1
            if self._updates % every == 0 or self._updates == last:
                self._check(loss / count)
                loss, count = 0.0, 0
                if progress is not None:
                    progress(self.curve[-1])

    def _batches(self, until: int) -> Iterator[NDArray[np.int64]]:
        """Yield the windows of each update that is left: every window once an epoch, in an order keyed by it."""
        size = self._config.batch
        each = len(self._train) // size
        while self._updates < until:
            epoch, first = divmod(self._updates, each)
            rng = np.random.default_rng(stream_key(self._config.seed, "predictor-order", epoch))
            order = rng.permutation(len(self._train))
            for k in range(first, min(each, first + until - self._updates)):
                yield order[k * size : (k + 1) * size]

    def _update(self, chosen: NDArray[np.int64], last: int) -> float:
        config = self._config
        share = (1.0 + math.cos(math.pi * self._updates / last)) / 2.0
        rate = config.learning_rate * (config.final_rate + (1.0 - config.final_rate) * share)
        set_learning_rate(self._adam, rate)
        past, future = self._train.past[chosen], self._train.future[chosen]
        dropout = torch.Generator().manual_seed(_seed(config.seed, "predictor-dropout", self._updates))
        said = self.net(torch.from_numpy(self.frame.shown(past)), dropout)
        loss = torch.nn.functional.mse_loss(said, torch.from_numpy(self.frame.wanted(past, future)))
        self._adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return float(loss.detach())

    # -- looking and saving --

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise AgentError(f"the predictor's loss is {loss} after {self._updates} updates: it diverged")
        said = Lstm(module_arrays(self.net, NET), self.frame)(self._test.past)
        box = self.frame.box
        measured = table2(box.normalise(self._test.future), box.normalise(said))
        values = (
            self._updates * self._config.batch,
            self._adam.param_groups[0]["lr"],
            loss,
            *(measured[name] for name in ("mse", "mae", "r2")),
        )
        self.curve.append({k: float(v) for k, v in zip(_COLUMNS, values, strict=True)})
        self._save()

    def _save(self) -> None:
        arrays = module_arrays(self.net, NET) | optimizer_arrays(self._adam, _ADAM)
        about = {"config": self._told(), "frame": self.frame.describe(), "curve": self.curve}
        state = LearnerState(arrays, {"updates": self._updates})
        checkpoints.save(self._folder, Checkpoint(self._updates, state, about), _KEPT)
        rows = [",".join(f"{row[name]:.9g}" for name in _COLUMNS) for row in self.curve]
        (self._folder / CURVE).write_text("\n".join([",".join(_COLUMNS), *rows]) + "\n", encoding="utf-8")

    def _told(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self._config).items() if k != "check_windows"}

    def _take_up(self) -> None:
        found = checkpoints.load_last(self._folder)
        if found is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return
        for name, now in (("config", self._told()), ("frame", self.frame.describe())):
            before = found.about[name]
            for key in now:
                if before.get(key) != now[key]:
                    raise ScenarioError(
                        f"{self._folder}: holds a training with {key} {before.get(key)}, not {now[key]}"
                    )
        load_module(self.net, found.learner.arrays, NET)
        load_optimizer(self._adam, found.learner.arrays, _ADAM)
        self._updates = int(found.learner.values["updates"])
        self.curve = list(found.about["curve"])


def _seed(seed: int, domain: str, step: int) -> int:
    """Return a seed for torch, which takes 63 bits."""
    return stream_key(seed, domain, step) >> 1
