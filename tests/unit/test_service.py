"""The service of a rank: what happens when after a stop, as a table and under a clock that the test sets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from doubles import FakeControl, FakeWindow, fake_controls

from gamaml.errors import RunFileError
from gamaml.job import launcher
from gamaml.job.exit_codes import INTERRUPTED
from gamaml.job.signals import SignalWatch, Stopped
from gamaml.parallel import service
from gamaml.parallel.service import Duties, Service
from gamaml.parallel.shutdown import Stage, Stop, StopNotes, num_pending, peers, stage

ROOT, OTHER = True, False

STAGES = [
    # stop, seconds since it was known, rank 0, stage
    (Stop.NONE, 1000.0, ROOT, Stage.RUNNING),
    (Stop.NONE, 1000.0, OTHER, Stage.RUNNING),
    (Stop.URGENT, 0.0, ROOT, Stage.CLOSING),
    (Stop.URGENT, 1.5, ROOT, Stage.CLOSING),
    (Stop.URGENT, 1.6, ROOT, Stage.BREAKING_OFF),
    (Stop.URGENT, 3.5, OTHER, Stage.BREAKING_OFF),
    (Stop.URGENT, 3.6, OTHER, Stage.OVERDUE),
    (Stop.URGENT, 5.5, ROOT, Stage.OVERDUE),
    (Stop.URGENT, 5.6, ROOT, Stage.ENDING),
    (Stop.URGENT, 5.6, OTHER, Stage.OVERDUE),
    (Stop.URGENT, 6.6, OTHER, Stage.ENDING),
    (Stop.LEAVING, 1.5, ROOT, Stage.CLOSING),
    (Stop.LEAVING, 1.6, OTHER, Stage.BREAKING_OFF),
    (Stop.LEAVING, 3.6, ROOT, Stage.OVERDUE),
    (Stop.LEAVING, 1000.0, ROOT, Stage.OVERDUE),
    (Stop.LEAVING, 1000.0, OTHER, Stage.OVERDUE),
]


@pytest.mark.parametrize(("stop", "seconds", "is_root", "expected"), STAGES)
def test_stage_follows_from_the_stop_and_the_seconds_since(
    stop: Stop, seconds: float, is_root: bool, expected: Stage
) -> None:
    assert stage(stop, seconds, is_root=is_root) is expected


@pytest.mark.parametrize(("node", "expected"), [(0, [1, 2]), (1, [0]), (2, [0])])
def test_leaders_form_a_star_around_rank_0(node: int, expected: list[int]) -> None:
    assert peers(node, 3) == expected


@pytest.mark.parametrize(
    ("node", "sent", "received", "expected"),
    [
        (0, [0], 0, 0),
        (0, [1, 1, 1], 0, 2),
        (0, [1, 1, 1], 1, 1),
        (0, [1, 0, 2], 1, 1),
        (2, [1, 1, 1], 0, 1),
        (2, [2, 1, 1], 1, 1),
        (1, [0, 1, 1], 0, 0),
    ],
)
def test_notes_that_nobody_received_are_counted(node: int, sent: list[int], received: int, expected: int) -> None:
    assert num_pending(node, sent, received) == expected


@pytest.mark.parametrize("first", [0, 2])
def test_a_note_reaches_every_leader_and_none_is_left(first: int) -> None:
    controls = fake_controls(3)
    notes = [StopNotes(control) for control in controls]
    known = [Stop.NONE] * 3
    known[first] = Stop.LEAVING
    notes[first].send(Stop.LEAVING)
    for _ in range(2):
        for node, note in enumerate(notes):
            if note.receive() > known[node]:
                known[node] = Stop.LEAVING
                note.send(Stop.LEAVING)
    assert known == [Stop.LEAVING] * 3
    gathered(controls, notes)
    for note in notes:
        note.drain()
    assert not any(control.Iprobe() for control in controls)


def gathered(controls: list[FakeControl], notes: list[StopNotes]) -> None:
    """Let every rank contribute to the collective that begins `drain`, which no rank leaves before."""
    for control, note in zip(controls, notes, strict=True):
        control.allgather(getattr(note, "_num_sent"))  # noqa: B009 (the test looks inside)


def test_the_greatest_of_several_notes_counts() -> None:
    controls = fake_controls(2)
    notes = [StopNotes(control) for control in controls]
    notes[1].send(Stop.URGENT)
    notes[1].send(Stop.LEAVING)
    assert notes[0].receive() is Stop.URGENT
    assert notes[0].receive() is Stop.NONE


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
class FakeRoot:
    calls: list[str] = field(default_factory=list[str])
    error: Exception | None = None

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
        self.relay, self.root = FakeRelay(), FakeRoot()
        self.heartbeat = FakeHeartbeat(hosts or [])
        duties = Duties(
            relays=cast(Any, [self.relay] if topology.is_leader else []),
            heartbeat=cast(Any, self.heartbeat if hosts else None),
            root=self.root if topology.is_root else None,
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
def ends(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """Exit code and last words of ranks that ended the job."""
    ends: list[tuple[int, str]] = []

    def abort(world: object, code: int, text: str = "") -> None:
        ends.append((code, text))
        raise Ended

    monkeypatch.setattr(service, "abort", abort)
    return ends


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
    assert rank.root.calls == ["advance", "advance"]
    assert not rank.breaks_off
    assert not rank.service.stop


def signal(rank: Rank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a rank get a checkpoint signal."""
    monkeypatch.setattr(rank.watch, "requested", lambda: True)


