"""SLURM's queue and its refusals, with stand-ins for its commands."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gamaml.errors import SchedulerError
from gamaml.slurm import scheduler
from gamaml.slurm.scheduler import QueueState

Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_queue_states_are_known_by_both_numbers_of_a_job(program: Program) -> None:
    program(
        "squeue",
        'echo "$@" > called; echo "7_0|8|RUNNING|None"; echo "7_1|7|PENDING|Priority"; echo "9|9|RUNNING|None"',
    )
    running, waiting = QueueState("RUNNING", "None"), QueueState("PENDING", "Priority")
    assert scheduler.queue({"7_0", "9"}) == {"7_0": running, "8": running, "7_1": waiting, "9": running}
    assert "--jobs=7,9" in Path("called").read_text()
    assert (str(running), str(waiting)) == ("running", "pending (Priority)")


def test_a_queue_that_does_not_know_or_answer_is_no_error(program: Program) -> None:
    assert scheduler.queue({"7"}) is None
    program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert scheduler.queue({"7"}) == {}
    program("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    assert scheduler.queue({"7"}) is None
    assert scheduler.queue([]) == {}


def test_a_scheduler_that_hangs_is_given_up(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "_SECONDS", 0.2)
    program("sbatch", "exec /bin/sleep 20")
    begun = time.monotonic()
    with pytest.raises(SchedulerError, match="expected an answer within"):
        scheduler.submit(Path("x"))
    assert time.monotonic() - begun < 15
