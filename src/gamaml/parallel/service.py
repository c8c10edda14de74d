"""The service thread: relays progress and stops are noticed while the main thread is inside a long evaluation.

Every rank has one. A leader's advances the relays (and on rank 0 the evolution), every rank's watches for a stop. An
MPI library below MPI_THREAD_MULTIPLE gets no thread; the main thread then calls `tick` between evaluations.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn

from mpi4py import MPI

from gamaml.errors import GamamlError
from gamaml.job import launcher
from gamaml.job.exit_codes import INTERRUPTED
from gamaml.job.signals import SignalWatch
from gamaml.parallel.heartbeat import Heartbeat
from gamaml.parallel.relay import Relay
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow

log = logging.getLogger(__name__)

SOFT_SECONDS = 1.5
"""After a stop, evaluations in flight may go on this long before they are broken off."""

GRACE_SECONDS = 3.5
"""After a stop, leaders gather what there is; an evaluation deaf to being broken off (one XLA call) is given up."""

LEAVE_SECONDS = 5.5
"""After a stop, rank 0 does not wait any longer for ranks that have not left: the job ends with INTERRUPTED."""

_SECOND_LEAVE_SECONDS = 6.5
"""After a stop, when the other ranks end themselves too: Hydra answers an abort on one node with SIGTERM on the others,
which they are taking for another request to checkpoint."""

_ALARM_SECONDS = 9.0
"""After a node fell silent, nothing of the job that can be reached lives longer than this."""

_ABORT_SECONDS = 10.0
"""What MPI_Abort may take. Open MPI's waits for the launcher, which answers late on a busy machine; a rank that ends
before the answer gives the job an exit code of its own."""

_SPEAK_SECONDS = 0.3

_SHORTEST_SLEEP, _LEADER_SLEEP, _WORKER_SLEEP = 20e-6, 0.7e-3, 50e-3
_SWITCH_INTERVAL = 5e-4


class Backoff:
    """Sleeps that double from 20 microseconds to `longest` seconds while nothing happens."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._seconds = _SHORTEST_SLEEP

    def reset(self) -> None:
        """Something happened: the next sleep is short."""
        self._seconds = _SHORTEST_SLEEP

    def sleep(self) -> None:
        """Sleep, longer than the last time."""
        time.sleep(self._seconds)
        self._seconds = min(2 * self._seconds, self._longest)


def abort(world: MPI.Comm, code: int, text: str = "") -> NoReturn:
    """Print `text` on stderr and end the whole job with `code`."""
    if text:
        sys.stderr.write(text.rstrip() + "\n")
    sys.stderr.flush()
    sys.stdout.flush()
    # Open MPI's launcher drops what it has not yet forwarded when a rank aborts.
    time.sleep(_SPEAK_SECONDS)
    # On a node that was cut off, where no launcher ends the others, MPI_Abort of MPICH spins for ever.
    earlier, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, min(earlier or _ABORT_SECONDS, _ABORT_SECONDS))
    world.Abort(code)
    # Under srun MPI_Abort only asks for the end, and returns.
    os._exit(code)