def test_rank_0_closes_breaks_off_gives_up_and_ends_the_job_in_this_order(
    ends: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = Rank(FakeTopology(size=2))
    signal(rank, monkeypatch)
    rank.tick()
    assert rank.service.stop
    assert not rank.breaks_off
    rank.tick(1.6)
    assert rank.breaks_off
    rank.tick(3.6)
    with pytest.raises(Ended):
        rank.tick(5.6)
    assert rank.relay.orders == [(True, False), (True, False), (True, True), (True, True)]
    assert rank.root.calls == ["close", "close", "close", "close", "close logs"]
    assert ends == [(INTERRUPTED, "")]


def test_other_ranks_end_the_job_a_second_later(ends: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    rank = Rank(FakeTopology(rank=1, size=2, is_leader=False))
    signal(rank, monkeypatch)
    rank.tick()
    rank.tick(5.6)
    assert ends == []
    with pytest.raises(Ended):
        rank.tick(6.6)
    assert ends == [(INTERRUPTED, "")]
    assert rank.relay.orders == []
    assert rank.root.calls == []


def test_caller_that_leaves_waits_for_every_rank() -> None:
    rank = Rank(FakeTopology(size=2))
    rank.service.request_stop()
    rank.tick()
    rank.tick(3.6)
    rank.tick(1000)
    assert rank.relay.orders == [(True, False), (True, True), (True, True)]
    assert rank.breaks_off


def test_error_on_rank_0_stops_the_job_and_waits_for_every_rank() -> None:
    rank = Rank(FakeTopology(size=2))
    rank.tick()
    rank.root.error = RunFileError("the disk is full")
    rank.tick()
    rank.tick(1000)
    assert rank.relay.orders == [(False, False), (True, False), (True, True)]


def test_signal_to_a_job_that_is_leaving_makes_it_urgent(
    ends: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rank = Rank(FakeTopology(size=2))
    rank.root.error = RunFileError("the disk is full")
    rank.tick()
    rank.tick(1000)
    signal(rank, monkeypatch)
    rank.tick(1000)
    rank.tick(1005)
    with pytest.raises(Ended):
        rank.tick(1006)
    assert ends == [(1, "gamaml: error: the disk is full")]


def test_stop_of_one_rank_is_seen_on_its_node_and_so_is_its_urgency(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = FakeWindow(64)
    topologies = [FakeTopology(rank=rank, size=3, is_leader=rank == 0) for rank in range(3)]
    ranks = [Rank(topology, flags) for topology in topologies]
    ranks[2].service.request_stop()
    for rank in (ranks[1], ranks[2], ranks[0], ranks[1]):
        rank.tick()
    assert [rank.service.stop for rank in ranks] == [Stop.LEAVING] * 3
    signal(ranks[1], monkeypatch)
    for rank in (ranks[1], ranks[2], ranks[0]):
        rank.tick()
    assert [rank.service.stop for rank in ranks] == [Stop.URGENT] * 3


@pytest.mark.parametrize("first", [0, 1, 2])
def test_stop_of_one_leader_is_seen_on_all_nodes_and_so_is_its_urgency(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = [Rank(FakeTopology(rank=node, size=3, control=control)) for node, control in enumerate(fake_controls(3))]
    ranks[first].service.request_stop()
    for _ in range(3):
        for rank in ranks:
            rank.tick()
    assert [rank.service.stop for rank in ranks] == [Stop.LEAVING] * 3
    signal(ranks[first], monkeypatch)
    for _ in range(3):
        for rank in ranks:
            rank.tick()
    assert [rank.service.stop for rank in ranks] == [Stop.URGENT] * 3


def test_silent_node_stops_the_job_and_asks_for_another_start(
    alarms: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    rank = Rank(FakeTopology(size=3, threaded=True), hosts=["here", "there", "yonder"])
    rank.tick()
    assert not rank.service.stop
    rank.heartbeat.silent = [1, 2]
    rank.tick()
    assert rank.service.stop
    assert rank.root.calls == ["advance", "ask for restart", "close"]
    assert alarms == [9.0, 9.0]  # this process's and the launcher's
    assert capsys.readouterr().err == (
        "gamaml: error: node on there, yonder: expected a sign of life within 3 s, got none on here; its link, machine "
        "or launcher is down, or one call kept Python's interpreter for that long (GAMAML_HEARTBEAT_SECONDS); start "
        "again with --resume\n"
    )
    rank.tick()
    assert rank.heartbeat.ticks == 2  # a job that ends within seconds listens no more


def test_leader_that_finds_rank_0_silent_leaves_the_launcher_to_others(alarms: list[float]) -> None:
    control = fake_controls(2)[1]
    rank = Rank(FakeTopology(rank=1, size=2, threaded=True, control=control), hosts=["there", "here"])
    rank.heartbeat.silent = [0]
    rank.tick()
    assert rank.service.stop
    assert alarms == [9.0]


def test_beats_need_the_thread() -> None:
    rank = Rank(FakeTopology(size=3, threaded=False), hosts=["here", "there"])
    rank.tick()
    assert rank.heartbeat.ticks == 0


@pytest.mark.parametrize("threaded", [False, True])
def test_leaving_waits_for_the_relays_and_for_the_other_ranks(threaded: bool) -> None:
    rank = Rank(FakeTopology(threaded=threaded))
    calls = rank.root.calls

    def end_after_three(*, closing: bool) -> bool:
        calls.append("advance")
        rank.relay.ended = len(calls) >= 3
        return True

    rank.root.advance = end_after_three  # type: ignore[method-assign]
    rank.service.start()
    rank.service.leave()
    assert len(calls) >= 3


def test_leaving_does_not_break_the_main_thread_off() -> None:
    rank = Rank(FakeTopology())
    rank.relay.ended = True
    rank.service.leave()
    rank.service.request_stop()
    rank.tick()
    rank.tick(2.0)
    assert not rank.breaks_off


def test_bug_in_the_service_ends_the_job_and_is_shown(ends: list[tuple[int, str]]) -> None:
    rank = Rank(FakeTopology())

    def fail(*, closing: bool) -> bool:
        raise ZeroDivisionError

    rank.root.advance = fail  # type: ignore[method-assign]
    with pytest.raises(Ended):
        rank.service.leave()
    ((code, text),) = ends
    assert code == 1
    assert text.startswith("Traceback")
    assert "ZeroDivisionError" in text
