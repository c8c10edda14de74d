"""A thread that commits while the ranks go on.

Not a ThreadPoolExecutor: that one takes no work once the interpreter shuts down, which is when a loop that a script
left by `sys.exit` is wound up and saved.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType


class Writer:
    """Context manager; runs what is submitted in order, in one thread, and finishes it all on exit."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Future[None], Callable[[], None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="gamaml-writer", daemon=True)

    def submit(self, action: Callable[[], None]) -> Future[None]:
        """Run `action` in the thread after all that was submitted before; the future holds what it raises."""
        future: Future[None] = Future()
        self._queue.put((future, action))
        return future

    def __enter__(self) -> Writer:
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
                # Re-raised by whoever asks the future: the service thread, which ends the job.
                future.set_exception(error)
            else:
                future.set_result(None)
