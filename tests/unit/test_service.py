"""The service of a rank: what happens when after a stop, as a table and under a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from doubles import FakeControl, FakeWindow, fake_controls

from gamaml.job import launcher
from gamaml.job.signals import INTERRUPTED, SignalWatch, Stopped
from gamaml.parallel import service
from gamaml.parallel.service import Duties, Service
from gamaml.parallel.shutdown import Stage, StopNotes, num_pending, peers, stage

ROOT, OTHER = True, False

STAGES = [
    # seconds since the stop, rank 0, stage
    (None, ROOT, Stage.RUNNING),
    (None, OTHER, Stage.RUNNING),
    (0.0, ROOT, Stage.CLOSING),
    (1.5, ROOT, Stage.CLOSING),
    (1.6, ROOT, Stage.BREAKING_OFF),
    (3.5, OTHER, Stage.BREAKING_OFF),
    (3.6, OTHER, Stage.OVERDUE),
    (5.5, ROOT, Stage.OVERDUE),
    (5.6, ROOT, Stage.ENDING),
    (5.6, OTHER, Stage.OVERDUE),
    (6.6, OTHER, Stage.ENDING),
]


@pytest.mark.parametrize(("seconds", "is_root", "expected"), STAGES)
def test_stage_follows_from_the_seconds_since_the_stop(seconds: float | None, is_root: bool, expected: Stage) -> None:
    assert stage(seconds, is_root=is_root) is expected


@pytest.mark.parametrize(("node", "expected"), [(0, [1, 2]), (1, [0]), (2, [0])])
def test_leaders_form_a_star_around_rank_0(node: int, expected: list[int]) -> None:
    assert peers(node, 3) == expected


@pytest.mark.parametrize(
    ("node", "sent", "received", "expected"),
    [
        (0, [False], False, 0),
        (0, [True, True, True], False, 2),
        (0, [True, True, True], True, 1),
        (0, [True, False, True], True, 0),
        (2, [True, True, True], False, 1),
        (2, [True, True, True], True, 0),
        (1, [False, True, True], False, 0),
    ],
)
def test_notes_that_nobody_received_are_counted(node: int, sent: list[bool], received: bool, expected: int) -> None:
    assert num_pending(node, sent, received) == expected


@pytest.mark.parametrize("first", [0, 2])
def test_a_note_reaches_every_leader_and_none_is_left(first: int) -> None:
    controls = fake_controls(3)
    notes = [StopNotes(control) for control in controls]
    notes[first].send()
    for _ in range(2):
        for note in notes:
            if note.arrived():
                note.send()
    notes[first].send()  # once is enough
    assert all(note.arrived() for note in notes)
    for note in notes:
        note.drain()
    assert not any(control.Iprobe() for control in controls)


class FakeClock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeBarrier:
    def Test(self) -> bool:
        return True


class FakeWorld:
    def Ibarrier(self) -> FakeBarrier:
        return FakeBarrier()


@dataclass
class FakeTopology:
    """A rank of a job; `control` of a rank that is no leader is not looked at."""

    rank: int = 0
    size: int = 1
    is_leader: bool = True
    control: FakeControl = field(default_factory=lambda: fake_controls(1)[0])
    threaded: bool = False
    host: str = "here"
    world: FakeWorld = field(default_factory=FakeWorld)

    @property
    def is_root(self) -> bool:
        return self.rank == 0


@dataclass
class FakeRelay:
    ended: bool = False
    orders: list[tuple[bool, bool]] = field(default_factory=list[tuple[bool, bool]])

    def progress(self, *, closing: bool, overdue: bool) -> bool:
        self.orders.append((closing, overdue))
        return False


@dataclass
class FakeMaster:
    calls: list[str] = field(default_factory=list[str])

    def advance(self, *, closing: bool) -> bool:
        self.calls.append("close" if closing else "advance")
        return True

    def ask_for_restart(self) -> None:
        self.calls.append("ask for restart")

    def close_logs(self) -> None:
        self.calls.append("close logs")


@dataclass
class FakeHeartbeat:
    hosts: list[str]
    limit: float = 3.0
    silent: list[int] = field(default_factory=list[int])
    ticks: int = 0

    def tick(self) -> list[int]:
        self.ticks += 1
        return self.silent


class Rank:
    """A service with all that it works on."""

    def __init__(self, topology: FakeTopology, flags: FakeWindow | None = None, hosts: list[str] | None = None) -> None:
        self.clock, self.watch, self.flags = FakeClock(), SignalWatch(None), flags or FakeWindow(64)
        self.relay, self.master = FakeRelay(), FakeMaster()
        self.heartbeat = FakeHeartbeat(hosts or [])
        duties = Duties(
            relays=cast(Any, [self.relay] if topology.is_leader else []),
            heartbeat=cast(Any, self.heartbeat if hosts else None),
            master=self.master if topology.is_root else None,
        )
        self.service = Service(cast(Any, topology), self.flags, self.watch, duties, self.clock)

    def tick(self, seconds_since_stop: float = 0.0) -> bool:
        self.clock.now = 100.0 + seconds_since_stop
        return self.service.tick()

    @property
    def breaks_off(self) -> bool:
        try:
            with self.watch.evaluation():
                return False
        except Stopped:
            return True


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes with which ranks ended the job."""
    codes: list[int] = []

    def abort(world: object, code: int, text: str = "") -> None:
        codes.append(code)
        raise Ended

    monkeypatch.setattr(service, "abort", abort)
    return codes


