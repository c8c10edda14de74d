"""The exceptions of gamaml.

GamamlError
├── ConfigError      a mistake in a config, an argument or a file name; nothing was started or written (exit code 2)
├── RunFileError     a run file or journal that cannot be used: locked, newer, damaged, or of another experiment
├── ResourceError    the machine has too little shared memory or disk for the job
├── SchedulerError   the batch system is absent, silent, or refused a job
├── LaunchError      the ranks were not started as one MPI job, or the MPI library lacks something essential
├── StrategyError    a strategy of the user's gave an answer that does not fit; names the member
├── SelectionError   a generation left nothing to continue from, such as no child with a finite fitness ├── OverdueError
an environment exceeded its time limit; the child is never marked, since this depends on the machine └── EvaluationError
a candidate's evaluation raised; names rank, host, population, generation, child and seed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class GamamlError(Exception):
    """Base class of every error that gamaml raises on purpose."""


class ConfigError(GamamlError, ValueError):
    """A mistake in a config or an argument: one line with subject, expected, got and remedy."""


class RunFileError(GamamlError):
    """A run file or journal that cannot be used as asked."""


class ResourceError(GamamlError):
    """Too little memory, shared memory or disk for the job."""


class SchedulerError(GamamlError):
    """The batch system is absent, does not answer, or refused a job."""


class LaunchError(GamamlError):
    """The ranks do not form one MPI job, or the MPI library lacks something essential."""


class OverdueError(GamamlError):
    """An environment exceeded its time limit."""


class StrategyError(GamamlError):
    """A strategy of the user's gave an answer that does not fit; the message names the member."""


class SelectionError(GamamlError):
    """A generation left nothing to continue from."""


class EvaluationError(GamamlError):
    """The evaluation of one candidate raised; the message carries its address and the replay command."""


def check_file_name(subject: str, path: Path, suffixes: Sequence[str]) -> None:
    """Check the name of an output file, before any work is done for it.

    Args:
        subject: the file's name in errors, such as "--plot".
        path: the file's path.
        suffixes: the allowed endings of the name.

    Raises:
        ConfigError: the name has another ending, or its folder is missing.
    """
    if path.suffix not in suffixes:
        raise ConfigError(
            f"{subject} {str(path)!r}: expected a name that ends in {' or '.join(suffixes)}, got {path.name!r}; "
            "rename it"
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{subject} {str(path)!r}: expected an existing folder, got none; create it first")


def check_index(name: str, value: int, length: int, why: str = "") -> None:
    """Check an index into the data of a run.

    Args:
        name: the index's name in errors.
        value: the index.
        length: number of entries.
        why: the reason for that number, shown in the error.

    Raises:
        ConfigError: there is no such entry.
    """
    if not 0 <= value < length:
        there = f"0 to {length - 1}" if length else "none to exist yet"
        reason = f" ({why})" if why else ""
        raise ConfigError(f"{name}={value}: expected {there}{reason}, got {value}; choose another")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint at the end of an "unknown name" message: the nearest name and all known ones."""
    names = sorted(known)
    by_lower_case = {known.lower(): known for known in names}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f"did you mean {by_lower_case[near[0]]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) if names else 'none'}"
