"""What the kernel says about this host, on a made-up file system and on this one."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from gamaml.job.host_facts import boot_id, cpu_lines, hosts_of
from gamaml.job.versions import machine_description


@dataclass(frozen=True)
class Rank:
    host: str


def test_boot_id_is_the_kernels_and_else_the_hosts_name(tmp_path: Path) -> None:
    assert boot_id(tmp_path) == platform.node()
    file = tmp_path / "proc/sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True)
    file.write_text("b-1\n")
    assert boot_id(tmp_path) == "b-1"


def test_the_machine_is_described_by_the_kernels_name_of_the_cpu() -> None:
    models = [line.partition(":")[2].strip() for line in cpu_lines() if line.startswith("model name")]
    assert machine_description()["cpu"] == (models[0] if models else platform.machine())


def test_hosts_are_listed_once_in_their_order() -> None:
    assert hosts_of([Rank("b"), Rank("a"), Rank("b")]) == "b, a"
