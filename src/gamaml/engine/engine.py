"""The loop of one job on one rank: claim and evaluate, until every population has ended."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Sequence

from gamaml.engine.drivers import Drivers
from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.engine.population import Population
from gamaml.evolution.strategy import State
from gamaml.job.signals import SignalWatch
from gamaml.parallel.board import Kind
from gamaml.parallel.guard import Guard
from gamaml.parallel.service import Backoff, Service
from gamaml.parallel.topology import Topology
from gamaml.types import Float32Array

_IDLE_SECONDS = 5e-3


class Engine:
    """A job's populations on this rank, ready to run; made by `open_engine`.

    Args:
        topology: the job.
        guard: ends the job when this rank fails alone.
        watch: this process's signals.
        populations: the populations.
        service: makes progress beside the loop.
        drivers: on rank 0, the populations' drivers.
    """

    def __init__(
        self,
        topology: Topology,
        guard: Guard,
        watch: SignalWatch,
        populations: Sequence[Population],
        service: Service,
        drivers: Drivers | None,
    ) -> None:
        self._topology = topology
        self._guard = guard
        self._watch = watch
        self._populations = populations
        self._service = service
        self._drivers = drivers
        self._updated = True

    def run(self) -> Generator[GenerationInfo, None, None]:
        """Evolve until every population has ended; yields on rank 0, after every generation.

        Collective over the world. An error that ends all populations is raised by `results`, not here.
        """
        self._watch.serve()
        self._service.start()
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
        """Return how each population ended, the same on every rank. Collective over the world, after `run`.

        Raises:
            GamamlError: no selection was possible, or a run file could not be written; on every rank.
        """
        drivers = self._drivers
        ends = self._topology.on_root(lambda: drivers.ends() if drivers is not None else [])
        return [
            dataclasses.replace(result, parameters=_incumbent(population, result, state))
            for population, (result, state) in zip(self._populations, ends, strict=True)
        ]

    def _loop(self) -> Generator[GenerationInfo, None, None]:
        backoff = Backoff(_IDLE_SECONDS)
        while True:
            if self._drivers is not None:
                yield from self._drivers.infos()
            if self._work():
                backoff.reset()
            elif self._ended():
                return
            else:
                self._service.note_work(found=False)
                backoff.sleep()
            if not self._service.threaded:
                self._service.tick()

    def _ended(self) -> bool:
        ended = all(population.board.ended() for population in self._populations)
        return ended and (self._drivers is None or self._drivers.ended)

    def _work(self) -> bool:
        """Claim and carry out something, of the oldest open generation first; return whether there was anything."""
        for population in sorted(self._populations, key=lambda population: population.board.generation):
            board, worker = population.board, population.worker
            num_left = board.num_left()
            if num_left == 0:
                continue
            claim = board.claim(worker.claim_size(num_left, self._topology.node.size))
            if claim is None:
                continue
            self._service.note_work(found=True)
            try:
                records = worker.carry_out(claim)
            except Exception:
                self._updated = self._updated and claim.batch.kind is not Kind.UPDATE
                # With other ranks the job ends now, and none of them is to repeat the failed evaluation.
                if self._topology.size == 1:
                    board.hand_over(claim, None)
                raise
            board.hand_over(claim, records)
            return True
        return False

    def _wind_down(self) -> None:
        """End all populations and leave, without further generations for the caller."""
        self._service.request_stop()
        # This rank still claims items, but hands them back at once, except for updates.
        self._watch.give_up()
        while not self._ended():
            if self._drivers is not None:
                self._drivers.withdraw()
            try:
                worked = self._work()
            except Exception:
                # The failed update is tried once more before the end; its first error is the one that is raised.
                worked = True
            if not worked:
                self._service.note_work(found=False)
                time.sleep(_IDLE_SECONDS)
            if not self._service.threaded:
                self._service.tick()
        self._leave()

    def _leave(self) -> None:
        self._service.leave()
        # The rest takes little time, so signals get back the handlers that they had before.
        self._watch.close()
        for population in self._populations:
            population.buffers.sync()
        if self._drivers is not None:
            self._drivers.finish(updated=self._updated)


def _incumbent(population: Population, result: TrainResult, state: State) -> Float32Array | None:
    if state.generation == 0 or result.interrupted:
        return None
    return population.plan.strategy.incumbent(state, population.buffers.of(state.generation)).copy()
