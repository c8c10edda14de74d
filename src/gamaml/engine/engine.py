"""One job on one rank: its windows, boards and relays, and the loop that claims and evaluates."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs] (it ships none)

from gamaml.config import Config
from gamaml.engine.commit_thread import Writer
from gamaml.engine.evaluation import measured_constants, use_constants
from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.engine.node_rates import NodeRates
from gamaml.engine.population_driver import Evolution
from gamaml.engine.worker import Worker
from gamaml.errors import ResourceError
from gamaml.evolution.rebuild import Course, rebuild
from gamaml.evolution.strategy import State
from gamaml.job import launcher
from gamaml.job import node_memory as memory
from gamaml.job.job_info import JobInfo
from gamaml.job.signals import SignalWatch
from gamaml.job.sizes import Layout, job_info
from gamaml.job.versions import library_versions, machine_description
from gamaml.parallel import noise_window as table
from gamaml.parallel.board import Board
from gamaml.parallel.guard import Guard
from gamaml.parallel.heartbeat import Heartbeat
from gamaml.parallel.relay import Relay
from gamaml.parallel.service import Backoff, Duties, Service
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from gamaml.runlog import Header, RunLog
from gamaml.types import Float32Array, Problem

_IDLE_SECONDS = 5e-3
_LOCK_SECONDS = 10.0
_FLAGS_NBYTES = 64


class Engine:
    """A job's populations on this rank. All public methods are collective over `topology.world`.

    Args:
        topology: the job.
        guard: ends the job when this rank fails alone.
        watch: this process's signals.
        configs: one per population.
        problems: one per population.
        paths: one run file per population.
    """

    def __init__(
        self,
        topology: Topology,
        guard: Guard,
        watch: SignalWatch,
        configs: Sequence[Config],
        problems: Sequence[Problem],
        paths: Sequence[Path],
    ) -> None:
        self._topology = topology
        self._guard = guard
        self._watch = watch
        self._configs = configs
        self._problems = problems
        self._paths = paths
        self._layouts = [Layout(config, problem) for config, problem in zip(configs, problems, strict=True)]
        self._stack = ExitStack()
        self._logs: list[RunLog] = []
        self._evolutions: list[Evolution] = []
        self._lock_renewed = time.monotonic()

    def __enter__(self) -> Engine:
        """Allocate and fill the windows.

        Raises:
            ResourceError: a host cannot hold the windows (before any is allocated), or the nodes' tables differ.
        """
        try:
            self._stack.enter_context(threadpool_limits(1))
            self._topology.agree(self._shortage())
            self._allocate()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Freeing is collective, so a rank that failed alone must end the job first.
        self._guard.check(error)
        for log in self._logs:
            log.close()
        self._stack.close()

    @property
    def info(self) -> JobInfo:
        """What this job is about to take."""
        size, nodes = self._topology.size, self._topology.num_nodes
        return job_info(self._configs[0].noise.size, self._layouts, num_ranks=size, num_nodes=nodes)

    def open_runs(self, *, resume: bool, overwrite: bool, accept_versions: bool) -> None:
        """Open the run logs on rank 0, and bring every node's vectors to where the logs stand.

        Raises:
            RunFileError: a run exists, is locked, damaged, or of another experiment; on every rank.
        """
        headers = [
            Header(
                name=path.stem,
                config=config,
                num_params=problem.num_params,
                num_rounds=problem.num_rounds,
                scalars=problem.scalars,
                metric=problem.metric,
                noise_digest=self._noise.digest,
                versions=library_versions(getattr(problem, "libraries", ()))
                | getattr(problem, "environment_versions", dict[str, str]()),
                machine=machine_description(),
                reproducible=getattr(problem, "reproducible", True),
            )
            for path, config, problem in zip(self._paths, self._configs, self._problems, strict=True)
        ]

        def open_logs() -> list[tuple[Course, dict[str, list[float]]]]:
            for path, header, problem in zip(self._paths, headers, self._problems, strict=True):
                header = dataclasses.replace(header, constants=measured_constants(problem))
                header = dataclasses.replace(header, optimal_return=getattr(problem, "optimal_return", None))
                self._logs.append(
                    RunLog.open(
                        path,
                        header,
                        resume=resume,
                        overwrite=overwrite,
                        accept_versions=accept_versions,
                        job_id=launcher.job_id(),
                    )
                )
            return [
                (Course(layout.initial, log.history.entries, log.history.snapshot), log.header.constants)
                for layout, log in zip(self._layouts, self._logs, strict=True)
            ]

        opened = self._topology.on_root(open_logs)
        for problem, (_, constants) in zip(self._problems, opened, strict=True):
            use_constants(problem, constants)
        for worker, path in zip(self._workers, self._paths, strict=True):
            worker.report_to(path.with_suffix(".run"), self._topology.node_index, self._topology.node.rank)
            self._stack.callback(worker.close)
        self._states = [self._restore(population, course) for population, (course, _) in enumerate(opened)]
        self._vectors_window.sync()
        self._topology.wait_for_all()
        self._vectors_window.sync()

    def prepare(self) -> None:
        """Let the problems warm up: on rank 0 first, so that the others find its results in the cache."""
        for on_root in (True, False):
            if self._topology.is_root is on_root:
                for problem in self._problems:
                    warm_up = getattr(problem, "warm_up", None)
                    if warm_up is not None:
                        warm_up()
            self._topology.wait_for_all()

    def run(self) -> Generator[GenerationInfo, None, None]:
        """Evolve until every population has ended; yields on rank 0, after every generation."""
        self._start()
        try:
            yield from self._loop()
        except GeneratorExit:
            self._wind_down()
            raise
        except Exception as error:
            self._guard.check(error)
            self._wind_down()
            raise
        self._leave()

    def results(self) -> list[TrainResult]:
        """Return how each population ended, the same on every rank."""
        told = self._topology.on_root(
            lambda: [self._tell(*pair) for pair in zip(self._evolutions, self._logs, strict=True)]
        )
        results: list[TrainResult] = []
        for result, layout, vectors in zip(told, self._layouts, self._vectors, strict=True):
            parameters = None
            if result.num_generations and not result.interrupted:
                state = dataclasses.replace(layout.initial, generation=result.num_generations)
                parameters = layout.strategy.incumbent(state, vectors[result.num_generations % 2]).copy()
            results.append(dataclasses.replace(result, parameters=parameters))
        return results

    # Setting up.

    def _shortage(self) -> ResourceError | None:
        if not self._topology.is_leader:
            return None
        nbytes = self.info.node_nbytes + _FLAGS_NBYTES
        demand = memory.measure(self._topology.host, nbytes, launcher.shared_memory_folder())
        text = memory.shortage(self._topology.relay.allgather(demand))
        return ResourceError(text) if text is not None else None

    def _allocate(self) -> None:
        node, noise = self._topology.node, self._configs[0].noise
        noise_window = self._stack.enter_context(SharedWindow(node, 4 * noise.size))
        self._vectors_window = self._stack.enter_context(
            SharedWindow(node, sum(layout.vectors_nbytes for layout in self._layouts))
        )
        board_nbytes = _FLAGS_NBYTES + sum(layout.board.nbytes for layout in self._layouts)
        self._board_window = self._stack.enter_context(SharedWindow(node, board_nbytes, clear=True))
        self._noise = table.fill(self._topology, noise_window, noise.size, noise.seed)
        self._vectors: list[Float32Array] = []
        self._boards: list[Board] = []
        self._workers: list[Worker] = []
        vectors, position, first = np.frombuffer(self._vectors_window.memory(), np.float32), _FLAGS_NBYTES, 0
        for config, problem, layout, path in zip(
            self._configs, self._problems, self._layouts, self._paths, strict=True
        ):
            shape = layout.vectors_shape
            self._vectors.append(vectors[first : first + layout.vectors_nbytes // 4].reshape(shape))
            first += layout.vectors_nbytes // 4
            self._boards.append(Board(self._board_window, position, layout.board))
            position += layout.board.nbytes
            self._workers.append(
                Worker(
                    config,
                    problem,
                    self._noise,
                    self._vectors_window,
                    self._vectors[-1],
                    self._watch,
                    path,
                    self._topology.rank,
                    self._topology.host,
                )
            )

    def _restore(self, population: int, course: Course) -> State:
        """Compute a population's vectors again, shared by the ranks of the node; return its state.

        Each rank computes a range of the parameters, of all ancestors: the ranks wait for nobody.
        """
        layout, problem, node = self._layouts[population], self._problems[population], self._topology.node
        start, stop = (problem.num_params * rank // node.size for rank in (node.rank, node.rank + 1))
        found = rebuild(layout.strategy, course, self._noise, problem, where=slice(start, stop))
        for row, vector in found.items():
            self._vectors[population][len(course.history) % 2, row, start:stop] = vector
        return course.state

    # Running.

    def _start(self) -> None:
        relays: list[Relay] = []
        if self._topology.is_leader:
            for board, layout in zip(self._boards, self._layouts, strict=True):
                comm = self._topology.relay.Dup()
                relays.append(Relay(comm, board, layout.board))
                self._stack.callback(comm.Free)
        if self._topology.is_root:
            writer = self._stack.enter_context(Writer())
            for population, relay in enumerate(relays):
                self._evolutions.append(
                    Evolution(
                        population,
                        self._configs[population],
                        self._problems[population],
                        self._logs[population],
                        self._states[population],
                        relay,
                        NodeRates(self._topology.node_of_rank),
                        writer,
                        self._vectors[population],
                    )
                )
        heartbeat = None
        if self._topology.is_leader and self._topology.num_nodes > 1:
            heartbeat = Heartbeat(self._topology.relay, self._topology.host, launcher.heartbeat_seconds())
            self._stack.callback(heartbeat.free)
        duties = Duties(relays, heartbeat, master=self if self._topology.is_root else None)
        self._service = Service(self._topology, self._board_window, self._watch, duties)
        self._watch.serve()
        self._service.start()

    def advance(self, *, closing: bool) -> bool:
        """Advance all evolutions once; on rank 0, in the service thread."""
        if time.monotonic() - self._lock_renewed > _LOCK_SECONDS:
            self._lock_renewed = time.monotonic()
            for log in self._logs:
                log.renew_lock()
        return any([evolution.progress(closing) for evolution in self._evolutions])

    def _loop(self) -> Generator[GenerationInfo, None, None]:
        backoff = Backoff(_IDLE_SECONDS)
        while True:
            for evolution in self._evolutions:
                if evolution.info is not None:
                    yield evolution.info
                    evolution.info = None
            if self._work():
                backoff.reset()
            elif self._ended():
                return
            else:
                backoff.sleep()
            if not self._service.threaded:
                self._service.tick()

    def _ended(self) -> bool:
        return all(board.ended() for board in self._boards) and all(
            evolution.ended and evolution.info is None for evolution in self._evolutions
        )

    def _work(self) -> bool:
        """Claim and carry out something, of the oldest open generation first; return whether there was anything."""
        for population in sorted(range(len(self._boards)), key=lambda p: self._boards[p].generation):
            board = self._boards[population]
            num_left = board.num_left()
            if num_left == 0:
                continue
            worker = self._workers[population]
            claim = board.claim(worker.claim_size(num_left, self._topology.node.size))
            if claim is None:
                continue
            try:
                records = worker.carry_out(claim)
            except Exception:
                # With other ranks the job ends now, and none of them shall try again what failed here.
                if self._topology.size == 1:
                    board.hand_over(claim, None)
                raise
            board.hand_over(claim, records)
            return True
        return False

    def _wind_down(self) -> None:
        """End all populations and leave, without telling the caller of further generations."""
        self._service.request_stop()
        # What this rank still claims it hands back at once, but for parents to decode.
        self._watch.give_up()
        while not self._ended():
            for evolution in self._evolutions:
                evolution.withdraw()
            if not self._work():
                time.sleep(_IDLE_SECONDS)
            if not self._service.threaded:
                self._service.tick()
        self._leave()

    def _leave(self) -> None:
        self._service.leave()
        # What comes now ends soon by itself; a signal should again do what it does without gamaml.
        self._watch.close()
        self._vectors_window.sync()
        for evolution in self._evolutions:
            # The last command was carried out, so the last vectors are there.
            evolution.check_commit()
            evolution.save_snapshot(evolution.num_generations)
        self.close_logs()

    def ask_for_restart(self) -> None:
        """Ask for another start of the job, unless the last ones brought nothing."""
        # A node that takes part in no generation would otherwise be tried for ever.
        if not any(evolution.fruitless for evolution in self._evolutions):
            launcher.ask_for_restart()

    def close_logs(self) -> None:
        """Finish the commits, and close the run files."""
        for evolution, log in zip(self._evolutions, self._logs, strict=False):
            evolution.check_commit()
            log.close(finished=evolution.ended and not evolution.interrupted)

    def _tell(self, evolution: Evolution, log: RunLog) -> TrainResult:
        return TrainResult(
            path=log.path,
            num_generations=evolution.num_generations,
            total_steps=evolution.total_steps,
            incumbent_fitness=evolution.incumbent_fitness,
            interrupted=evolution.interrupted,
            exhausted=evolution.exhausted,
        )
