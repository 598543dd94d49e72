"""Items of ``cosim reproduce tpe_marl``: what they compute from trainings, windows and recorded traffic."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2, ttest_ind
from tpe_windows import window_by

from agents.tpe_marl.heatmap import heat_map, random_signs
from agents.tpe_marl.items import cells, diversity, training
from agents.tpe_marl.items.methods import welch
from agents.tpe_marl.items.safety import upper_bound
from agents.tpe_marl.items.situations import in_front, together, tracks
from agents.tpe_marl.partners import partners
from agents.tpe_marl.qmix_agent import TpeQmix
from agents.tpe_marl.topology import SimHash
from cosim.lockstep import Actions
from cosim.lockstep.learner import trainable
from cosim.window import Relates


class Idle:
    """Keeps its lane."""

    def reset(self, info: Any) -> None:
        """Nothing is remembered."""

    def act(self, observations: Any, explore: bool) -> Actions:
        return Actions(np.full(observations.active, 4))


# -- statistics --


@pytest.mark.parametrize("events", [0, 1, 7])
def test_the_bound_is_that_of_the_chi_square_distribution(events: int) -> None:
    assert upper_bound(events) == pytest.approx(chi2.ppf(0.95, 2 * (events + 1)) / 2)


def test_none_of_three_thousand_is_just_below_one_in_a_thousand() -> None:
    assert upper_bound(0) == pytest.approx(2.9957, abs=1e-4)


def test_the_difference_of_two_methods_has_scipy_s_interval() -> None:
    a, b = [3.0, 5.0, 4.5], [2.0, 2.2, 4.0, 1.0]
    low, high = ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert welch(a, b) == pytest.approx((high - low) / 2)
    assert np.isnan(welch(a, b[:1]))


# -- which policies are shipped --


def test_a_policy_is_shipped_when_its_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.common.shipped.homes", lambda paper: (tmp_path,))
    assert cells.policies("tpe_qmix", 100) == ()
    for name in ("tpe_qmix-highway_350vph_cav100-s2", "tpe_qmix-highway_350vph_cav100-s1", "notes"):
        (tmp_path / f"{name}.safetensors").touch()
    (tmp_path / "tpe_qmix-highway_350vph_cav100-s1.curve.csv").touch()
    first, second = cells.policies("tpe_qmix", 75)
    assert (first.seed, second.seed) == (1, 2)
    assert first.agent == "tpe_marl.tpe_qmix:tpe_marl/tpe_qmix-highway_350vph_cav100-s1"
    assert first.file(".curve.csv") is not None
    assert second.file(".curve.csv") is None
    assert cells.policies("tpe_qmix", 50) == ()
    (tmp_path / "tpe_qmix-highway_350vph-s1.safetensors").touch()
    assert [policy.scenario for policy in cells.policies("tpe_qmix", 25)] == ["highway_350vph"]


# -- trainings --


def curve(steps: list[int], returns: list[float | None]) -> pl.DataFrame:
    columns = {
        "eval_return_per_episode": returns,
        "eval_success_rate": returns,
        "eval_vehicles_collided": returns,
    }
    return pl.DataFrame({"steps": steps, **columns})


def test_a_training_ends_where_its_last_fifth_is() -> None:
    found = training.ended(curve([100_000 * k for k in range(1, 11)], [0, 1, 2, None, 4, 5, 6, 7, 8, 10]))
    assert found["trained_steps"] == 1_000_000
    assert found["return_per_episode"] == 9.0
    assert found["slope"] is None
    straight = training.ended(curve([20_000 * k for k in range(1, 51)], [3.0 * k for k in range(50)]))
    assert straight["slope"] == pytest.approx(15.0)


def test_a_training_goes_on_where_its_folder_says_so(tmp_path: Path) -> None:
    one = training.Training("maddpg-350-100", "maddpg", 350, 100, 2)
    words = one.command(tmp_path / one.name, 7200)
    assert words[3:6] == ["train", "highway_350vph_cav100", "--agent"]
    assert "tasks.driving.actions=continuous" in words
    (tmp_path / one.name).mkdir()
    (tmp_path / one.name / "training.json").touch()
    assert one.command(tmp_path / one.name, 7200)[3:] == ["train", "--resume", str(tmp_path / one.name)]


@pytest.mark.parametrize(
    ("method", "steps", "named"),
    [("tpe_qmix", 900_000, "long"), ("qmix", 40_000, "default"), ("mappo", 900_000, "default")],
)
def test_long_trainings_are_those_of_the_shipped_policies(
    method: str, steps: int, named: str, tmp_path: Path
) -> None:
    words = training.Training("case", method, 350, 100, 1).command(tmp_path, steps)
    assert words[words.index("--config") + 1] == named
    for policy in cells.policies(method, 100):
        about = json.loads(policy.file(".json").read_text())
        kind = trainable(about["agent"])
        wanted = kind.Config(**kind.recipes[cells.recipe(method, about["training"]["steps"])].agent)
        assert kind.Config.model_validate(about["config"]) == wanted


# -- heat maps --


def test_every_fourth_instant_is_sampled_with_distances_as_they_are() -> None:
    seen = window_by(Idle(), 1, steps=12)
    found = diversity.vectors(seen, SimHash.random(0))
    there = [t for t in (0, 4, 8) if seen.first[t + 1] > seen.first[t]]
    assert len(found) == len(there) > 0
    for v, t in zip(found, there, strict=True):
        rows = slice(seen.first[t], seen.first[t + 1])
        here = seen.obs[rows][seen.active[rows]].astype(np.float64)
        if len(here) < 2:
            assert not v.any()
            continue
        gaps = np.linalg.norm(here[:, None] - here[None], axis=-1)
        np.fill_diagonal(gaps, np.inf)
        front = np.argsort(-here[:, 0], kind="stable")[0]
        assert v[0] == pytest.approx(gaps[front].min(), rel=1e-5)
    counts = diversity.counted([seen, seen], SimHash.random(0), random_signs(0))
    assert counts.sum() == 2 * len(there)


def test_counts_of_a_stopped_training_are_taken_up_and_overwritten(tmp_path: Path) -> None:
    seen = window_by(Idle(), 1, steps=12)
    each = len(diversity.vectors(seen, SimHash.random(0)))
    whole = diversity.Watcher(tmp_path / "whole", 50)
    for steps in (10, 20, 30, 40, 50):
        whole(steps, [seen] * (steps // 10))
    stopped = diversity.Watcher(tmp_path / "stopped", 50)
    for steps in (10, 20, 30):
        stopped(steps, [seen] * 9 if steps == 30 else [seen] * (steps // 10))
    stopped.save()
    resumed = diversity.Watcher(tmp_path / "stopped", 50)
    for steps in (30, 40, 50):
        resumed(steps, [seen] * (steps // 10))
    assert [int(held.sum()) for _, held in resumed.fifths()] == [each * k for k in (1, 2, 3, 4, 5)]
    for (_, a), (_, b) in zip(whole.fifths(), resumed.fifths(), strict=True):
        assert (a == b).all()


def test_entropy_is_that_of_even_cells() -> None:
    assert diversity.entropy(np.array([[4, 4], [4, 4]])) == 2.0
    assert diversity.entropy(heat_map(np.zeros((5, 100)), random_signs(0))) == 0.0


# -- partners --


def test_the_topology_set_names_the_nearest_and_the_farthest_observation() -> None:
    rng = np.random.default_rng(3)
    obs = rng.normal(size=(7, 38)).astype(np.float32)
    asked: Any = SimpleNamespace(obs=obs, active=6)
    found = partners(asked)
    gaps = np.linalg.norm(obs[:6, None].astype(np.float64) - obs[None, :6], axis=-1)
    assert (found["farthest"] == gaps.argmax(axis=1)).all()
    np.fill_diagonal(gaps, np.inf)
    assert (found["nearest"] == gaps.argmin(axis=1)).all()
    alone = partners(SimpleNamespace(obs=obs, active=1))  # type: ignore[arg-type]
    assert alone["nearest"].tolist() == alone["farthest"].tolist() == [-1]
    assert isinstance(TpeQmix, Relates)


# -- situations --


def traffic(
    *paths: tuple[str, str, str, list[tuple[float, int, float, float]]],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return vehicles and events; a path is (id, type, route, [(until s, lane, position, speed)])."""
    rows, left = [], []
    for name, kind, route, pieces in paths:
        left.append({"t_us": 0, "kind": "departure", "id": name, "text": route})
        begin = 0.0
        for until, lane, s, speed in pieces:
            for k in range(round(10 * begin), round(10 * until)):
                place = s + speed * (k / 10 - begin)
                rows.append((k * 100_000, name, kind, "highway_0", lane, place, speed))
            begin = until
    columns = ("t_us", "id", "type", "edge", "lane", "s", "speed")
    return pl.DataFrame(rows, schema=columns, orient="row"), pl.DataFrame(left)


