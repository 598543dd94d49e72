"""What a policy that is shipped says of the machine on which it was made: nothing."""

from __future__ import annotations

from cosim.experiments.train_files import portable


def test_folders_of_the_machine_are_left_out_and_everything_else_stays() -> None:
    about = {
        "command": ["/home/me/cosim/__main__.py", "train", "highway", "--seed", "1", "--out", "/home/me/out"],
        "git": {"cosim": {"commit": "abc", "dirty": False, "root": "/home/me/cosim"}, "mine": None},
        "steps": 7,
    }
    assert portable(about, "dqn-highway-s1") == {
        "command": ["cosim", "train", "highway", "--seed", "1", "--out", "runs/train/dqn-highway-s1"],
        "git": {"cosim": {"commit": "abc", "dirty": False}, "mine": {}},
        "steps": 7,
    }
    kept = {"command": ["cosim", "train", "--out", "runs/x"], "git": {}}
    assert portable(kept, "y") == kept
