"""Training the predictor: it learns what a linear one cannot, and a stopped training ends as if it had not been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.hybrid_mappo.predictor.data import Box, Windows, cut_windows, split
from agents.hybrid_mappo.predictor.linear import LinearAr
from agents.hybrid_mappo.predictor.scores import table2
from agents.hybrid_mappo.predictor.training import CURVE, PredictorConfig, recipe, train_predictor
from cosim.errors import ScenarioError

BOX = Box.of([0.0, -10.0], [1000.0, 10.0])
SMALL = PredictorConfig(hidden=16, batch=16, windows=1600, check_every=400, check_windows=200)


@pytest.fixture(scope="module")
def sides() -> tuple[Windows, Windows]:
    """Windows of vehicles that go to and fro between the ends of a road and change sides there."""
    rng = np.random.default_rng(0)
    t = np.arange(120.0)[:, None]
    phase = (t * rng.uniform(20.0, 60.0, 40) + rng.uniform(0.0, 2000.0, 40)) % 2000.0
    xy = np.stack([np.minimum(phase, 2000.0 - phase), np.where(phase < 1000.0, -3.0, 3.0)], axis=-1)
    return split(cut_windows(xy, [f"v{k}" for k in range(40)], step_s=1.0, period_s=1.0), seed=1)


def test_a_stopped_training_ends_with_the_weights_and_curve_of_an_unbroken_one(
    sides: tuple[Windows, Windows], tmp_path: Path
) -> None:
    train, test = sides
    whole = train_predictor(train, test, BOX, SMALL, tmp_path / "whole")
    train_predictor(train, test, BOX, SMALL, tmp_path / "parts", stop_after=1000)  # the last 200 are lost
    parts = train_predictor(train, test, BOX, SMALL, tmp_path / "parts")
    assert parts.curve == whole.curve
    assert all(np.array_equal(parts.weights[name], array) for name, array in whole.weights.items())
    assert (tmp_path / "parts" / CURVE).read_bytes() == (tmp_path / "whole" / CURVE).read_bytes()


def test_a_finished_training_gives_its_weights_again(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    first = train_predictor(*sides, BOX, SMALL, tmp_path)
    again = train_predictor(*sides, BOX, SMALL, tmp_path)
    assert again.curve == first.curve
    assert all(np.array_equal(again.weights[name], array) for name, array in first.weights.items())


def test_another_seed_gives_other_weights(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    one = train_predictor(*sides, BOX, recipe("default", **_settings(seed=0)), tmp_path / "0")
    two = train_predictor(*sides, BOX, recipe("default", **_settings(seed=1)), tmp_path / "1")
    assert not np.array_equal(one.weights["net.dense.weight"], two.weights["net.dense.weight"])


def _settings(seed: int) -> dict[str, int]:
    return {"hidden": 8, "windows": 128, "check_every": 128, "check_windows": 50, "seed": seed}


def test_a_folder_of_another_training_is_refused(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    train_predictor(*sides, BOX, SMALL, tmp_path, stop_after=400)
    with pytest.raises(ScenarioError, match="hidden 16, not 8"):
        train_predictor(*sides, BOX, PredictorConfig(**{**_settings(0), "batch": 16, "hidden": 8}), tmp_path)
    with pytest.raises(ScenarioError, match="low"):
        train_predictor(*sides, Box.of([-5.0, -10.0], [1000.0, 10.0]), SMALL, tmp_path)


def test_the_bias_that_the_paper_has_not_stays_zero(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    trained = train_predictor(*sides, BOX, SMALL, tmp_path)
    for layer in ("first", "second"):
        assert not trained.weights[f"net.{layer}.bias_hh_l0"].any()


def test_a_small_network_learns_to_turn_round(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    train, test = sides
    settings = {"hidden": 24, "windows": 8000, "batch": 32, "check_every": 4000, "learning_rate": 1e-2}
    trained = train_predictor(train, test, BOX, recipe("slot", **settings), tmp_path)
    true = BOX.normalise(test.future)
    ours = table2(true, BOX.normalise(trained.predictor()(test.past)))["mse"]
    simple = table2(true, BOX.normalise(LinearAr.fit(train, BOX)(test.past)))["mse"]
    assert ours < simple
    assert trained.curve[-1]["test_mse"] < trained.curve[0]["test_mse"]


def test_the_literal_recipe_learns_too(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    train, test = sides
    config = recipe("literal", hidden=16, windows=4000, check_every=1000)
    trained = train_predictor(train, test, BOX, config, tmp_path)
    assert [row["learning_rate"] for row in trained.curve] == [1e-3] * 4
    assert trained.curve[-1]["test_mse"] < 0.5 * trained.curve[0]["test_mse"]


def test_too_few_windows_are_refused(sides: tuple[Windows, Windows], tmp_path: Path) -> None:
    train, test = sides
    with pytest.raises(ScenarioError, match="too few"):
        train_predictor(train.where(np.arange(3)), test, BOX, SMALL, tmp_path)
    with pytest.raises(ScenarioError, match="there are default"):
        recipe("defaults")
