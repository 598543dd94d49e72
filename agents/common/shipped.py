"""Which trained policies are shipped: files ``METHOD-SCENARIO-sSEED.safetensors`` below ``data/policies/PAPER``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cosim.resources import share

HOME = Path("data/policies")

_NAME = re.compile(r"(?P<method>\w+)-(?P<scenario>\w+)-s(?P<seed>\d+)\.safetensors")


@dataclass(frozen=True, order=True, slots=True)
class Shipped:
    """A shipped policy, named as its file."""

    paper: str
    method: str
    scenario: str
    seed: int

    @property
    def name(self) -> str:
        """METHOD-SCENARIO-sSEED."""
        return f"{self.method}-{self.scenario}-s{self.seed}"

    @property
    def weights(self) -> str:
        """The name by which ``--agent`` finds it."""
        return f"{self.paper}/{self.name}"

    @property
    def agent(self) -> str:
        """The agent with these weights, as ``--agent`` takes it."""
        return f"{self.paper}.{self.method}:{self.weights}"

    def file(self, ending: str = ".safetensors") -> Path | None:
        """Return what is shipped with it under its name and *ending*, None if there is nothing."""
        found = (home / f"{self.name}{ending}" for home in homes(self.paper))
        return next((path for path in found if path.exists()), None)


def homes(paper: str) -> tuple[Path, ...]:
    """Return the folders in which policies are looked for: that of the working folder, then the packaged one."""
    return HOME / paper, share() / HOME / paper


def shipped(paper: str, scenario: str | None = None) -> tuple[Shipped, ...]:
    """Return a paper's shipped policies, in order of method, scenario and seed; *scenario*: those trained on it."""
    names = {path.name for home in homes(paper) for path in home.glob("*.safetensors")}
    found = [m for name in sorted(names) if (m := _NAME.fullmatch(name))]
    policies = sorted(Shipped(paper, m["method"], m["scenario"], int(m["seed"])) for m in found)
    return tuple(policy for policy in policies if scenario in (None, policy.scenario))
