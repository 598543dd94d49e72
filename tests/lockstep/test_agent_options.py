"""What may stand after --agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosim.errors import ScenarioError
from cosim.lockstep import AgentSpec, check_spec, create_agent, parse_agent_option
from cosim.lockstep.process import command_line


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("common.random", AgentSpec(name="common.random")),
        ("driving=common.random", AgentSpec("driving", "common.random")),
        (
            "driving=tpe_marl.tpe_qmix:weights.safetensors",
            AgentSpec("driving", "tpe_marl.tpe_qmix", "weights.safetensors"),
        ),
        ("a.b:C:\\w=1.safetensors", AgentSpec(None, "a.b", "C:\\w=1.safetensors")),
        ("cmd:python my_agent.py", AgentSpec(command="python my_agent.py")),
        ("my-task=cmd: python x.py --rate=3", AgentSpec("my-task", command="python x.py --rate=3")),
        ("driving=cmd:/opt/x y:z", AgentSpec("driving", command="/opt/x y:z")),
    ],
)
def test_an_option_reads_as_it_is_written(text: str, spec: AgentSpec) -> None:
    assert parse_agent_option(text) == spec


@pytest.mark.parametrize("text", ["", "driving=", "a b", "x=y=z", "name:", ":w", "driving=cmd:", "cmd:  "])
def test_an_option_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ScenarioError, match="--agent"):
        parse_agent_option(text)


def test_weights_are_found_as_a_path_and_under_the_policies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    policy = tmp_path / "data" / "policies" / "p" / "m.safetensors"
    policy.parent.mkdir(parents=True)
    policy.touch()
    for weights in (str(policy), "data/policies/p/m.safetensors", "p/m.safetensors", "p/m"):
        words = command_line(AgentSpec(name="common.random", weights=weights), ["plug"])
        assert words[-4:] == ["--weights", str(policy), "--plugin", "plug"]
    with pytest.raises(ScenarioError, match=r"agent 'common\.random': no weights at 'p/n'"):
        check_spec(AgentSpec(name="common.random", weights="p/n"))


def test_an_agent_is_made_by_name() -> None:
    assert type(create_agent("common.keep_lane")).__name__ == "KeepLane"
    with pytest.raises(ScenarioError, match=r"unknown agent 'common\.keeplane' \(did you mean"):
        create_agent("common.keeplane")
