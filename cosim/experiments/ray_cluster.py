"""Ray: connecting to a cluster or starting a local one, with errors for the user.

A local cluster asks for a token (nobody else on the machine can run code in it) and sends no usage statistics;
whatever the user's environment says about either wins.  An existing cluster is met as the environment says.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cosim.errors import ScenarioError

_REACH_S = 5.0


@contextmanager
def ray_cluster(address: str | None = None, cpus: int | None = None) -> Iterator[Any]:
    """Give the module ``ray``, connected, and disconnect at the end (a local cluster ends then).

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto`` of a running cluster; None starts a local one.
        cpus: how many processors a local cluster may use; None: all.

    A connection that the caller has made already is used, and left open.  Raises ScenarioError, in one line, if
    Ray is not installed or the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address is None:
        _ask_for_token()
    else:
        _check_reachable(address)
    try:
        import ray
    except ImportError:
        raise ScenarioError("engine ray: Ray is not installed; install it with: pip install ray") from None
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if address is None:
        options |= {"num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(address=address or "local", **options)
    except Exception as error:
        first = " ".join((str(error).splitlines() or [""])[0].split())[:200]
        where = f"--ray-address {address}" if address else "engine ray"
        hint = "; does it ask for a token (RAY_AUTH_MODE, RAY_AUTH_TOKEN)?" if address else ""
        raise ScenarioError(
            f"{where}: cannot connect to Ray: {type(error).__name__}: {first}{hint}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _ask_for_token() -> None:
    """Switch token authentication on; both must stand in the environment before Ray is imported."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _check_reachable(address: str) -> None:
    """Raise ScenarioError if nobody listens at ``HOST:PORT``: Ray itself would try for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not colon or not port.isdigit() or not 0 < int(port) < 65536:
        raise ScenarioError(f"--ray-address {address}: write HOST:PORT, ray://HOST:PORT or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH_S).close()
    except OSError as error:
        raise ScenarioError(
            f"--ray-address {address}: nobody answers there ({error.strerror or error}); start it: ray start --head"
        ) from None
