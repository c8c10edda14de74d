"""The command line: from argv to one command and its exit code.

Exit codes: 0 done, 1 failure, 2 bad arguments or config (one line on stderr), 75 checkpointed: start again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import metadata

from gamaml.commands import adapt, export, inspect, list_tasks, preflight, replay, run, show_config, status, submit
from gamaml.commands.console import Parser, fail, flush, write_error
from gamaml.errors import ConfigError, EvaluationError, GamamlError
from gamaml.job.exit_codes import FAILURE, INTERRUPTED, MISTAKE

_COMMANDS = (run, inspect, replay, export, adapt, preflight, submit, status, list_tasks, show_config)
"""The commands in the order of `gamaml --help`. `add` gives each its parser; `run(args)` returns its exit code."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; by default, the process's arguments.

    Returns:
        The exit code. An unexpected exception passes through, so its traceback is shown.
    """
    try:
        given = sys.argv[1:] if argv is None else list(argv)
        args = _parser().parse_args(given, argparse.Namespace(argv=given))
        return args.command(args)
    except EvaluationError as error:
        return fail(error, FAILURE, cause=error.__cause__)
    except ConfigError as error:
        return fail(error, MISTAKE)
    except GamamlError as error:
        return fail(error, FAILURE)
    except KeyboardInterrupt:
        write_error("gamaml: interrupted")
        return INTERRUPTED
    finally:
        flush()


def _parser() -> Parser:
    parser = Parser(
        prog="gamaml",
        description="Meta-learning by evolution on MPI clusters.",
        epilog="exit codes: 0 done, 1 failure, 2 bad arguments or config, 75 checkpointed (--resume)",
    )
    parser.add_argument("--version", action="version", version=f"gamaml {metadata.version('gamaml')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