class Service:
    """Progress beside the main thread.

    Args:
        topology: the job.
        flags: window of the node whose first word is the node's stop flag.
        relays: this leader's relays, one per population; empty on other ranks.
        watch: signals of this process.
        heartbeat: on a leader of several, notices nodes that fell silent; needs the thread.
        master: on rank 0, advances the evolution and returns whether anything happened; takes `closing`.
        on_lose: on rank 0, called when a node fell silent, before the job is stopped.
        on_give_up: on rank 0, called before a job that does not leave in time is ended.
    """

    def __init__(
        self,
        topology: Topology,
        flags: SharedWindow,
        relays: Sequence[Relay],
        watch: SignalWatch,
        *,
        heartbeat: Heartbeat | None,
        master: Callable[[bool], bool] | None,
        on_lose: Callable[[], None],
        on_give_up: Callable[[], None],
    ) -> None:
        self._topology = topology
        self._flags = flags
        self._relays = relays
        self._watch = watch
        self._heartbeat = heartbeat
        self._master = master
        self._on_lose = on_lose
        self._on_give_up = on_give_up
        self._stop_requested = False
        self._stopped_at: float | None = None
        self._note_sent = self._note_received = False
        self._main_left = False
        self._parent = os.getppid()
        self._barrier: MPI.Request | None = None
        self.threaded = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        if not self.threaded and topology.is_root:
            log.warning(
                "this MPI does not offer MPI_THREAD_MULTIPLE: results travel, and signals are served, only between "
                "evaluations"
            )
        self._thread = threading.Thread(target=self._run, name="gamaml-service", daemon=True)

    def start(self) -> None:
        """Start the thread, if this MPI allows one."""
        if self.threaded:
            # The thread must get the interpreter soon after it wakes beside a busy main thread.
            self._old_interval = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_INTERVAL)
            self._thread.start()

    def request_stop(self) -> None:
        """Ask all ranks to checkpoint and leave."""
        self._stop_requested = True

    @property
    def stopping(self) -> bool:
        """Whether this rank knows of a stop."""
        return self._stopped_at is not None

    def tick(self) -> bool:
        """Advance everything once without waiting; return whether anything happened."""
        if self._topology.size > 1 and os.getppid() != self._parent:
            # Killed by SIGKILL, Open MPI's launcher leaves its ranks running, and nobody to stop them.
            os._exit(1)
        if self._heartbeat is not None and self.threaded and self._stopped_at is None:
            silent = self._heartbeat.tick()
            if silent:
                self._lose([self._heartbeat.hosts[node] for node in silent], self._heartbeat.limit)
        self._notice_stop()
        since_stop = time.monotonic() - self._stopped_at if self._stopped_at is not None else 0.0
        closing = self._stopped_at is not None
        happened = False
        for relay in self._relays:
            happened |= relay.progress(closing=closing, overdue=since_stop > GRACE_SECONDS)
        if self._master is not None:
            happened |= self._master(closing)
        if since_stop > SOFT_SECONDS and not self._main_left:
            self._watch.give_up()
        if since_stop > (LEAVE_SECONDS if self._topology.is_root else _SECOND_LEAVE_SECONDS):
            self._on_give_up()
            abort(self._topology.world, INTERRUPTED)
        return happened

    def leave(self) -> None:
        """Wait until every rank has left its main loop. Collective over the world, without spinning."""
        self._main_left = True
        if self.threaded:
            self._thread.join()
            sys.setswitchinterval(self._old_interval)
        else:
            self._run()
        self._drain_notes()

    def _run(self) -> None:
        backoff = Backoff(_LEADER_SLEEP if self._relays else _WORKER_SLEEP)
        try:
            while not self._everyone_left():
                if self.tick():
                    backoff.reset()
                elif self._barrier is not None:
                    time.sleep(_LEADER_SLEEP)
                else:
                    backoff.sleep()
        except GamamlError as error:
            abort(self._topology.world, 1, f"gamaml: error: {error}")
        except Exception:
            abort(self._topology.world, 1, traceback.format_exc())

    def _everyone_left(self) -> bool:
        if not self._main_left or not all(relay.ended for relay in self._relays):
            return False
        if self._barrier is None:
            self._barrier = self._topology.world.Ibarrier()
        return self._barrier.Test()

    def _notice_stop(self) -> None:
        if self._stopped_at is not None:
            return
        wanted = self._stop_requested or self._watch.requested() or self._flags.load(0) == 1
        control, leader = self._topology.control, self._topology.is_leader
        if leader and control.size > 1 and not self._note_received and control.Iprobe():
            control.recv()
            wanted = self._note_received = True
        if not wanted:
            return
        self._flags.store(0, 1)
        if leader and control.size > 1:
            others = range(1, control.size) if self._topology.is_root else (0,)
            for other in others:
                # A few bytes, sent eagerly: the request completes at once.
                control.isend(None, other).wait()
            self._note_sent = True
        self._stopped_at = time.monotonic()

    def _lose(self, hosts: Sequence[str], limit: float) -> None:
        """Stop the job, because the nodes on `hosts` are silent: it ends as if these did not leave in time."""
        sys.stderr.write(
            f"gamaml: error: node on {', '.join(hosts)}: expected a sign of life within {limit:g} s, got none on "
            f"{self._topology.host}; its link, machine or launcher is down, or one call kept Python's interpreter "
            f"for that long ({launcher.HEARTBEAT}); start again with --resume\n"
        )
        sys.stderr.flush()
        self._stop_requested = True
        # Whatever MPI may wait for in the meantime, the kernel's alarm ends this process, and the launcher's end comes.
        signal.setitimer(signal.ITIMER_REAL, _ALARM_SECONDS)
        if self._topology.is_root:
            self._on_lose()
            launcher.end_launcher(_ALARM_SECONDS)

    def _drain_notes(self) -> None:
        control = self._topology.control
        if control == MPI.COMM_NULL:
            return
        sent = control.allgather(self._note_sent)
        if self._topology.is_root:
            pending = sum(sent[1:]) - self._note_received
        else:
            pending = sent[0] - self._note_received
        for _ in range(pending):
            control.recv()
