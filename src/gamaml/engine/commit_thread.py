"""The thread that commits while the ranks continue, and the commits of one population.

A ThreadPoolExecutor would not do: it takes no work once the interpreter shuts down, and a loop that a script left by
`sys.exit` is wound up and saved at that time.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from types import TracebackType

from gamaml.engine.open_generation import OpenGeneration, finished
from gamaml.engine.plan import Plan
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.evolution.rebuild import Snapshot
from gamaml.runlog import Generation, RunLog


class CommitThread:
    """Context manager; runs the submitted actions in order, in one thread, and finishes them all on exit."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gamaml-commit", daemon=True)

    def submit(self, action: Callable[[], None]) -> Future[None]:
        """Run `action` in the thread, after all earlier ones; the future holds the exception that it raises."""
        future: Future[None] = Future()
        self._queue.put((future, action))
        return future

    def __enter__(self) -> CommitThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            future, action = item
            try:
                action()
            except BaseException as error:
                # The future raises it again in the driver.
                future.set_exception(error)
            else:
                future.set_result(None)


class Commits:
    """One population's commits, at most one in flight.

    Args:
        plan: the population.
        buffers: the node's vectors, stored now and then unless a candidate is a list of mutations.
        log: the open run log.
        thread: runs the commits.
    """

    def __init__(self, plan: Plan, buffers: VectorBuffers, log: RunLog, thread: CommitThread) -> None:
        self._sizes = plan.strategy.sizes
        self._buffers = buffers
        self._log = log
        self._thread = thread
        self._future: Future[None] | None = None
        self._unsaved_seconds = 0.0
        # Snapshots at this distance take no more room than the records between them.
        self._period = -(-buffers.nbytes // (2 * plan.generation_nbytes))

    @property
    def busy(self) -> bool:
        """Whether a commit is in flight."""
        return self._future is not None and not self._future.done()

    def wait(self) -> None:
        """Wait for the commit in flight; raise the exception of the last commit, once."""
        future, self._future = self._future, None
        if future is not None:
            future.result()

    def commit(self, generation: Generation) -> None:
        """Begin to commit a generation."""
        self._future = self._thread.submit(partial(self._commit, generation))

    def save(self, opened: OpenGeneration) -> None:
        """Begin to journal the finished records of the open generation, if there are any."""
        children = finished(opened.children)
        if len(children):
            number, reevaluations = opened.state.generation, finished(opened.reevaluations)
            self._future = self._thread.submit(partial(self._log.save_partial, number, children, reevaluations))

    def save_snapshot(self, generation: int) -> None:
        """Store the vectors of a generation, one of the last two, unless a candidate is a list of mutations."""
        if not self._sizes.has_genomes and generation > 0:
            self._log.save_snapshot(Snapshot(generation, self._buffers.of(generation)))

    def _commit(self, generation: Generation) -> None:
        self._log.commit(generation)
        self._unsaved_seconds += generation.seconds
        longest = self._sizes.snapshot_seconds
        due = longest is not None and self._unsaved_seconds > longest
        if due or generation.generation % self._period == 0:
            self._unsaved_seconds = 0.0
            self.save_snapshot(generation.generation)
