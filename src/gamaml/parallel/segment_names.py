"""Removing the names of shared memory that its users have attached, so that nothing outlives a killed job."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_SEGMENT = re.compile(r"/dev/shm/mpich_shm_\w+$", re.MULTILINE)


def remove_attached_names(maps: Path = Path("/proc/self/maps")) -> None:
    """Remove the names of MPICH's segments in this process; the memory lives until the last process unmaps it.

    MPICH leaves the segments of aborted and killed ranks in /dev/shm. They take memory, and because their names follow
    from the SLURM job and step, a requeued job attaches those of its first start and waits in MPI_Init for ever.
    All ranks of the node must have attached the segments. Where MPICH removes a name itself, it does not mind that it
    is gone. Other MPIs have no such segments.

    Args:
        maps: the process's mappings, as Linux lists them.
    """
    for path in set(_SEGMENT.findall(maps.read_text())):
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
