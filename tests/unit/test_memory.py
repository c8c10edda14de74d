"""What a host can hold: cgroups of both versions on a made-up file system, and nodes that share a host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gamaml.job.node_memory import (
    MIB,
    RESERVE,
    Demand,
    measure,
    shortage,
)

DEMAND = Demand("host1", ("boot1", 5), ("boot1", "0::/job"), 100 * MIB, 200 * MIB, None, "/dev/shm")


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": "MemTotal: 8 kB\nMemAvailable: 1048576 kB\n", **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_host_without_limits_gives_what_is_available(tmp_path: Path) -> None:
    assert measure("host1", 1, "/dev/shm", tree(tmp_path, {})).memory_free == 1024 * MIB


@pytest.mark.parametrize("limited", ["job", "job/step"])
def test_every_level_of_cgroup_v2_counts_and_reclaimable_pages_are_free(tmp_path: Path, limited: str) -> None:
    group = f"sys/fs/cgroup/{limited}"
    files = {
        "proc/self/cgroup": "0::/job/step\n",
        "sys/fs/cgroup/job/step/memory.max": "max\n",
        f"{group}/memory.max": f"{300 * MIB}\n",
        f"{group}/memory.current": f"{120 * MIB}\n",
        f"{group}/memory.stat": f"anon 5\ninactive_file {20 * MIB}\n",
    }
    assert measure("host1", 1, "/dev/shm", tree(tmp_path, files)).memory_free == 200 * MIB


def test_limit_of_cgroup_v1_counts(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/memory/job"
    files = {
        "proc/self/cgroup": "4:cpu,memory:/job\n1:pids:/job\n",
        f"{group}/memory.limit_in_bytes": f"{300 * MIB}\n",
        f"{group}/memory.usage_in_bytes": f"{120 * MIB}\n",
    }
    assert measure("host1", 1, "/dev/shm", tree(tmp_path, files)).memory_free == 180 * MIB


def test_nodes_that_fit_are_not_refused() -> None:
    assert shortage([DEMAND, replace(DEMAND, host="host2", device=("boot2", 5), memory=("boot2", ""))]) is None


def test_nodes_on_one_device_are_added_up() -> None:
    text = shortage([DEMAND, DEMAND])
    assert text is not None
    assert "shared memory on host1: expected 204 MiB free in /dev/shm" in text
    assert "2 (emulated) nodes that share it, got 200 MiB" in text


def test_reserve_for_mpi_itself_is_kept() -> None:
    assert shortage([replace(DEMAND, device_free=100 * MIB + RESERVE)]) is None
    assert shortage([replace(DEMAND, device_free=100 * MIB + RESERVE - 1)]) is not None


def test_memory_limit_is_refused_in_words() -> None:
    text = shortage([replace(DEMAND, memory_free=99 * MIB)])
    assert text is not None
    assert text.startswith("memory on host1: expected 100 MiB for the windows of 1 node, got 99 MiB")
    assert "--mem" in text
