"""The folder of a training: what it was made with, its timing, candidate policies, the final policy and summary.

``docs/training.md`` lists the files.  One process at a time: the folder is locked while a training runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from cosim.errors import CosimError, RecordingError, ScenarioError
from cosim.experiments.curve import WHOLE, by_leg
from cosim.experiments.train_config import TrainPlan
from cosim.lockstep.learner import Weights
from cosim.lockstep.weights import read_policy, to_bytes
from cosim.recording import describe_environment, sha256_file
from cosim.recording.files import lock, read_json, to_json, write_atomically
from cosim.recording.manifest import utc_now

ABOUT = "training.json"
SUMMARY = "summary.json"
TIMING = "timing.csv"
_LOCK = "lock"
SNAPSHOTS = "snapshots"
_CANDIDATES = "candidates"


class TrainFolder:
    """One training's folder; a context manager that holds its lock."""

    def __init__(self, folder: Path, about: dict[str, Any]) -> None:
        self.dir = folder
        self.about = about
        self._lock: IO[str] | None = None

    @classmethod
    def create(
        cls, out: str | Path | None, plan: TrainPlan, *, recipe: str, command: Sequence[str]
    ) -> TrainFolder:
        """Make a new folder (default: ``runs/train/METHOD-SCENARIO-sSEED-UTC``) and write what the training is.

        RecordingError if it holds anything, or cannot be made.
        """
        stamp = utc_now().replace("-", "").replace(":", "")
        folder = Path(out) if out is not None else Path("runs") / "train" / f"{policy_name(plan)}-{stamp}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise RecordingError(
                    f"{folder}: is not empty; --resume goes on with a training, --out makes a new one"
                )
        except OSError as error:
            raise RecordingError(f"{folder}: cannot be made: {error.strerror or error}") from error
        about = {
            "agent": plan.agent,
            "task": plan.task,
            "scenario": plan.evaluate.name,
            "seed": plan.seed,
            "recipe": recipe,
            "training": plan.training.model_dump(mode="json"),
            "window": plan.window,
            "horizon": plan.training.steps,
            "config": plan.config.model_dump(mode="json"),
            "collect": plan.collect.resolved(),
            "evaluate": plan.evaluate.resolved(),
            "created": utc_now(),
            **describe_environment(),
        }
        if command:
            about["command"] = list(command)
        home = cls(folder, about)
        home._write_about()
        return home

    @classmethod
    def reopen(cls, folder: str | Path) -> TrainFolder:
        """Take up a training's folder again; ScenarioError if it is none."""
        path = Path(folder)
        if not (path / ABOUT).is_file():
            raise ScenarioError(f"--resume {folder}: holds no training (no {ABOUT})")
        return cls(path, read_json(path / ABOUT))

    def __enter__(self) -> TrainFolder:
        self._lock = open(self.dir / _LOCK, "w", encoding="utf-8")
        if not lock(self._lock):
            self._lock.close()
            raise RecordingError(f"{self.dir}: another process is training here")
        (self.dir / SUMMARY).unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def lengthen(self, steps: int) -> None:
        """Write down that the training takes more steps than was said at first."""
        self.about["training"] = {**self.about["training"], "steps": steps}
        self._write_about()

    def _write_about(self) -> None:
        write_atomically(self.dir / ABOUT, to_json(self.about, sort=False, not_finite="text"), sync=True)

    # -- while it goes --

    def time(self, round_number: int, steps: int, collecting_s: float, learning_s: float) -> None:
        """Add a line of wall times: waiting for the workers, and learning."""
        path = self.dir / TIMING
        line = f"{round_number},{steps},{collecting_s:.6f},{learning_s:.6f}\n"
        new = not path.exists()
        with open(path, "a", encoding="utf-8") as file:
            file.write(("round,steps,collecting_s,learning_s\n" if new else "") + line)

    def save_candidate(self, leg: int, weights: Weights) -> None:
        """Keep the best weights so far."""
        (self.dir / _CANDIDATES).mkdir(exist_ok=True)
        data = to_bytes(weights, {"agent": self.about["agent"], "leg": leg})
        write_atomically(self._candidate_file(leg), data, sync=True)

    def save_snapshot(self, steps: int, weights: Weights) -> None:
        """Keep what workers explore with after that many steps; agents of the same name can be made of it."""
        (self.dir / SNAPSHOTS).mkdir(exist_ok=True)
        keys = ("agent", "task", "scenario", "seed", "config", "training")
        about = {**{key: self.about[key] for key in keys}, "steps": steps}
        path = self.dir / SNAPSHOTS / f"{steps:09d}.safetensors"
        write_atomically(path, to_bytes(weights, about), sync=True)

    def candidate(self, leg: int) -> dict[str, NDArray[Any]]:
        """Return the weights kept after *leg*."""
        return read_policy(self._candidate_file(leg)).arrays

    def drop_candidates(self, keep: int | None) -> None:
        """Remove all kept weights but those of leg *keep*, once a checkpoint names these."""
        for path in (self.dir / _CANDIDATES).glob("*.safetensors"):
            if keep is None or path != self._candidate_file(keep):
                path.unlink()

    def _candidate_file(self, leg: int) -> Path:
        return self.dir / _CANDIDATES / f"{leg:06d}.safetensors"

    # -- at the end --

    def policy_file(self, plan: TrainPlan) -> Path:
        """Return where the policy is written: ``METHOD-SCENARIO-sSEED.safetensors``."""
        return self.dir / f"{policy_name(plan)}.safetensors"

    def save_policy(self, plan: TrainPlan, weights: Weights, best: Mapping[str, Any], curve: Path) -> None:
        """Write the policy, with all that made it, as safetensors and beside it as readable JSON."""
        about = {
            **{
                key: self.about[key]
                for key in ("agent", "task", "scenario", "seed", "recipe", "config", "training")
            },
            "command": self.about.get("command", []),
            "git": self.about.get("git", {}),
            "packages": self.about.get("packages", {}),
            "steps": best.get("steps"),
            "evaluation": best.get("evaluation", {}),
            "curve_sha256": sha256_file(curve),
            "numbers": int(sum(np.size(array) for array in weights.values())),
        }
        path = self.policy_file(plan)
        write_atomically(path, to_bytes(weights, about), sync=True)
        write_atomically(path.with_suffix(".json"), to_json(about, sort=True), sync=True)

    def discard(self) -> None:
        """Remove everything that was written: nothing came of it."""
        for path in self.dir.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.dir.rmdir()

    def summarize(
        self,
        status: str,
        steps: int,
        best: Mapping[str, Any],
        policy: Path | None,
        error: CosimError | None,
    ) -> None:
        """Write how the training ended."""
        summary = {
            "status": status,
            "steps": steps,
            "best": dict(best),
            "policy": None if policy is None else policy.name,
            "error": None if error is None else str(error),
        }
        write_atomically(self.dir / SUMMARY, to_json(summary, sort=False), sync=True)


