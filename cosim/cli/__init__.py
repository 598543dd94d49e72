"""The command line: one module a command, each importing what it needs when it runs.

``main`` turns errors meant for the user into one line on standard error and the exit code that belongs to them:
2 what was asked cannot be done, 3 SUMO died, 4 an agent failed, 130 Ctrl-C.
"""

from __future__ import annotations

import errno
import sys

import typer

from cosim.errors import CosimError

app = typer.Typer(
    name="cosim",
    help="Real SUMO traffic, a radio and edge network, and learning agents in lockstep, from one scenario file.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _mount() -> None:
    from cosim.cli import batch, doctor, listing, net, report, reproduce, run, tapes, trace, train, validate

    app.command("run")(run.run_command)
    app.command("validate")(validate.validate_command)
    app.command("list")(listing.list_command)
    app.command("batch")(batch.batch_command)
    app.command("train")(train.train_command)
    app.command("reproduce")(reproduce.reproduce_command)
    app.command("report")(report.report_command)
    app.command("doctor")(doctor.doctor_command)
    app.command("tapes")(tapes.tapes_command)
    app.add_typer(net.app, name="net")
    app.add_typer(trace.app, name="trace")


_mount()


def main() -> None:
    """Entry point of the console script ``cosim``."""
    try:
        app(standalone_mode=True)
    except CosimError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, less) went away; there is nobody left to tell.
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: cannot write: {error.strerror}", file=sys.stderr)
        sys.exit(2)
