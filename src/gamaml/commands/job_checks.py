"""Checks of a job on its own ranks: their places, the memory they share, and whether they agree."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gamaml.commands.text import count, size, spans
from gamaml.config import Config
from gamaml.job.host_facts import hosts_of
from gamaml.job.job_info import JobInfo

if TYPE_CHECKING:
    from gamaml.job.node_memory import Demand
    from gamaml.parallel.probe import RankFacts
    from gamaml.parallel.topology import Topology

K = TypeVar("K", bound=Hashable)

_CLOCK_SECONDS = 2.0
"""Clocks that differ by more make the times in logs and run files confusing; a barrier on a busy machine takes less."""

_SLOW_SECONDS = 1.0
"""A few kilobytes take milliseconds even through a busy machine's TCP."""

_VISIBLE_SECONDS = 10.0
"""A network file system shows a new file to other nodes within this time."""


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Attributes:
        name: one word.
        text: the result; a finding gives expected, got and the remedy.
        finding: whether the job should not go on like this.
    """

    name: str
    text: str
    finding: bool = False


def check(configs: Sequence[Config], out: Path) -> list[Check]:
    """Check this job. Collective over MPI's COMM_WORLD; the result is the same on every rank.

    Args:
        configs: the populations of the job; without any, memory and results count as nothing.
        out: the folder of the run files.

    Returns:
        The outcomes, in the order in which they are shown.

    Raises:
        LaunchError: there is no MPI, or the ranks are worlds of their own.
    """
    from gamaml import problems
    from gamaml.job import launcher
    from gamaml.job import mpi_library as library

    problems = [problems.make_problem(config, None) for config in configs]
    launcher.heartbeat_seconds()
    library.load()
    from gamaml.job import node_memory as memory
    from gamaml.job.sizes import Layout, job_info
    from gamaml.parallel import probe
    from gamaml.parallel.guard import Guard
    from gamaml.parallel.topology import Topology

    with Topology() as topology, Guard(topology):
        layouts = [Layout(config, problem) for config, problem in zip(configs, problems, strict=True)]
        noise_size = configs[0].noise.size if configs else 0
        info = job_info(noise_size, layouts, num_ranks=topology.size, num_nodes=topology.num_nodes)
        demand = None
        if topology.is_leader:
            demand = memory.measure(topology.host, info.node_nbytes, launcher.shared_memory_folder())
        demands = [found for found in topology.world.allgather(demand) if found is not None]
        shortage = memory.shortage(demands)
        if shortage is not None:
            # Even the small windows of the other checks may be too much.
            return [_memory(info, demands, shortage)]
        names = {name for problem in problems for name in problem.libraries}
        facts = probe.gather_facts(topology, sorted(names), configs[0].noise.seed if configs else 0)
        boards = [layout.board for layout in layouts]
        share = max((board.capacity * board.record_dtype.itemsize for board in boards), default=1000 * 32)
        table = max((board.num_entries * 16 for board in boards), default=20 * 16)
        seconds = topology.world.bcast(probe.relay_seconds(topology, table, -(-share // topology.num_nodes)))
        return [
            *judge_places(facts),
            _memory(info, demands, None),
            *judge_agreement(facts),
            _relay(topology.num_nodes, seconds),
            _folder(topology, out),
        ]


def judge_places(facts: Sequence[RankFacts]) -> list[Check]:
    """Judge on which nodes and cores the ranks are."""
    nodes = group(facts, lambda rank: rank.node)
    places = "; ".join(
        f"node {node} on {ranks[0].host}: {len(ranks)} ({spans(rank.rank for rank in ranks)})"
        for node, ranks in nodes.items()
    )
    return [Check("ranks", f"{count(len(facts), 'rank')}, {places}"), _nodes(facts), _windows(facts), _cores(facts)]


def _nodes(facts: Sequence[RankFacts]) -> Check:
    on_node = Counter(rank.launched_on for rank in facts if rank.launched_on is not None)
    found = Counter(rank.node for rank in facts)
    for rank in facts:
        launched = rank.launched_with or on_node.get(-1 if rank.launched_on is None else rank.launched_on)
        if launched is not None and launched > found[rank.node]:
            return Check(
                "nodes",
                f"{rank.host}: expected its {launched} ranks to share one node's memory, got {found[rank.node]} with "
                f"rank {rank.rank}, so the noise table would be there several times; start with another srun --mpi= "
                "type, or the mpiexec beside this python",
                finding=True,
            )
    return Check("nodes", f"{count(len(found), 'node')}, each shares its memory")


def _windows(facts: Sequence[RankFacts]) -> Check:
    blind = [rank for rank in facts if not rank.sees_node]
    if blind:
        return Check(
            "windows",
            f"shared windows: expected ranks to read the values that their node wrote, got others on rank "
            f"{blind[0].rank} ({blind[0].host}); use MPICH 4.3 or Open MPI 5, e.g. pip install 'gamaml[mpich]'",
            finding=True,
        )
    return Check("windows", "every rank reads its node's writes")


def _cores(facts: Sequence[RankFacts]) -> Check:
    notes: list[str] = []
    for ranks in group(facts, lambda rank: (rank.machine, rank.cores)).values():
        first, cores = ranks[0], ranks[0].cores
        crowd = f"{count(len(ranks), 'rank')} on {count(len(cores), 'core')} ({spans(cores)}) of {first.host}"
        if len(ranks) > len(cores) < first.num_cores:
            return Check(
                "cores",
                f"binding: expected a core per rank, got {crowd}, ranks {spans(rank.rank for rank in ranks)}; "
                "mpiexec --bind-to none, or srun --cpu-bind=none, or ask for a core per rank (--cpus-per-task=1)",
                finding=True,
            )
        if len(ranks) > len(cores):
            notes.append(f"{crowd}: more ranks than cores give nothing")
    return Check("cores", "; ".join(notes) or "a core for every rank")


def judge_agreement(facts: Sequence[RankFacts]) -> list[Check]:
    """Judge whether the ranks compute the same, and at the same time."""
    threads = Check("threads", "MPI_THREAD_MULTIPLE")
    if not all(rank.threads for rank in facts):
        threads = Check(
            "threads",
            f"MPI: expected MPI_THREAD_MULTIPLE, got less from {facts[0].software['mpi']}, and results travel only "
            "between evaluations; load another build, or pip install 'gamaml[mpich]'",
            finding=True,
        )
    return [_software(facts), threads, _noise(facts), _clocks(facts)]


def _software(facts: Sequence[RankFacts]) -> Check:
    for name in facts[0].software:
        versions = group(facts, lambda rank, name=name: rank.software.get(name, "none"))
        if len(versions) > 1:
            listed = ", ".join(f"{version} on {hosts_of(ranks)}" for version, ranks in versions.items())
            cure = "ask for one type of node (SLURM: --constraint)" if name == "cpu" else "use one environment on all"
            return Check(
                "software",
                f"{name}: expected the same on all ranks, got {listed}; {cure}, since results depend on it",
                True,
            )
    return Check("software", ", ".join(f"{name} {version}" for name, version in facts[0].software.items()))


def _noise(facts: Sequence[RankFacts]) -> Check:
    tables = group(facts, lambda rank: rank.noise)
    if len(tables) > 1:
        listed = ", ".join(f"{digest:08x} on {hosts_of(ranks)}" for digest, ranks in tables.items())
        return Check(
            "noise", f"noise: expected one checksum, got {listed}; use one CPU type and one version of numpy", True
        )
    return Check("noise", f"checksum {facts[0].noise:08x} on all ranks")


def _clocks(facts: Sequence[RankFacts]) -> Check:
    slowest, fastest = min(facts, key=lambda rank: rank.clock), max(facts, key=lambda rank: rank.clock)
    apart = fastest.clock - slowest.clock
    if apart > _CLOCK_SECONDS:
        return Check(
            "clocks",
            f"clocks: expected at most {_CLOCK_SECONDS:g} s apart, got {apart:.1f} s between {slowest.host} and "
            f"{fastest.host}; ask the administrators (NTP), or leave one of them out (SLURM: --exclude)",
            finding=True,
        )
    return Check("clocks", f"{1e3 * apart:.0f} ms apart, the time of a barrier included")


def _memory(info: JobInfo, demands: Sequence[Demand], shortage: str | None) -> Check:
    if shortage is not None:
        return Check("memory", shortage, finding=True)
    tightest = min(demands, key=lambda demand: min(demand.device_free, demand.memory_free or demand.device_free))
    shared, memory = (
        "an unknown amount" if free is None else size(free) for free in (tightest.device_free, tightest.memory_free)
    )
    has = f"{tightest.host} has {shared} free in {tightest.folder} and {memory} in all"
    takes = f"each node holds {size(info.node_nbytes)}" if info.population_nbytes else "no config given"
    return Check("memory", f"{takes}; {has}")


def _relay(num_nodes: int, seconds: tuple[float, float] | None) -> Check:
    if num_nodes == 1 or seconds is None:
        return Check("relay", "one node, so nothing is sent")
    broadcast, gather = seconds
    text = f"broadcast {1e3 * broadcast:.2f} ms, gather {1e3 * gather:.2f} ms between {num_nodes} nodes"
    if max(seconds) > _SLOW_SECONDS:
        return Check("relay", f"network: expected milliseconds, got {text}; check which network MPI uses", finding=True)
    return Check("relay", text)


def _folder(topology: Topology, out: Path) -> Check:
    """Check that rank 0 can write to the folder and that the other nodes see it. Collective over the world."""
    existed = out.exists()
    name = out / f".preflight-{uuid.uuid4().hex}"
    name, error, seconds = topology.world.bcast((name, *_write(name)) if topology.is_root else None)
    blind = False
    if not error and topology.is_leader:
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while blind := not name.exists():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
    hosts = sorted({host for host, found in topology.world.allgather((topology.host, blind)) if found})
    if topology.is_root:
        name.unlink(missing_ok=True)
        if not existed:
            # A run beside may have made its files there in the meantime.
            with contextlib.suppress(OSError):
                out.rmdir()
    subject = f"folder {str(out)!r}"
    if error:
        return Check(
            "folder", f"{subject}: expected to write and sync a file, got: {error}; choose another --out", True
        )
    if hosts:
        return Check(
            "folder",
            f"{subject}: expected all nodes to see it, got none on {', '.join(hosts)}; choose --out on a shared file "
            "system, or a restart on other nodes begins anew",
            finding=True,
        )
    return Check("folder", f"{out} takes {1e3 * seconds:.1f} ms for a synced write, and every node sees it")


def _write(name: Path) -> tuple[str, float]:
    """Write and sync a file; return an error's text, and the seconds."""
    start = time.perf_counter()
    try:
        name.parent.mkdir(parents=True, exist_ok=True)
        with name.open("wb") as file:
            file.write(b"gamaml")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error), 0.0
    return "", time.perf_counter() - start


def group(facts: Iterable[RankFacts], key: Callable[[RankFacts], K]) -> dict[K, list[RankFacts]]:
    """Group ranks by the value of `key`, in the order of ranks."""
    groups: dict[K, list[RankFacts]] = {}
    for rank in facts:
        groups.setdefault(key(rank), []).append(rank)
    return groups