def policy_name(plan: TrainPlan) -> str:
    """Return the name of a plan's policy: METHOD-SCENARIO-sSEED."""
    return f"{plan.agent.rpartition('.')[2]}-{plan.evaluate.name}-s{plan.seed}"


def install(policy: Path, agent: str) -> Path:
    """Put a policy, its JSON and its curve into ``data/policies/PAPER`` of the working folder; return where it went.

    The curve becomes ``NAME.curve.csv`` with one row a leg.  Folders of this machine are left out of what it says.
    """
    home = Path("data") / "policies" / agent.partition(".")[0]
    home.mkdir(parents=True, exist_ok=True)
    read = read_policy(policy, agent)
    about = portable(read.about, policy.stem)
    write_atomically(home / policy.name, to_bytes(read.arrays, about), sync=False)
    write_atomically(home / f"{policy.stem}.json", to_json(about, sort=True), sync=False)
    legs = by_leg(policy.with_name(WHOLE)).write_csv(float_precision=6)
    write_atomically(home / f"{policy.stem}.curve.csv", legs.encode(), sync=False)
    return home / policy.name


def portable(about: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a policy says of itself without folders of the machine on which it was made.

    The command begins with ``cosim``, and an absolute folder of its output becomes ``runs/train/NAME``.
    """
    command = ["cosim", *list(about.get("command", []))[1:]]
    for at, word in enumerate(command):
        if at and command[at - 1] == "--out" and Path(word).is_absolute():
            command[at] = f"runs/train/{name}"
    git = {
        package: {key: value for key, value in (state or {}).items() if key != "root"}
        for package, state in about.get("git", {}).items()
    }
    return {**about, "command": command, "git": git}
