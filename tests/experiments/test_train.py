"""Trainings: repeatable, resumable to the bit after any end, and what they leave behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import cosim
from cosim.errors import AgentError, RecordingError, ScenarioError
from cosim.experiments import checkpoint as checkpoints
from cosim.experiments.checkpoint import Checkpoint
from cosim.experiments.curve import Curve
from cosim.experiments.rollout import EVALUATION_SEED
from cosim.experiments.training import TrainOptions, TrainResult, resume_training, train
from cosim.lockstep.learner import LearnerState, Recipe
from cosim.lockstep.weights import read_policy
from cosim.recording import sha256_file

PLUGIN = str(Path(__file__).with_name("train_duet.py"))

DUET = (
    "tasks={duet: {every: 100 ms, agent: test.duet}}",
    "duration=1 s",
    "warmup=0",
    "traffic.inflow.rate=0",
)
DUET_TRAINING: dict[str, Any] = {
    "workers": 1, "window": 5, "round": 1, "leg": 2, "steps": 60, "eval_every": 20, "eval_seeds": 1,
    "checkpoint_every": 10, "best_by": "reward",
}  # fmt: skip

DRIVING = ("traffic.variant=uni_noturn", "duration=30 s", "warmup=0")
DRIVING_TRAINING: dict[str, Any] = {
    "workers": 1, "window": 40, "round": 1, "leg": 3, "steps": 720, "eval_every": 240, "eval_seeds": 1,
    "checkpoint_every": 240, "keep": 10,
}  # fmt: skip
SMALL = ("hidden=[16]", "learn_from=100", "batch=32", "memory=2000")


def options(out: Path, engine: str = "inline") -> TrainOptions:
    return TrainOptions(engine=engine, out=out, plugins=[PLUGIN])  # type: ignore[arg-type]


def train_duet(out: Path, **training: Any) -> TrainResult:
    return train(
        "highway_350vph", "test.duet", options(out), overrides=DUET, seed=1, **(DUET_TRAINING | training)
    )


def train_dqn(out: Path, engine: str = "inline", **training: Any) -> TrainResult:
    settings = training.pop("agent_settings", SMALL)
    return train(
        "highway_350vph_cav100",
        "common.dqn",
        options(out, engine),
        overrides=DRIVING,
        seed=1,
        agent_settings=settings,
        evaluate_settings=training.pop("evaluate_settings", ()),
        **(DRIVING_TRAINING | training),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train_dqn(tmp_path_factory.mktemp("train") / "whole")


def weights(result: TrainResult) -> dict[str, bytes]:
    assert result.policy is not None
    return {name: array.tobytes() for name, array in read_policy(result.policy).arrays.items()}


def curve(result: TrainResult) -> bytes:
    return (result.dir / "curve.csv").read_bytes()


# -- repeating and resuming -------------------------------------------------------------------------------------


def test_two_equal_trainings_write_equal_curves_and_policies(trained: TrainResult, tmp_path: Path) -> None:
    again = train_dqn(tmp_path / "again")
    assert curve(again) == curve(trained)
    assert weights(again) == weights(trained)
    for name in ("curve.parquet", *(f"curve/part-{leg:06d}.parquet" for leg in (1, 3, 5))):
        assert (again.dir / name).read_bytes() == (trained.dir / name).read_bytes()


def test_what_workers_explore_with_is_kept_after_each_fifth(trained: TrainResult, tmp_path: Path) -> None:
    """Legs take 120 steps, so a fifth of 720 is over at the ends of legs 2, 3, 4, 5 and 6."""
    kept = sorted((trained.dir / "snapshots").iterdir())
    assert [path.stem for path in kept] == [f"{steps:09d}" for steps in (240, 360, 480, 600, 720)]
    first, last = read_policy(kept[0], "common.dqn"), read_policy(kept[-1], "common.dqn")
    assert (first.about["steps"], last.about["steps"]) == (240, 720)
    assert first.arrays["epsilon"] > last.arrays["epsilon"]


def test_who_watches_sees_all_windows_and_changes_nothing(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    watched = options(tmp_path / "watched")
    training = DUET_TRAINING | {"steps": 20}
    result = train(
        "highway_350vph", "test.duet",
        replace(watched, watch=lambda steps, windows: seen.append((steps, sum(w.steps for w in windows)))),
        overrides=DUET, seed=1, **training,
    )  # fmt: skip
    assert [steps for steps, _ in seen] == [5, 10, 15, 20]
    assert curve(result) == curve(train_duet(tmp_path / "alone", steps=20))


def test_another_seed_is_another_training(trained: TrainResult, tmp_path: Path) -> None:
    other = train(
        "highway_350vph_cav100", "common.dqn", options(tmp_path / "o"), overrides=DRIVING, seed=2,
        agent_settings=SMALL, **(DRIVING_TRAINING | {"steps": 240}),
    )  # fmt: skip
    assert curve(other).splitlines()[1] != curve(trained).splitlines()[1]


@pytest.mark.parametrize("legs", [1, 2])
def test_a_training_resumed_from_any_checkpoint_writes_the_same_curve(
    trained: TrainResult, tmp_path: Path, legs: int
) -> None:
    """What a kill leaves: the checkpoint, and files that are further than it."""
    folder = tmp_path / "killed"
    shutil.copytree(trained.dir, folder)
    for checkpoint in sorted((folder / "checkpoints").iterdir())[legs:]:
        shutil.rmtree(checkpoint)
    resumed = resume_training(folder, options(folder))
    assert resumed.status == "completed"
    assert curve(resumed) == curve(trained)
    assert weights(resumed) == weights(trained)


def test_a_training_killed_in_the_middle_goes_on_to_the_same_curve(
    trained: TrainResult, tmp_path: Path
) -> None:
    folder = tmp_path / "killed"
    script = (
        "import sys; from test_train import train_dqn; from pathlib import Path; train_dqn(Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    process = subprocess.Popen([sys.executable, "-c", script, str(folder)], env=environment)
    path = folder / "curve.csv"
    # Rounds 7 to 9 are the third leg: two checkpoints are there, and a leg has begun.
    while not path.is_file() or path.read_bytes().count(b"\n") < 9:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "summary.json").exists()
    resumed = resume_training(folder, options(folder))
    assert resumed.status == "completed"
    assert curve(resumed) == curve(trained)
    assert weights(resumed) == weights(trained)
    assert (folder / "curve.parquet").read_bytes() == (trained.dir / "curve.parquet").read_bytes()


def test_a_training_without_a_checkpoint_begins_again(tmp_path: Path) -> None:
    whole = train_duet(tmp_path / "whole")
    folder = tmp_path / "early"
    shutil.copytree(whole.dir, folder)
    shutil.rmtree(folder / "checkpoints")
    assert curve(resume_training(folder, options(folder))) == curve(whole)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    whole = train_duet(tmp_path / "whole")
    folder = tmp_path / "damaged"
    shutil.copytree(whole.dir, folder)
    newest = sorted((folder / "checkpoints").iterdir())[-1] / "learner.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    assert curve(resume_training(folder, options(folder))) == curve(whole)


def test_a_longer_training_continues_the_shorter_one(tmp_path: Path) -> None:
    """Without schedules, a lengthened training is the long one."""
    long = train_duet(tmp_path / "long", steps=100)
    short = train_duet(tmp_path / "short", steps=60)
    resumed = resume_training(short.dir, options(short.dir), steps=100)
    rows = [r.dir / "curve.parquet" for r in (long, resumed)]
    a, b = (pl.read_parquet(path) for path in rows)
    # The short one evaluated at its end, which the long one did in passing as well.
    assert a.equals(b)
    with pytest.raises(ScenarioError, match="100 already"):
        resume_training(short.dir, options(short.dir), steps=60)


def test_overlapped_collection_uses_the_weights_of_one_round_before(tmp_path: Path) -> None:
    plain, overlapped = train_duet(tmp_path / "a"), train_duet(tmp_path / "b", overlap=True)
    # A leg has two rounds; in the second, an overlapped worker answers with the first one's weights still.
    rewards = [pl.read_csv(r.dir / "curve.csv")["collect_reward"].to_list() for r in (plain, overlapped)]
    assert rewards[0][0::2] == rewards[1][0::2]
    assert all(a > b for a, b in zip(rewards[0][1::2], rewards[1][1::2], strict=True))
    folder = tmp_path / "c"
    shutil.copytree(overlapped.dir, folder)
    shutil.rmtree(sorted((folder / "checkpoints").iterdir())[-1])
    assert curve(resume_training(folder, options(folder))) == curve(overlapped)


def test_one_worker_in_a_process_trains_as_one_in_this_process(trained: TrainResult, tmp_path: Path) -> None:
    apart = train_dqn(tmp_path / "apart", engine="process")
    assert curve(apart) == curve(trained)
    assert weights(apart) == weights(trained)


def test_two_workers_are_another_training_but_a_repeatable_one(trained: TrainResult, tmp_path: Path) -> None:
    one, two = (train_dqn(tmp_path / name, engine="process", workers=2, steps=480) for name in "ab")
    assert curve(one) == curve(two)
    assert curve(one).splitlines()[1] != curve(trained).splitlines()[1]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_workers_on_ray_train_as_workers_in_processes(tmp_path: Path) -> None:
    ray, here = (
        train_dqn(tmp_path / engine, engine=engine, workers=2, steps=480) for engine in ("ray", "process")
    )
    assert ray.status == here.status == "completed"
    assert curve(ray) == curve(here)
    assert weights(ray) == weights(here)


# -- what comes of it -------------------------------------------------------------------------------------------


def test_a_trained_policy_drives_as_it_was_evaluated(trained: TrainResult, tmp_path: Path) -> None:
    assert trained.policy is not None
    result = cosim.run(
        "highway_350vph_cav100",
        cosim.RunOptions(agents=[f"common.dqn:{trained.policy}"], inline=True, out=tmp_path / "run"),
        seed=EVALUATION_SEED,
        overrides=DRIVING,
    )
    assert result.metrics == {name: trained.evaluation[name] for name in result.metrics}


def test_a_policy_says_what_made_it(trained: TrainResult) -> None:
    assert trained.policy is not None
    assert trained.policy.name == "dqn-highway_350vph_cav100-s1.safetensors"
    about = read_policy(trained.policy).about
    assert (about["agent"], about["task"], about["scenario"], about["seed"]) == (
        "common.dqn", "driving", "highway_350vph_cav100", 1,
    )  # fmt: skip
    assert about["config"]["hidden"] == [16]
    assert about["curve_sha256"] == sha256_file(trained.dir / "curve.csv")
    assert about["evaluation"] == trained.evaluation
    assert json.loads(trained.policy.with_suffix(".json").read_text()) == about
    training = json.loads((trained.dir / "training.json").read_text())
    assert training["collect"]["tasks"]["driving"]["kappa"] == 30
    assert "kappa" not in training["evaluate"]["tasks"]["driving"]


def test_the_curve_has_signals_evaluations_and_counts(trained: TrainResult) -> None:
    frame = pl.read_csv(trained.dir / "curve.csv")
    assert frame["round"].to_list() == list(range(1, 19))
    assert frame["steps"].to_list() == list(range(40, 721, 40))
    evaluated = frame.filter(pl.col("eval_success_rate").is_not_null())
    assert evaluated["steps"].to_list() == [240, 480, 720]
    for name in (
        "td_loss",
        "q_mean",
        "epsilon",
        "learning_rate",
        "collect_rows",
        "collect_vehicles_collided",
    ):
        assert name in frame.columns
    assert frame["td_loss"][-1] is not None
    whole = pl.read_parquet(trained.dir / "curve.parquet")
    assert pl.read_csv(trained.dir / "curve.csv", schema_overrides=whole.schema).equals(whole)
    parts = [pl.read_parquet(p) for p in sorted((trained.dir / "curve").iterdir())]
    assert sum(len(p) for p in parts) == 18
    summary = json.loads((trained.dir / "summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["best"]["evaluation"] == trained.evaluation


def test_the_last_checkpoints_are_kept_and_the_best_weights(tmp_path: Path) -> None:
    result = train_duet(tmp_path / "a", keep=3)
    assert [p.name for p in sorted((result.dir / "checkpoints").iterdir())] == ["000004", "000005", "000006"]
    # The reward of an evaluation is a thousand and the weight: the last is the best.
    assert [p.name for p in (result.dir / "candidates").iterdir()] == ["000005.safetensors"]
    assert read_policy(result.policy or "").arrays["weight"].tolist() == [120]


def test_the_best_policy_is_the_one_that_is_written(tmp_path: Path) -> None:
    result = train_duet(tmp_path / "a", best_by="-reward")
    assert read_policy(result.policy or "").arrays["weight"].tolist() == [
        40
    ]  # of the first evaluation, round 4
    by_second = train_duet(tmp_path / "b", best_by="answers, reward")
    assert read_policy(by_second.policy or "").arrays["weight"].tolist() == [120]


def test_a_learner_that_learns_beats_what_never_learns(tmp_path: Path) -> None:
    """Accelerating always, or changing lanes at random, ends on a target lane in 3 of 8 cases."""
    result = train_dqn(
        tmp_path / "learns", steps=7200, window=180, leg=40, eval_every=0, checkpoint_every=7200,
        evaluate_settings=["duration=150 s"], agent_settings=("epsilon_steps=5000",),
    )  # fmt: skip
    success = result.evaluation["success_rate"]
    assert success is not None
    assert success > 0.65


# -- what can go wrong ------------------------------------------------------------------------------------------


def test_a_learner_that_diverges_ends_the_training(tmp_path: Path) -> None:
    result = train(
        "highway_350vph", "test.duet", options(tmp_path / "a"), overrides=DUET,
        recipe=Recipe(agent={"diverge_at": 3}), **DUET_TRAINING,
    )  # fmt: skip
    assert result.status == "failed"
    assert isinstance(result.error, AgentError)
    assert "signal 'rounds' is nan after 15 steps" in str(result.error)
    assert json.loads((result.dir / "summary.json").read_text())["status"] == "failed"
    assert result.policy is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"agent": "common.dqnn"}, "unknown agent 'common.dqnn'"),
        ({"agent": "common.random"}, "'common.random' cannot be trained"),
        ({"recipe": "defalt"}, "no recipe 'defalt' (did you mean 'default'?)"),
        ({"task": "drivng"}, "there is no task 'drivng' (did you mean 'driving'?)"),
        ({"agent_settings": ["gama=1"]}, "gama: unknown key (did you mean 'gamma'?)"),
        ({"agent_settings": ["gamma=1.5"]}, "gamma: must be less than 1, not 1.5"),
        ({"windw": 3}, "windw: unknown key (did you mean 'window'?)"),
        (
            {"best_by": "succes_rate"},
            "best_by: an evaluation gives no 'succes_rate' (did you mean 'success_rate'?)",
        ),
        ({"workers": 0}, "workers: must be at least 1, not 0"),
        ({"overrides": ["tasks.driving.actions=continuous"]}, "discrete"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_would_be_right(
    arguments: dict[str, Any], words: str, tmp_path: Path
) -> None:
    agent = arguments.pop("agent", "common.dqn")
    out = tmp_path / "none"
    with pytest.raises(ScenarioError) as raised:
        train("highway_350vph", agent, options(out), **({"steps": 100, "workers": 1} | arguments))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not out.exists()


def test_a_folder_that_holds_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(RecordingError, match="is not empty"):
        train_duet(tmp_path)
    with pytest.raises(ScenarioError, match="holds no training"):
        resume_training(tmp_path)


def test_a_recipe_file_extends_a_shipped_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: default\nagent: {hidden: [8]}\ntraining: {steps: 80, window: 40, workers: 1, leg: 1}\n"
    )
    result = train(
        "highway_350vph_cav100", "common.dqn", options(tmp_path / "a"), recipe=recipe,
        overrides=DRIVING, eval_seeds=1,
    )  # fmt: skip
    about = json.loads((result.dir / "training.json").read_text())
    assert about["config"]["hidden"] == [8]
    assert about["config"]["gamma"] == 0.9  # of the recipe that it extends
    assert about["training"]["steps"] == result.steps == 80
    recipe.write_text("agnt: {}\n")
    with pytest.raises(ScenarioError, match=r"mine.yaml:1: agnt: unknown key \(did you mean 'agent'\?\)"):
        train("highway_350vph_cav100", "common.dqn", options(tmp_path / "b"), recipe=recipe)


# -- parts ------------------------------------------------------------------------------------------------------


def test_a_column_that_turns_up_late_is_empty_before(tmp_path: Path) -> None:
    written = Curve(tmp_path / "a")
    rows = [{"steps": 1, "x": 0.5}, {"steps": 2, "x": None}, {"steps": 3, "x": 0.1, "late": 1e-30}]
    for row in rows[:2]:
        written.append(row)
    written.cut(0)
    written.append(rows[2])
    written.cut(1)
    assert (tmp_path / "a" / "curve.csv").read_text() == "steps,x,late\n1,0.5,\n2,,\n3,0.1,1e-30\n"
    again = Curve(tmp_path / "a")
    again.go_back(2)
    assert (tmp_path / "a" / "curve.csv").read_text() == "steps,x\n1,0.5\n2,\n"
    again.append(rows[2])
    assert (tmp_path / "a" / "curve.csv").read_text() == "steps,x,late\n1,0.5,\n2,,\n3,0.1,1e-30\n"
    with pytest.raises(ScenarioError, match="holds 2 rows"):
        Curve(tmp_path / "a").go_back(5)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    arrays = {
        "a": np.arange(6.0).reshape(2, 3).T,
        "b": np.array([True, False]),
        "c": np.zeros((0, 4), np.float32),
    }
    random = np.random.default_rng(3).bit_generator.state
    for legs in (1, 2, 3):
        state = LearnerState(arrays, {"random": random, "owed": 0.1 + 0.2})
        checkpoints.save(tmp_path, Checkpoint(legs, state, {"steps": 10 * legs}), keep=2)
    last = checkpoints.load_last(tmp_path)
    assert last is not None
    assert (last.legs, last.about) == (3, {"steps": 30})
    assert last.learner.values == {"random": random, "owed": 0.1 + 0.2}
    for name, array in arrays.items():
        np.testing.assert_array_equal(last.learner.arrays[name], array)
        assert last.learner.arrays[name].dtype == array.dtype
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["000002", "000003"]
