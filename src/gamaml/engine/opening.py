"""The steps from plans to a job that can run: windows, run files, populations and their drivers."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs] (it ships none)

from gamaml.engine.commit_thread import Commits, CommitThread
from gamaml.engine.drivers import Driven, Drivers
from gamaml.engine.engine import Engine
from gamaml.engine.evaluation import measured_constants, use_constants
from gamaml.engine.node_rates import NodeRates
from gamaml.engine.plan import Plan
from gamaml.engine.population import Population
from gamaml.engine.population_driver import PopulationDriver
from gamaml.engine.train_request import TrainRequest
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.engine.worker import Place, Worker
from gamaml.errors import GamamlError, ResourceError
from gamaml.evolution.noise_table import NoiseTable
from gamaml.evolution.rebuild import Course, rebuild
from gamaml.job import launcher, node_memory
from gamaml.job.job_info import JobInfo
from gamaml.job.signals import SignalWatch
from gamaml.job.sizes import job_info
from gamaml.job.versions import library_versions, machine_description
from gamaml.parallel import noise_window
from gamaml.parallel.board import Board
from gamaml.parallel.guard import Guard
from gamaml.parallel.heartbeat import Heartbeat
from gamaml.parallel.relay import Relay
from gamaml.parallel.service import Duties, Service
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from gamaml.runlog import Header, RunLog

_FLAGS_NBYTES = 64


@dataclass(frozen=True)
class _Memory:
    """A node's shared memory.

    Attributes:
        noise: the noise table.
        vectors: the window of all populations' buffers.
        boards: the window of the stop words and all populations' boards.
    """

    noise: NoiseTable
    vectors: SharedWindow
    boards: SharedWindow


@contextmanager
def open_engine(
    topology: Topology, guard: Guard, watch: SignalWatch, plans: Sequence[Plan], request: TrainRequest
) -> Generator[Engine, None, None]:
    """Allocate the windows, open the runs, restore every node's vectors, and warm up.

    Collective over `topology.world`, like the exit, which frees and closes everything.

    Args:
        topology: the job.
        guard: ends the job when this rank fails alone.
        watch: this process's signals.
        plans: one per population.
        request: says how existing runs are treated.

    Raises:
        ResourceError: a host cannot hold the windows (before any is allocated), or the nodes' tables differ.
        RunFileError: a run exists, is locked, damaged, or of another experiment. Every rank raises both errors.
    """
    # Freeing is collective, so a rank that failed alone must end the job first: the guard is left before the stack.
    with ExitStack() as stack, guard:
        stack.enter_context(threadpool_limits(1))
        topology.agree(_shortage(topology, plans))
        memory = _allocate(stack, topology, plans)
        buffers = _buffers(memory, plans)
        logs, courses = _open_logs(stack, topology, plans, memory.noise, request)
        _restore(topology, plans, courses, memory, buffers)
        populations = _populations(stack, topology, watch, memory, plans, buffers)
        _warm_up(topology, plans)
        relays = _relays(stack, topology, populations)
        drivers = _drivers(stack, topology, memory, populations, relays, logs) if topology.is_root else None
        duties = Duties(relays, _heartbeat(stack, topology), drivers)
        service = Service(topology, memory.boards, watch, duties)
        yield Engine(topology, guard, watch, populations, service, drivers)


def info_of(topology: Topology, plans: Sequence[Plan]) -> JobInfo:
    """Return the size of a job with these plans."""
    layouts = [plan.layout for plan in plans]
    size = plans[0].config.noise.size
    return job_info(size, layouts, num_ranks=topology.size, num_nodes=topology.num_nodes)


def _shortage(topology: Topology, plans: Sequence[Plan]) -> ResourceError | None:
    if not topology.is_leader:
        return None
    nbytes = info_of(topology, plans).node_nbytes + _FLAGS_NBYTES
    demand = node_memory.measure(topology.host, nbytes, launcher.shared_memory_folder())
    text = node_memory.shortage(topology.relay.allgather(demand))
    return ResourceError(text) if text is not None else None


def _allocate(stack: ExitStack, topology: Topology, plans: Sequence[Plan]) -> _Memory:
    node, noise = topology.node, plans[0].config.noise
    table = stack.enter_context(SharedWindow(node, 4 * noise.size))
    vectors = stack.enter_context(SharedWindow(node, sum(plan.layout.vectors_nbytes for plan in plans)))
    nbytes = _FLAGS_NBYTES + sum(plan.layout.board.nbytes for plan in plans)
    boards = stack.enter_context(SharedWindow(node, nbytes, clear=True))
    return _Memory(noise_window.fill(topology, table, noise.size, noise.seed), vectors, boards)


def _buffers(memory: _Memory, plans: Sequence[Plan]) -> list[VectorBuffers]:
    whole, start = np.frombuffer(memory.vectors.memory(), np.float32), 0
    buffers: list[VectorBuffers] = []
    for plan in plans:
        stop = start + plan.layout.vectors_nbytes // 4
        buffers.append(VectorBuffers(memory.vectors, whole[start:stop].reshape(plan.layout.vectors_shape)))
        start = stop
    return buffers


def _open_logs(
    stack: ExitStack, topology: Topology, plans: Sequence[Plan], noise: NoiseTable, request: TrainRequest
) -> tuple[list[RunLog], list[Course]]:
    """Open the run logs on rank 0, and give every rank's problems the constants of their runs.

    Returns:
        The logs, on rank 0 only, and the courses of the runs.
    """
    logs: list[RunLog] = []

    def open_all() -> list[tuple[Course, dict[str, list[float]]]]:
        for plan in plans:
            log = RunLog.open(
                plan.path,
                _header(plan, noise),
                resume=request.resume,
                overwrite=request.overwrite,
                accept_versions=request.accept_versions,
                job_id=launcher.job_id(),
            )
            stack.callback(log.close)
            logs.append(log)
        return [
            (Course(plan.layout.initial, log.history.entries, log.history.snapshot), log.header.constants)
            for plan, log in zip(plans, logs, strict=True)
        ]

    opened = topology.on_root(open_all)
    for plan, (_, constants) in zip(plans, opened, strict=True):
        use_constants(plan.problem, constants)
    return logs, [course for course, _ in opened]


def _header(plan: Plan, noise: NoiseTable) -> Header:
    problem = plan.problem
    return Header(
        name=plan.path.stem,
        config=plan.config,
        num_params=problem.num_params,
        num_rounds=problem.num_rounds,
        scalars=problem.scalars,
        metric=problem.metric,
        noise_digest=noise.digest,
        sizes=plan.strategy.sizes,
        description=plan.strategy.describe(),
        versions=library_versions(problem.libraries) | dict(problem.environment_versions),
        machine=machine_description(),
        reproducible=problem.reproducible,
        constants=measured_constants(problem),
        optimal_return=problem.optimal_return,
    )


def _restore(
    topology: Topology,
    plans: Sequence[Plan],
    courses: Sequence[Course],
    memory: _Memory,
    buffers: Sequence[VectorBuffers],
) -> None:
    """Compute the vectors of all populations again, shared by the ranks of the node.

    Each rank computes a range of the parameters, of all ancestors: no rank waits for another.
    """
    node = topology.node
    for plan, course, vectors in zip(plans, courses, buffers, strict=True):
        start, stop = (plan.problem.num_params * rank // node.size for rank in (node.rank, node.rank + 1))
        found = rebuild(plan.strategy, course, memory.noise, plan.problem, where=slice(start, stop))
        for row, vector in enumerate(found):
            vectors.of(len(course.history))[row, start:stop] = vector
    memory.vectors.sync()
    topology.wait_for_all()
    memory.vectors.sync()


def _populations(
    stack: ExitStack,
    topology: Topology,
    watch: SignalWatch,
    memory: _Memory,
    plans: Sequence[Plan],
    buffers: Sequence[VectorBuffers],
) -> list[Population]:
    place = Place(topology.rank, topology.host, topology.node_index, topology.node.rank)
    populations: list[Population] = []
    position = _FLAGS_NBYTES
    for plan, vectors in zip(plans, buffers, strict=True):
        board = Board(memory.boards, position, plan.layout.board)
        position += plan.layout.board.nbytes
        worker = Worker(plan, memory.noise, vectors, watch, place)
        stack.callback(worker.close)
        populations.append(Population(plan, vectors, board, worker))
    return populations


def _warm_up(topology: Topology, plans: Sequence[Plan]) -> None:
    """Let the problems warm up: on rank 0 first, so that the others find its results in the cache."""
    for on_root in (True, False):
        if topology.is_root is on_root:
            for plan in plans:
                plan.problem.warm_up()
        topology.wait_for_all()


def _relays(stack: ExitStack, topology: Topology, populations: Sequence[Population]) -> list[Relay]:
    relays: list[Relay] = []
    for population in populations if topology.is_leader else ():
        comm = topology.relay.Dup()
        stack.callback(comm.Free)
        relays.append(Relay(comm, population.board, population.plan.layout.board))
    return relays


def _drivers(
    stack: ExitStack,
    topology: Topology,
    memory: _Memory,
    populations: Sequence[Population],
    relays: Sequence[Relay],
    logs: Sequence[RunLog],
) -> Drivers:
    thread = stack.enter_context(CommitThread())
    driven: list[Driven] = []
    for population, relay, log in zip(populations, relays, logs, strict=True):
        commits = Commits(population.plan, population.buffers, log, thread)
        rates = NodeRates(topology.node_of_rank)
        driver = PopulationDriver(population.plan, log.history, memory.noise, population.buffers, relay, commits, rates)
        driven.append(Driven(driver, log))
    # With several ranks, a bug on one ends the job; a single rank raises it to its caller.
    return Drivers(driven, GamamlError if topology.size > 1 else Exception)


def _heartbeat(stack: ExitStack, topology: Topology) -> Heartbeat | None:
    if not topology.is_leader or topology.num_nodes == 1:
        return None
    heartbeat = Heartbeat(topology.relay, topology.host, launcher.heartbeat_seconds())
    stack.callback(heartbeat.free)
    return heartbeat
