from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gamaml.errors import RunFileError
from gamaml.runlog.lock import STALE_SECONDS, Holder, Lock, live_holder, read_holder


def put(path: Path, holder: Holder) -> None:
    path.write_text(json.dumps(dataclasses.asdict(holder)))


@pytest.fixture
def ended() -> Holder:
    """A holder whose process has ended on this host."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return dataclasses.replace(Holder.this_process("job-1"), pid=process.pid, token="ended")


def elsewhere(job_id: str | None = None) -> Holder:
    return dataclasses.replace(
        Holder.this_process(job_id), host="node7", boot_id="another", pid=4242, token="elsewhere"
    )


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_lock_is_given_back_and_leaves_no_file(tmp_path: Path) -> None:
    lock = Lock.acquire(tmp_path / "lock")
    lock.verify()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_live_holder_is_named_with_the_remedy(tmp_path: Path) -> None:
    lock = Lock.acquire(tmp_path / "lock", "job-1")
    expected = rf"held by process {os.getpid()} on host \S+, job job-1, renewed 0 s ago; wait for it or end it"
    with pytest.raises(RunFileError, match=expected):
        Lock.acquire(tmp_path / "lock", "job-2")
    lock.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_two_jobs_without_an_id_are_not_the_same_job(tmp_path: Path) -> None:
    put(tmp_path / "lock", elsewhere(None))
    with pytest.raises(RunFileError, match="process 4242 on host node7, renewed"):
        Lock.acquire(tmp_path / "lock", None)


def test_same_job_takes_over_and_the_former_holder_notices(tmp_path: Path) -> None:
    former = Lock.acquire(tmp_path / "lock", "job-1")
    latter = Lock.acquire(tmp_path / "lock", "job-1")
    latter.verify()
    with pytest.raises(RunFileError, match="which took it over"):
        former.renew()
    former.release()
    latter.verify()


def test_ended_process_of_this_host_is_replaced(tmp_path: Path, ended: Holder) -> None:
    put(tmp_path / "lock", ended)
    lock = Lock.acquire(tmp_path / "lock", "job-2")
    lock.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_killed_process_that_nobody_waited_for_is_replaced(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    started = int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19])
    holder = dataclasses.replace(Holder.this_process(None), pid=process.pid, pid_start=started, token="killed")
    put(tmp_path / "lock", holder)
    with pytest.raises(RunFileError, match=f"held by process {process.pid}"):
        Lock.acquire(tmp_path / "lock")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    Lock.acquire(tmp_path / "lock").verify()
    process.communicate()


def test_pid_used_again_by_another_process_counts_as_ended(tmp_path: Path) -> None:
    holder = Holder.this_process(None)
    put(tmp_path / "lock", dataclasses.replace(holder, pid_start=holder.pid_start - 1))
    Lock.acquire(tmp_path / "lock").verify()


@pytest.mark.parametrize("field", ["boot_id", "pid_namespace"])
def test_pid_means_nothing_in_another_boot_or_container(tmp_path: Path, ended: Holder, field: str) -> None:
    put(tmp_path / "lock", dataclasses.replace(ended, **{field: "another"}))
    with pytest.raises(RunFileError, match="expected a run that no process writes"):
        Lock.acquire(tmp_path / "lock")


def test_lock_not_renewed_is_taken_over_and_a_renewed_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    put(path, elsewhere())
    age(path, STALE_SECONDS - 20)
    with pytest.raises(RunFileError, match=r"renewed (99|100|101) s ago"):
        Lock.acquire(path)
    age(path, STALE_SECONDS + 1)
    lock = Lock.acquire(path)
    age(path, STALE_SECONDS + 1)
    lock.renew()
    assert path.stat().st_mtime > time.time() - 60


def test_unreadable_lock_is_respected_until_it_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"")
    with pytest.raises(RunFileError, match="on host unknown"):
        Lock.acquire(path)
    age(path, STALE_SECONDS + 1)
    Lock.acquire(path).verify()


def test_file_system_without_hard_links_still_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    lock = Lock.acquire(tmp_path / "lock")
    lock.verify()
    with pytest.raises(RunFileError, match="held by process"):
        Lock.acquire(tmp_path / "lock")


def test_of_many_contenders_for_a_dead_lock_exactly_one_wins(tmp_path: Path, ended: Holder) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt)
        put(path, ended)
        won: list[Lock] = []
        barrier = threading.Barrier(6)

        def contend(path: Path = path, won: list[Lock] = won, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                won.append(Lock.acquire(path))
            except RunFileError:
                return

        threads = [threading.Thread(target=contend) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        won[0].verify()


def test_takeover_survives_a_contender_that_died_in_the_middle(tmp_path: Path, ended: Holder) -> None:
    put(tmp_path / "lock", ended)
    put(tmp_path / "lock.ended", dataclasses.replace(ended, token="contender"))
    Lock.acquire(tmp_path / "lock").verify()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_live_holder_is_one_that_lives_and_renews(tmp_path: Path, ended: Holder) -> None:
    path = tmp_path / "lock"
    assert live_holder(path) is None
    put(path, ended)
    assert live_holder(path) is None
    put(path, elsewhere())
    holder = live_holder(path)
    assert holder is not None
    assert holder == read_holder(path)
    age(path, STALE_SECONDS + 1)
    assert live_holder(path) is None