@pytest.fixture
def alarms(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of the alarms set, and of those after which the launcher is to end."""
    alarms: list[float] = []
    monkeypatch.setattr(service.signal, "setitimer", lambda which, seconds: alarms.append(seconds))
    monkeypatch.setattr(launcher, "end_launcher", alarms.append)
    return alarms


def test_without_a_stop_everything_advances_for_ever() -> None:
    rank = Rank(FakeTopology())
    assert rank.tick()
    assert rank.tick(1000)
    assert rank.relay.orders == [(False, False), (False, False)]
    assert rank.master.calls == ["advance", "advance"]
    assert not rank.breaks_off
    assert not rank.service.stopping


def test_rank_0_closes_breaks_off_gives_up_and_ends_the_job_in_this_order(codes: list[int]) -> None:
    rank = Rank(FakeTopology(size=2))
    rank.service.request_stop()
    rank.tick()
    assert rank.service.stopping
    assert not rank.breaks_off
    rank.tick(1.6)
    assert rank.breaks_off
    rank.tick(3.6)
    with pytest.raises(Ended):
        rank.tick(5.6)
    assert rank.relay.orders == [(True, False), (True, False), (True, True), (True, True)]
    assert rank.master.calls == ["close", "close", "close", "close", "close logs"]
    assert codes == [INTERRUPTED]


def test_other_ranks_end_the_job_a_second_later(codes: list[int]) -> None:
    rank = Rank(FakeTopology(rank=1, size=2, is_leader=False))
    rank.service.request_stop()
    rank.tick()
    rank.tick(5.6)
    assert codes == []
    with pytest.raises(Ended):
        rank.tick(6.6)
    assert codes == [INTERRUPTED]
    assert rank.relay.orders == []
    assert rank.master.calls == []


def test_stop_of_one_rank_is_seen_on_its_node_by_the_flag() -> None:
    flags = FakeWindow(64)
    topologies = [FakeTopology(rank=rank, size=3, is_leader=rank == 0) for rank in range(3)]
    ranks = [Rank(topology, flags) for topology in topologies]
    ranks[2].service.request_stop()
    for rank in (ranks[1], ranks[2], ranks[0], ranks[1]):
        rank.tick()
    assert all(rank.service.stopping for rank in ranks)


@pytest.mark.parametrize("first", [0, 1, 2])
def test_stop_of_one_leader_is_seen_on_all_nodes_by_notes(first: int) -> None:
    ranks = [Rank(FakeTopology(rank=node, size=3, control=control)) for node, control in enumerate(fake_controls(3))]
    ranks[first].service.request_stop()
    for _ in range(3):
        for rank in ranks:
            rank.tick()
    assert all(rank.service.stopping for rank in ranks)


def test_silent_node_stops_the_job_and_asks_for_another_start(
    alarms: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    rank = Rank(FakeTopology(size=3, threaded=True), hosts=["here", "there", "yonder"])
    rank.tick()
    assert not rank.service.stopping
    rank.heartbeat.silent = [1, 2]
    rank.tick()
    assert rank.service.stopping
    assert rank.master.calls == ["advance", "ask for restart", "close"]
    assert alarms == [9.0, 9.0]  # this process's and the launcher's
    assert capsys.readouterr().err == (
        "gamaml: error: node on there, yonder: expected a sign of life within 3 s, got none on here; its link, machine "
        "or launcher is down, or one call kept Python's interpreter for that long (GAMAML_HEARTBEAT_SECONDS); start "
        "again with --resume\n"
    )
    rank.tick()
    assert rank.heartbeat.ticks == 2  # a stopping job listens no more


def test_leader_that_finds_rank_0_silent_leaves_the_launcher_to_others(alarms: list[float]) -> None:
    control = fake_controls(2)[1]
    rank = Rank(FakeTopology(rank=1, size=2, threaded=True, control=control), hosts=["there", "here"])
    rank.heartbeat.silent = [0]
    rank.tick()
    assert rank.service.stopping
    assert alarms == [9.0]


def test_beats_need_the_thread() -> None:
    rank = Rank(FakeTopology(size=3, threaded=False), hosts=["here", "there"])
    rank.tick()
    assert rank.heartbeat.ticks == 0


@pytest.mark.parametrize("threaded", [False, True])
def test_leaving_waits_for_the_relays_and_for_the_other_ranks(threaded: bool) -> None:
    rank = Rank(FakeTopology(threaded=threaded))
    calls = rank.master.calls

    def end_after_three(*, closing: bool) -> bool:
        calls.append("advance")
        rank.relay.ended = len(calls) >= 3
        return True

    rank.master.advance = end_after_three  # type: ignore[method-assign]
    rank.service.start()
    rank.service.leave()
    assert len(calls) >= 3


def test_leaving_does_not_break_the_main_thread_off(codes: list[int]) -> None:
    rank = Rank(FakeTopology())
    rank.relay.ended = True
    rank.service.leave()
    rank.service.request_stop()
    rank.tick()
    rank.tick(2.0)
    assert not rank.breaks_off


def test_bug_in_the_service_ends_the_job(codes: list[int]) -> None:
    rank = Rank(FakeTopology())

    def fail(*, closing: bool) -> bool:
        raise ZeroDivisionError

    rank.master.advance = fail  # type: ignore[method-assign]
    with pytest.raises(Ended):
        rank.service.leave()
    assert codes == [1]