PASSES = ("c1", "cav", "right", [(4.0, 1, 20.0, 20.0), (8.0, 0, 100.0, 20.0)])
SLOW = ("h2", "hdv", "right", [(8.0, 0, 40.0, 10.0)])


def test_a_cav_that_passes_and_takes_the_lane_in_front_is_found() -> None:
    (one,) = in_front(tracks(*traffic(PASSES, SLOW)))
    assert one.who == ("c1", "h2")
    assert (one.turn_s, one.passed) == (4.0, 1)
    assert one.begin_s == 1.0


@pytest.mark.parametrize(
    "other",
    [
        ("c1", "cav", "right", [(3.5, 1, 20.0, 20.0), (4.0, 1, 90.0, 19.0), (8.0, 0, 100.0, 20.0)]),  # brakes
        ("c1", "cav", "straight", PASSES[3]),
        ("c1", "cav", "right", [*PASSES[3], (9.0, 1, 180.0, 20.0)]),  # does not stay
    ],
)
def test_who_brakes_goes_straight_or_does_not_arrive_is_none(other: Any) -> None:
    assert in_front(tracks(*traffic(other, SLOW))) == []


def test_a_cav_that_gives_way_is_found_with_whom_it_helped() -> None:
    first: Any = (
        "c1",
        "cav",
        "right",
        [(2.0, 2, 20.0, 15.0), (4.0, 2, 50.0, 20.0), (5.0, 1, 90.0, 20.0), (8.0, 0, 110.0, 20.0)],
    )
    second = ("c2", "cav", "straight", [(1.0, 2, 45.0, 15.0), (8.0, 1, 60.0, 15.0)])
    slow = ("h3", "hdv", "right", [(8.0, 0, 45.0, 10.0)])
    (one,) = together(tracks(*traffic(first, second, slow)))
    assert one.who == ("c1", "c2", "h3")
    assert (one.begin_s, one.turn_s, one.passed, one.strict) == (0.0, 5.0, 1, True)
    first[3].insert(
        0, (1.5, 3, 20.0, 15.0)
    )  # now it comes later to the lane that the other left, still close
    assert together(tracks(*traffic(first, second, slow)))[0].strict
    far = (*second[:3], [(1.0, 2, 90.0, 15.0), (8.0, 1, 105.0, 15.0)])
    assert not any(one.strict for one in together(tracks(*traffic(first, far, slow))))
    assert together(tracks(*traffic(first, replace_route(second, "left"), slow))) == []


def replace_route(path: Any, route: str) -> Any:
    return (*path[:2], route, path[3])
