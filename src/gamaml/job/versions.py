"""Library versions that can change a run's numbers, and the machine."""

from __future__ import annotations

import contextlib
import platform
import socket
from collections.abc import Iterable
from importlib import metadata

from gamaml.job.host_facts import cpu_lines

_SCIENTIFIC = ("gamaml", "numpy", "jax", "jaxlib")


def library_versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of the libraries on which a run's numbers depend.

    Args:
        more: further distributions that this run uses; those that are not installed are left out.
    """
    versions = {name: metadata.version(name) for name in _SCIENTIFIC}
    for name in more:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def machine_description() -> dict[str, str]:
    """Return host, CPU type, system and Python version."""
    return {
        "host": socket.gethostname(),
        "cpu": _cpu_model(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    models = (line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name"))
    return next(models, platform.machine())
