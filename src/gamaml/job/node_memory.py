"""The check that a host can hold the windows, made before anything is allocated.

Otherwise too little shared memory would end in a SIGBUS at the first touch (MPICH) or a hang (Open MPI), and a cgroup's
limit in a killed process. Nothing here needs MPI.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamaml.job.host_facts import boot_id, hosts_of

MIB = 1 << 20
RESERVE = 4 * MIB
"""Bytes left to MPI itself, out of the bytes that are free after MPI_Init."""


@dataclass(frozen=True)
class Demand:
    """The memory that one node needs, and the memory that its host has.

    Attributes:
        host: name shown in messages.
        device: identity of the file system behind shared memory: (boot id, device number).
        memory: identity of the memory that counts: (boot id, cgroup).
        nbytes: bytes of all windows of the node.
        device_free: bytes free on the device.
        memory_free: bytes still available in the host and the cgroup, None if unknown.
        folder: mount point of the device.
    """

    host: str
    device: tuple[str, int]
    memory: tuple[str, str]
    nbytes: int
    device_free: int
    memory_free: int | None
    folder: str


def measure(host: str, nbytes: int, folder: str, root: Path = Path("/")) -> Demand:
    """Return this node's demand and this host's free memory.

    Args:
        host: its name.
        nbytes: bytes that this node will allocate.
        folder: the folder of MPI's shared windows.
        root: the file system's root; tests pass a made-up one.
    """
    stat = os.statvfs(folder)
    boot = boot_id(root)
    limits = [free for free in (_available(root), *_cgroups_free(root)) if free is not None]
    return Demand(
        host=host,
        device=(boot, Path(folder).stat().st_dev),
        memory=(boot, _read(root / "proc/self/cgroup") or ""),
        nbytes=nbytes,
        device_free=stat.f_bavail * stat.f_frsize,
        memory_free=min(limits, default=None),
        folder=folder,
    )


def shortage(demands: Sequence[Demand]) -> str | None:
    """Return None if every host can hold the windows of its nodes, else a sentence about one that cannot.

    Args:
        demands: one per node; nodes that share a device or a cgroup (emulated nodes) are added up.
    """
    for device in dict.fromkeys(demand.device for demand in demands):
        group = [demand for demand in demands if demand.device == device]
        total = sum(demand.nbytes for demand in group) + RESERVE
        free = min(demand.device_free for demand in group)
        if total > free:
            return (
                f"shared memory on {hosts_of(group)}: expected {_mib(total)} MiB free in {group[0].folder} for the "
                f"windows of {_nodes(group)}, got {_mib(free, down=True)} MiB; make noise.size smaller, run fewer "
                f"populations, or enlarge it (containers: --shm-size)"
            )
    for memory in dict.fromkeys(demand.memory for demand in demands):
        group = [demand for demand in demands if demand.memory == memory]
        total = sum(demand.nbytes for demand in group)
        free = min((demand.memory_free for demand in group if demand.memory_free is not None), default=total)
        if total > free:
            return (
                f"memory on {hosts_of(group)}: expected {_mib(total)} MiB for the windows of {_nodes(group)}, got "
                f"{_mib(free, down=True)} MiB under the memory limit of the host or its cgroup; make noise.size "
                f"smaller, or ask for more memory (SLURM: --mem)"
            )
    return None


def _available(root: Path) -> int | None:
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroups_free(root: Path) -> Iterable[int]:
    """Yield the bytes that each cgroup above this process still allows, for cgroup v2 and v1."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / path.lstrip("/")
        # In a container the path may lie outside the mounted hierarchy, whose root is then the container's own group.
        for level in (folder, *folder.parents) if folder.is_dir() else (base,):
            free = _cgroup_free(level, *names)
            if free is not None:
                yield free
            if level == base:
                break


def _cgroup_free(folder: Path, limit_name: str, usage_name: str, reclaimable_name: str) -> int | None:
    limit, usage = _read(folder / limit_name), _read(folder / usage_name)
    if limit is None or usage is None or limit == "max":
        return None
    statistics = dict(line.split() for line in (_read(folder / "memory.stat") or "").splitlines() if line)
    return int(limit) - int(usage) + int(statistics.get(reclaimable_name, 0))


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _mib(nbytes: int, down: bool = False) -> int:
    return nbytes // MIB if down else -(-nbytes // MIB)


def _nodes(group: Sequence[Demand]) -> str:
    return "1 node" if len(group) == 1 else f"{len(group)} (emulated) nodes that share it"
