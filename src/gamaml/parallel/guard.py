"""A failure of one rank ends the job, so that no other rank is left waiting for it."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

from gamaml.parallel.service import abort
from gamaml.parallel.topology import Topology


class Guard:
    """Context manager that turns an exception of one rank into the end of the job.

    An error that all ranks agreed on passes, since every rank raises it. With one rank everything passes. With
    several, an exception that the caller leaves uncaught later ends the job too (`sys.excepthook`), because the other
    ranks may be waiting for this one.

    Args:
        topology: the job.
    """

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def __enter__(self) -> Guard:
        if self._topology.size > 1:
            sys.excepthook = self._end_job
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.check(error)

    def check(self, error: BaseException | None) -> None:
        """End the job if `error` is this rank's alone."""
        if error is None or isinstance(error, GeneratorExit) or error is self._topology.agreed_error:
            return
        if self._topology.size > 1:
            where = f"rank {self._topology.rank} on {self._topology.host}:\n"
            abort(self._topology.world, 1, where + "".join(traceback.format_exception(error)))

    def _end_job(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        agreed = error is self._topology.agreed_error
        if not agreed or self._topology.is_root:
            sys.__excepthook__(kind, error, trace)
        if not agreed and isinstance(error, Exception):
            abort(self._topology.abort_comm, 1)
