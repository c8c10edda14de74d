"""Facts about this host, read from its kernel."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class OnHost(Protocol):
    """A fact that belongs to a host."""

    @property
    def host(self) -> str:
        """The host's name."""
        ...


def boot_id(root: Path = Path("/")) -> str:
    """Return a text that changes with every boot of this host, and differs between hosts.

    Args:
        root: the file system's root; tests pass a made-up one.

    Returns:
        The kernel's boot id, or the host's name where the kernel gives none.
    """
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return platform.node()


def cpu_lines() -> list[str]:
    """Return the lines of /proc/cpuinfo; an empty list where the kernel has no such file."""
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def hosts_of(found: Iterable[OnHost]) -> str:
    """Return the hosts' names as one text, each name once."""
    return ", ".join(dict.fromkeys(each.host for each in found))
