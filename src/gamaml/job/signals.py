"""Signals that ask a job to checkpoint and leave.

Python runs a signal's handler only between bytecodes of the main thread, which may be inside one long XLA call. The
C-level handler, though, writes to a pipe at once; the service thread reads it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType, TracebackType

CHECKPOINT_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Stopped(BaseException):
    """Raised inside an evaluation that is given up; not an Exception, so that no evaluation swallows it."""


class SignalWatch:
    """Context manager: notes checkpoint signals, and can break off the main thread's evaluation.

    Outside the main thread it installs nothing and notes nothing.

    Args:
        end_job: called for a signal that arrives before `serve`, when there is nothing to save yet. None before MPI
            runs on several ranks: those that got no signal would wait for this one in MPI_Init.
    """

    def __init__(self, end_job: Callable[[], object] | None) -> None:
        self._end_job = end_job
        self._serving = False
        self._installed = threading.current_thread() is threading.main_thread()
        self._requested = False
        self._evaluating = False
        self._give_up = False

    def __enter__(self) -> SignalWatch:
        if self._installed:
            self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            self._old_handlers = {number: signal.signal(number, self._handle) for number in CHECKPOINT_SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let signals again do what they did before; a second call does nothing."""
        if self._installed:
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._old_wakeup)
            os.close(self._read)
            os.close(self._write)
            self._installed = False

    def end_job_by(self, end_job: Callable[[], object]) -> None:
        """From now on a signal calls `end_job`, at once if there was one already."""
        self._end_job = end_job
        self._end_unless_serving()

    def serve(self) -> None:
        """From now on signals are noted, and somebody asks `requested`."""
        self._serving = True

    def requested(self) -> bool:
        """Return whether a checkpoint signal arrived. Callable from any thread."""
        if self._installed and not self._requested:
            try:
                self._requested = any(number in CHECKPOINT_SIGNALS for number in os.read(self._read, 4096))
            except BlockingIOError:
                pass
        return self._requested

    @contextmanager
    def evaluation(self) -> Generator[None, None, None]:
        """Mark the main thread's body as something that `give_up` may break off with Stopped."""
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
        if self._installed and self._evaluating:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        self._end_unless_serving()
        if self._give_up and self._evaluating:
            raise Stopped

    def _end_unless_serving(self) -> None:
        if self._requested and not self._serving and self._end_job is not None:
            self._end_job()
