"""``python -m agents.hybrid_mappo.train_predictor``: train a trajectory predictor, and fit the linear one beside it.

Traffic is recorded first where the folder of tapes does not hold it.  A quarter of the tapes is kept for testing.
Called again with the same folder it goes on, or ends at once if it had ended.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.hybrid_mappo.predictor import (
    LinearAr,
    Predictor,
    ar_bytes,
    constant_velocity,
    load,
    lstm_bytes,
    persistence,
)
from agents.hybrid_mappo.predictor.data import Box, Windows, split, tape_windows
from agents.hybrid_mappo.predictor.scores import scores
from agents.hybrid_mappo.predictor.training import CURVE, RECIPES, PredictorConfig, recipe, train_predictor
from cosim.errors import CosimError
from cosim.experiments.axes import parse_seeds
from cosim.experiments.tapes import record_tapes
from cosim.randomness import stream_key
from cosim.scenario import load_scenario
from cosim.tasks.migration import MobilityTape, load_tape

EVERY = 2.0
"""Seconds between the beginnings of training windows: those of one slot begin at several phases of the lights."""
_AR_WINDOWS, _TEST_WINDOWS = 150_000, 20_000


@dataclass(frozen=True)
class Data:
    """Windows of recorded traffic on two sides of a split, and where its RSUs are."""

    train: Windows
    test: Windows
    box: Box
    rsu_xy: Any
    reach: float | None


def windows_of(tapes: Sequence[MobilityTape], period_s: float, seed: int) -> Data:
    """Return the windows of tapes, three quarters of these for training."""
    layout = tapes[0].layout
    train, test = split(tape_windows(tapes, period_s, EVERY), seed)
    return Data(train, test, Box.of(*layout.box), layout.xy, layout.reach)


def fitted(data: Data, seed: int) -> LinearAr:
    """Return AR(12) fitted to the training windows, or to 150 000 of them."""
    return LinearAr.fit(_some(data.train, seed, _AR_WINDOWS), data.box)


def _some(windows: Windows, seed: int, most: int) -> Windows:
    """Return windows, or so many of them chosen by key."""
    rng = np.random.default_rng(stream_key(seed, "predictor-ar", 0))
    return windows.where(np.sort(rng.permutation(len(windows))[:most]))


def compared(data: Data, predictors: Mapping[str, Predictor], seed: int) -> dict[str, dict[str, float]]:
    """Return the measures of several predictors on the test windows, or on 20 000 of them."""
    test = _some(data.test, seed, _TEST_WINDOWS)
    return {
        name: scores(test.future, predictor(test.past), data.box, data.rsu_xy, data.reach)
        for name, predictor in predictors.items()
    }


def train(
    tapes: Sequence[MobilityTape],
    period_s: float,
    config: PredictorConfig | None,
    out: Path,
    about: Mapping[str, Any],
    seed: int = 0,
    prefix: str = "lstm",
) -> dict[str, dict[str, float]]:
    """Write ``ar-…`` and, with a *config*, ``PREFIX-…`` (safetensors, JSON, curve) into *out*.

    Returns what was measured of ``ar``, ``lstm`` and those without weights: on the test tapes, with weights as they
    were written, in half precision.
    """
    data = windows_of(tapes, period_s, seed)
    scenario = tapes[0].scenario or "tapes"
    whole: dict[str, Any] = {
        **about,
        "scenario": scenario,
        "seed": seed,
        "period_s": period_s,
        "every_s": EVERY,
        "train_windows": len(data.train),
        "train_tapes": len(set(data.train.groups.tolist())),
        "test_tapes": len(set(data.test.groups.tolist())),
    }
    name = f"{scenario}-{period_s:g}s-s{seed}"
    files = {"ar": out / f"ar-{name}.safetensors"}
    abouts = {"ar": whole}
    out.mkdir(parents=True, exist_ok=True)
    if config is not None:
        trained = train_predictor(data.train, data.test, data.box, config, out, progress=_show)
        files["lstm"] = out / f"{prefix}-{name}.safetensors"
        abouts["lstm"] = {**whole, "config": asdict(config)}
        files["lstm"].write_bytes(lstm_bytes(trained.weights, trained.frame, abouts["lstm"]))
        files["lstm"].with_suffix(".curve.csv").write_bytes((out / CURVE).read_bytes())
    files["ar"].write_bytes(ar_bytes(fitted(data, seed), whole))
    simple = {"constant_velocity": constant_velocity, "persistence": persistence}
    measured = compared(data, {who: load(file) for who, file in files.items()} | simple, seed)
    for who, file in files.items():
        text = json.dumps({**abouts[who], "evaluation": measured}, indent=2, sort_keys=True)
        file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    return measured


def _show(row: Mapping[str, float]) -> None:
    print(", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m agents.hybrid_mappo.train_predictor", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("scenario", help="scenario of which traffic is taken, for example urban_avatar")
    parser.add_argument("--tapes", required=True, help="folder of tapes; missing ones are recorded into it")
    parser.add_argument("--seeds", default="1000:1200", help="of the tapes (default %(default)s)")
    parser.add_argument(
        "--period", type=float, default=10.0, help="s between positions (default %(default)s)"
    )
    parser.add_argument("--recipe", default="default", help=f"{', '.join(RECIPES)} (default %(default)s)")
    parser.add_argument("--windows", type=int, help="windows to learn from, repetitions counted")
    parser.add_argument("--hidden", type=int, help="width of the LSTM")
    parser.add_argument("--target", help="position or displacement")
    parser.add_argument("--linear", action="store_true", help="fit AR(12) only")
    parser.add_argument("--seed", type=int, default=0, help="of split and training (default 0)")
    parser.add_argument("--name", default="lstm", help="of the network's files (default %(default)s)")
    parser.add_argument("--out", required=True, help="folder for checkpoints and results")
    given = parser.parse_args(arguments)
    words = list(sys.argv[1:] if arguments is None else arguments)
    about = {
        "recipe": "linear" if given.linear else given.recipe,
        "command": shlex.join(["python", "-m", parser.prog.split()[-1], *words]),
    }
    try:
        config = recipe(
            given.recipe, windows=given.windows, hidden=given.hidden, target=given.target, seed=given.seed
        )
        seeds = [int(seed) for seed in parse_seeds(given.seeds, "--seeds")]
        found = record_tapes(load_scenario(given.scenario), seeds, given.tapes)
        tapes = [load_tape(file) for file in found.files]
        chosen = None if given.linear else config
        measured = train(tapes, given.period, chosen, Path(given.out), about, given.seed, given.name)
    except CosimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for who, values in measured.items():
        print(f"{who}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    print(given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
