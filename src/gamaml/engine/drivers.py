"""All populations of a job on rank 0: their drivers and run files, and the error that ends the job."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.engine.population_driver import PopulationDriver
from gamaml.errors import GamamlError
from gamaml.evolution.strategy import State
from gamaml.job import launcher
from gamaml.runlog import RunLog

_LOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Driven:
    """One population on rank 0.

    Attributes:
        driver: advances it.
        log: its open run log.
    """

    driver: PopulationDriver
    log: RunLog


class Drivers:
    """Rank 0's populations. An error that is no bug stops them all, and is raised by `ends`.

    Attributes:
        error: the first such error.

    Args:
        driven: one per population.
        caught: the errors that stop the populations; all others pass through.
        clock: gives seconds.
    """

    def __init__(
        self,
        driven: Sequence[Driven],
        caught: type[Exception],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._driven = driven
        self._caught = caught
        self._clock = clock
        self._lock_renewed = clock()
        self.error: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether all populations have ended, and the caller has taken every generation."""
        return all(each.driver.ended and each.driver.info is None for each in self._driven)

    def infos(self) -> Iterator[GenerationInfo]:
        """Yield the generations that finished; the loop body for one is over when the next is asked for."""
        for each in self._driven:
            if each.driver.info is not None:
                yield each.driver.info
                each.driver.info = None

    def advance(self, *, closing: bool) -> bool:
        """Advance all populations once without waiting; return whether anything happened."""
        if self._clock() - self._lock_renewed > _LOCK_SECONDS:
            self._lock_renewed = self._clock()
            for each in self._driven:
                with self._noting():
                    each.log.renew_lock()
        happened = False
        for each in self._driven:
            with self._noting():
                happened |= each.driver.progress(closing=closing)
        return happened

    def withdraw(self) -> None:
        """Select no more: the caller takes no more generations."""
        for each in self._driven:
            each.driver.withdraw()

    def ask_for_restart(self) -> None:
        """Ask for another start of the job, unless the last ones brought no new record."""
        # A node that takes part in no generation would otherwise be tried for ever.
        if not any(each.driver.fruitless for each in self._driven):
            launcher.ask_for_restart()

    def close_logs(self) -> None:
        """Wait for the commits, and close the run files as they are; for a job that ends before it has left."""
        self._close(PopulationDriver.check_commit)

    def finish(self, *, updated: bool) -> None:
        """Commit the rest, and close the run files; once every last command was carried out.

        Args:
            updated: whether every update was carried out; else the vectors are not stored.
        """
        self._close(partial(PopulationDriver.settle, updated=updated))

    def ends(self) -> list[tuple[TrainResult, State]]:
        """Return how each population ended, without parameters, and the strategy's state there.

        Raises:
            GamamlError: the error that ended the job.
        """
        if self.error is not None:
            raise self.error
        return [(each.driver.result(), each.driver.state) for each in self._driven]

    def _close(self, settle: Callable[[PopulationDriver], None]) -> None:
        for each in self._driven:
            with self._noting():
                settle(each.driver)
            with self._noting():
                each.log.close(finished=each.driver.finished)

    @contextmanager
    def _noting(self) -> Generator[None, None, None]:
        try:
            yield
        except self._caught as error:
            if self.error is not None and not isinstance(error, GamamlError):
                # A bug while the populations end would come again for ever.
                raise
            self.error = self.error or error
