"""Signals that ask a job to checkpoint and end.

Python runs a signal's handler only between bytecodes of the main thread, which may be inside one long XLA call. The
C-level handler, however, writes to a pipe at once, and the service thread reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from types import FrameType, TracebackType

CHECKPOINT_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(BaseException):
    """Raised inside an evaluation that is given up; not an Exception, so no evaluation swallows it."""


class SignalWatch:
    """Context manager that notes checkpoint signals and can break off the main thread's evaluation.

    Outside the main thread it installs nothing and notes nothing.

    Args:
        end_job: called for a signal that arrives before `serve`, when there is nothing to save yet. None before MPI
            runs on several ranks, since those without a signal would wait for this rank in MPI_Init.
    """

    def __init__(self, end_job: Callable[[], object] | None) -> None:
        self._end_job = end_job
        self._serving = False
        self._pipe: int | None = None
        self._stack = ExitStack()
        self._requested = False
        self._evaluating = False
        self._give_up = False

    def __enter__(self) -> SignalWatch:
        if threading.current_thread() is threading.main_thread():
            self._pipe, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._stack.callback(os.close, self._pipe)
            self._stack.callback(os.close, write)
            self._stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(write, warn_on_full_buffer=False))
            for number in CHECKPOINT_SIGNALS:
                self._stack.callback(signal.signal, number, signal.signal(number, self._handle))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Restore the previous handlers; a second call does nothing."""
        self._stack.close()
        self._pipe = None

    def end_job_by(self, end_job: Callable[[], object]) -> None:
        """From now on call `end_job` for a signal; call it at once if a signal has arrived already."""
        self._end_job = end_job
        self._end_unless_serving()

    def serve(self) -> None:
        """From now on only note signals, for `requested`."""
        self._serving = True

    def requested(self) -> bool:
        """Return whether a checkpoint signal arrived. Callable from any thread."""
        if self._pipe is not None and not self._requested:
            try:
                self._requested = any(number in CHECKPOINT_SIGNALS for number in os.read(self._pipe, 4096))
            except BlockingIOError:
                pass
        return self._requested

    @contextmanager
    def evaluation(self) -> Generator[None, None, None]:
        """Mark the body, in the main thread, as an evaluation that `give_up` may break off with Stopped."""
        try:
            self._evaluating = True
            if self._give_up:
                raise Stopped
            yield
        finally:
            self._evaluating = False

    def give_up(self) -> None:
        """Break off the main thread's evaluation, now or when one begins. Called from the service thread."""
        self._give_up = True
        if self._pipe is not None and self._evaluating:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        self._end_unless_serving()
        if self._give_up and self._evaluating:
            raise Stopped

    def _end_unless_serving(self) -> None:
        if self._requested and not self._serving and self._end_job is not None:
            self._end_job()
