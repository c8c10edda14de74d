"""The shell's side of every command: its parser, its two streams, its one-line errors."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from typing import Any, NoReturn, TypeAlias

from gamaml.errors import ConfigError, GamamlError
from gamaml.job import launcher

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # pyright: ignore[reportPrivateUsage] - its only name
"""The list of commands, to which each command adds its parser."""

_SILENT_SECONDS = 2.0
"""Seconds that ranks other than 0 wait after an error that all ranks find before MPI starts: a launcher may end the job
as soon as one rank has failed, and must not end rank 0 before it has reported the error."""


class Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviations, keeps the lines of its texts, and fails in one line.

    Args:
        settings: keyword arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def write(text: str) -> None:
    """Print one text on stdout; a reader that went away (`| head`) ends the output, not the run."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_stdout()


def write_error(text: str) -> None:
    """Print one text on stderr."""
    print(text, file=sys.stderr, flush=True)


def flush() -> None:
    """Write whatever stdout still holds, for a reader that may have gone."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()


def fail(error: GamamlError, code: int, cause: BaseException | None = None) -> int:
    """Report an error in one line on rank 0.

    Args:
        error: the error.
        code: exit code of the command.
        cause: an exception in a user's code, whose traceback is shown above the line.

    Returns:
        The exit code.
    """
    if launcher.rank_from_environment() != 0:
        time.sleep(_SILENT_SECONDS)
        return code
    if cause is not None:
        traceback.print_exception(cause)
    write_error(f"gamaml: error: {' '.join(str(error).splitlines())}")
    return code


def _drop_stdout() -> None:
    # The interpreter flushes once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
