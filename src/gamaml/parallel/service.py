"""The service thread: relays progress and stops are noticed while the main thread is inside a long evaluation.

Every rank has one, which watches for a stop. On leaders it also advances the relays, and on rank 0 the populations.
With an MPI library below MPI_THREAD_MULTIPLE there is no thread; the main thread then calls `tick` between evaluations.
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
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from gamaml.job import launcher
from gamaml.job.exit_codes import FAILURE, INTERRUPTED
from gamaml.job.signals import SignalWatch
from gamaml.parallel.board import Window
from gamaml.parallel.relay import Relay
from gamaml.parallel.shutdown import Stage, Stop, StopNotes, stage

if TYPE_CHECKING:
    from mpi4py import MPI

    from gamaml.parallel.heartbeat import Heartbeat
    from gamaml.parallel.topology import Topology

log = logging.getLogger(__name__)

_ALARM_SECONDS = 9.0
"""After a node fell silent, all reachable processes of the job end within this time."""

_ABORT_SECONDS = 10.0
"""The longest time that MPI_Abort may take. Open MPI's waits for the launcher, which answers late on a busy machine; a
rank that ends before the answer changes the job's exit code."""

_SPEAK_SECONDS = 0.3

_SHORTEST_SLEEP, _LEADER_SLEEP, _WORKER_SLEEP = 20e-6, 0.7e-3, 50e-3

_LONGER_SLEEP, _SHARE = 20e-3, 0.02
"""A wake-up beside a busy main thread costs 0.1 to 0.3 ms, mostly for cold caches. Beside work on a single population
the thread sleeps for 20 ms, since the results of that population wait for the main thread too. Where there are several,
one may be complete while the main thread works on another, and the thread sleeps for a fiftieth of the time since
something happened."""
_SWITCH_INTERVAL = 5e-4


class Backoff:
    """Sleeps that double from 20 microseconds to `longest` seconds while nothing happens.

    Args:
        longest: seconds.
        share: a sleep may be this share of all sleeps since something happened, if that is longer, up to 20 ms.
    """

    def __init__(self, longest: float, share: float = 0.0) -> None:
        self._longest, self._share = longest, share
        self._seconds, self._slept = _SHORTEST_SLEEP, 0.0

    def reset(self) -> None:
        """Make the next sleep short, since something happened."""
        self._seconds, self._slept = _SHORTEST_SLEEP, 0.0

    def sleep(self) -> None:
        """Sleep, longer than the last time."""
        time.sleep(self._seconds)
        self._slept += self._seconds
        self._seconds = min(2 * self._seconds, max(self._longest, min(self._share * self._slept, _LONGER_SLEEP)))


def abort(world: MPI.Comm, code: int, text: str = "") -> NoReturn:
    """Print `text` on stderr and end the whole job with `code`."""
    if text:
        sys.stderr.write(text.rstrip() + "\n")
    sys.stderr.flush()
    sys.stdout.flush()
    # Open MPI's launcher drops output that it has not yet forwarded when a rank aborts.
    time.sleep(_SPEAK_SECONDS)
    # On a node that was cut off, where no launcher ends the others, MPI_Abort of MPICH spins for ever.
    earlier, _ = signal.getitimer(signal.ITIMER_REAL)
    signal.setitimer(signal.ITIMER_REAL, min(earlier or _ABORT_SECONDS, _ABORT_SECONDS))
    world.Abort(code)
    # Under srun MPI_Abort only asks for the end, and returns.
    os._exit(code)


class Root(Protocol):
    """Rank 0's populations, as the service thread sees them. Only bugs are raised from its methods."""

    @property
    def error(self) -> Exception | None:
        """The error because of which the job stops, raised on every rank once all have left."""
        ...

    def advance(self, *, closing: bool) -> bool:
        """Advance all populations once without waiting; return whether anything happened.

        Args:
            closing: the job stops: give no more work, and save the results that are there.
        """
        ...

    def ask_for_restart(self) -> None:
        """Ask for another start of the job, because a node fell silent."""
        ...

    def close_logs(self) -> None:
        """Finish all writes, because the job ends now."""
        ...


@dataclass(frozen=True)
class Duties:
    """The objects that one rank's service thread advances; empty on a rank that is no leader.

    Attributes:
        relays: a leader's relays, one per population.
        heartbeat: notices silent nodes, on a leader in a job of several nodes; it needs the thread.
        root: rank 0's populations.
    """

    relays: Sequence[Relay] = ()
    heartbeat: Heartbeat | None = None
    root: Root | None = None


