"""The process of one registered agent: ``python -m cosim.lockstep.worker NAME [--weights F] [--plugin M]…``.

Started by :class:`~cosim.lockstep.process.ProcessHost`; it makes the agent and serves it.
"""

from __future__ import annotations

import argparse

from cosim.lockstep.client import serve
from cosim.lockstep.protocol import Agent
from cosim.lockstep.registry import create_agent
from cosim.registry import load_plugins


def main() -> None:
    """Read the command line and serve the agent that it names."""
    parser = argparse.ArgumentParser(prog="python -m cosim.lockstep.worker", description=__doc__)
    parser.add_argument("name", help="a registered agent, such as common.random")
    parser.add_argument("--weights", help="trained weights (safetensors)")
    parser.add_argument("--plugin", action="append", default=[], help="module that registers agents")
    options = parser.parse_args()

    def make() -> Agent:
        load_plugins(options.plugin)
        return create_agent(options.name, options.weights)

    serve(make)


if __name__ == "__main__":
    main()
