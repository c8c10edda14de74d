"""The exceptions of gamaml.

GamamlError
├── ConfigError      a mistake in a config, an argument or a file name; nothing was started or written (exit code 2)
├── RunFileError     a run file or journal that cannot be used: locked, newer, damaged, or of another experiment
├── ResourceError    the machine has too little shared memory or disk for what was asked
├── SchedulerError   the batch system is absent, silent, or refused a job
├── LaunchError      the ranks were not started as one MPI job, or the MPI cannot do what is needed
├── OverdueError     an environment took longer than it may, which depends on the machine, so it is never marked
└── EvaluationError  a candidate's evaluation raised; names rank, host, population, generation, child and seed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GamamlError(Exception):
    """Base class of every error that gamaml raises on purpose."""


class ConfigError(GamamlError, ValueError):
    """A mistake in a config or an argument: one line with subject, expected, got and remedy."""


class RunFileError(GamamlError):
    """A run file or journal that cannot be used as asked."""


class ResourceError(GamamlError):
    """Too little memory, shared memory or disk for what was asked."""


class SchedulerError(GamamlError):
    """The batch system is not there, does not answer, or refused a job."""


class LaunchError(GamamlError):
    """The ranks do not form one MPI job, or the MPI library lacks something essential."""


class OverdueError(GamamlError):
    """An environment took longer than it may."""


class EvaluationError(GamamlError):
    """The evaluation of one candidate raised; the message carries its address and the replay command."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the hint that ends an "unknown name" message: the nearest name, and all that exist."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(names) if names else 'none'}"