class Service:
    """Progress beside the main thread.

    Attributes:
        stop: the stop that this rank knows of.
        threaded: whether the service has a thread.

    Args:
        topology: the job.
        flags: window of the node; its first words announce a stop to the node's ranks.
        watch: signals of this process.
        duties: the objects that this rank advances.
        clock: gives seconds.
    """

    def __init__(
        self,
        topology: Topology,
        flags: Window,
        watch: SignalWatch,
        duties: Duties,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topology = topology
        self._flags = flags
        self._watch = watch
        self._duties = duties
        self._clock = clock
        self._notes = StopNotes(topology.control) if topology.is_leader else None
        self._asked = self.stop = Stop.NONE
        self._stopped_at = 0.0
        self._main_left = False
        self._main_idle = threading.Event()
        self._parent = os.getppid()
        self._barrier: MPI.Request | None = None
        self._switch_interval = sys.getswitchinterval()
        self.threaded: bool = topology.threaded
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
            sys.setswitchinterval(_SWITCH_INTERVAL)
            self._thread.start()

    def note_work(self, *, found: bool) -> None:
        """Note that the main thread found work, or none. Called from the main thread."""
        if found:
            self._main_idle.clear()
        else:
            self._main_idle.set()

    def request_stop(self) -> None:
        """Ask all ranks to save their work and leave."""
        self._asked = max(self._asked, Stop.LEAVING)

    def tick(self) -> bool:
        """Advance everything once without waiting; return whether anything happened."""
        if self._topology.size > 1 and os.getppid() != self._parent:
            # When Open MPI's launcher is killed by SIGKILL, it leaves its ranks running and unwatched.
            os._exit(1)
        self._notice_silence()
        self._notice_stop()
        reached = stage(self.stop, self._clock() - self._stopped_at, is_root=self._topology.is_root)
        closing, overdue = reached >= Stage.CLOSING, reached >= Stage.OVERDUE
        happened = False
        for relay in self._duties.relays:
            happened |= relay.progress(closing=closing, overdue=overdue)
        if self._duties.root is not None:
            happened |= self._duties.root.advance(closing=closing)
        if reached >= Stage.BREAKING_OFF and not self._main_left:
            self._watch.give_up()
        if reached is Stage.ENDING:
            self._end_job()
        return happened

    def leave(self) -> None:
        """Wait until every rank has left its main loop. Collective over the world, without spinning."""
        self._main_left = True
        self._main_idle.set()
        if self.threaded:
            self._thread.join()
            sys.setswitchinterval(self._switch_interval)
        else:
            self._run()
        if self._notes is not None:
            self._notes.drain()

    def _run(self) -> None:
        backoff = Backoff(_LEADER_SLEEP, _SHARE) if self._duties.relays else Backoff(_WORKER_SLEEP)
        try:
            while not self._everyone_left():
                if self.tick():
                    backoff.reset()
                elif self._barrier is not None:
                    time.sleep(_LEADER_SLEEP)
                elif len(self._duties.relays) == 1 and not self._main_idle.is_set():
                    self._main_idle.wait(_LONGER_SLEEP)
                else:
                    backoff.sleep()
        except Exception:
            abort(self._topology.world, FAILURE, traceback.format_exc())

    def _everyone_left(self) -> bool:
        if not self._main_left or not all(relay.ended for relay in self._duties.relays):
            return False
        if self._barrier is None:
            self._barrier = self._topology.world.Ibarrier()
        return self._barrier.Test()

    def _notice_stop(self) -> None:
        found = self._asked
        if self._duties.root is not None and self._duties.root.error is not None:
            found = max(found, Stop.LEAVING)
        if self._watch.requested():
            found = Stop.URGENT
        for stop in (Stop.LEAVING, Stop.URGENT):
            # A rank that is no leader looks rarely, and calls MPI for it: without any call it would not notice that
            # other ranks have died.
            if self._duties.relays and self._flags.peek(_word(stop)) == 0:
                continue
            if self._flags.load(_word(stop)) == 1:
                found = max(found, stop)
        if self._notes is not None:
            found = max(found, self._notes.receive())
        if found <= self.stop:
            return
        self._flags.store(_word(found), 1)
        if self._notes is not None:
            self._notes.send(found)
        self.stop, self._stopped_at = found, self._clock()

    def _notice_silence(self) -> None:
        """Stop the job if nodes are silent; it ends as if these nodes had not left in time."""
        heartbeat = self._duties.heartbeat
        if heartbeat is None or not self.threaded or self.stop is Stop.URGENT:
            return
        silent = heartbeat.tick()
        if not silent:
            return
        hosts = ", ".join(heartbeat.hosts[node] for node in silent)
        sys.stderr.write(
            f"gamaml: error: node on {hosts}: expected a sign of life within {heartbeat.limit:g} s, got none on "
            f"{self._topology.host}; its link, machine or launcher is down, or one call kept Python's interpreter "
            f"for that long ({launcher.HEARTBEAT}); start again with --resume\n"
        )
        sys.stderr.flush()
        self._asked = Stop.URGENT
        # Whatever MPI may wait for in the meantime, the kernel's alarm ends this process, and the launcher's end comes.
        signal.setitimer(signal.ITIMER_REAL, _ALARM_SECONDS)
        if self._duties.root is not None:
            self._duties.root.ask_for_restart()
            launcher.end_launcher(_ALARM_SECONDS)

    def _end_job(self) -> NoReturn:
        """End a job whose ranks do not leave in time."""
        root = self._duties.root
        if root is not None:
            root.close_logs()
            if root.error is not None:
                abort(self._topology.world, FAILURE, f"gamaml: error: {root.error}")
        abort(self._topology.world, INTERRUPTED)


def _word(stop: Stop) -> int:
    """Return the place of a stop's word in the window; each stop has its own, since none is ever withdrawn."""
    return 8 * stop
