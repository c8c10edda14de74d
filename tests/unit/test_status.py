"""gamaml status, with a stand-in for squeue."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from run_examples import example_config, example_header, write_example

from gamaml import cli
from gamaml.commands import run_status, status
from gamaml.errors import ConfigError
from gamaml.runlog import RunLog

Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_status_tells_every_run_also_those_not_begun(
    folder: Path, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    program("squeue", 'echo "7_0|8|RUNNING|None"; echo "7_1|9|PENDING|Priority"')
    runs = folder / "runs"
    runs.mkdir()
    write_example(runs / "a-seed2.h5", 2)
    write_example(runs / "a-seed10.h5", 5, finished=True)
    (runs / "a-7.job.json").write_text(json.dumps({"jobs": {"7_0": ["a-seed2", "a-seed10"], "7_1": ["a-seed11"]}}))
    assert cli.main(["status", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "gen", "return", "eta", "state", "job", "restarts"]
    assert [line.split()[0] for line in lines[1:]] == ["a-seed2", "a-seed10", "a-seed11"]
    # Two seconds a generation, three generations to go.
    assert lines[1].split()[1] == "2/5"
    assert lines[1].split()[-4:] == ["0:06", "running", "7_0", "0"]
    assert lines[2].split()[-4:] == ["0:00", "finished", "7_0", "0"]
    assert lines[3].split()[1:] == ["-", "-", "?", "pending", "(Priority)", "7_1", "0"]


def test_status_counts_restarts_and_finds_the_job_of_a_run_started_by_hand(folder: Path, program: Program) -> None:
    program("squeue", 'echo "31|31|PENDING|BeginTime"')
    write_example(folder / "a.h5", 1)
    for job_id in ("30", "31"):
        with RunLog.open(folder / "a.h5", example_header(), resume=True, job_id=job_id):
            pass
    [found] = run_status.find(folder)
    assert (found.restarts, found.job, found.state) == (2, "31", "pending (BeginTime)")


def test_status_reads_a_run_while_it_is_written(folder: Path, program: Program) -> None:
    with RunLog.open(folder / "a.h5", example_header(example_config())):
        [found] = run_status.find(folder)
    assert (found.generation, found.state) == ("0/5", "running")


@pytest.mark.parametrize(
    ("metrics", "title"), [(["return"], "return"), (["loss"], "loss"), (["loss", "return"], "return/loss")]
)
def test_status_says_whether_its_numbers_are_returns_or_losses(
    folder: Path, program: Program, metrics: list[str], title: str
) -> None:
    for number, metric in enumerate(metrics):
        with RunLog.open(folder / f"{number}.h5", example_header(metric=metric)):
            pass
    assert status.text(run_status.find(folder)).split()[:3] == ["run", "gen", title]


def test_status_of_a_run_that_nobody_works_on(folder: Path, program: Program) -> None:
    write_example(folder / "a.h5", 1)
    (folder / "b.h5").write_text("no run")
    first, second = run_status.find(folder)
    assert first.state == "stopped"
    assert second.state.startswith("unreadable: ")


@pytest.mark.parametrize("name", ["nothing", "."])
def test_status_without_runs_is_a_mistake(name: str) -> None:
    with pytest.raises(ConfigError, match=r"status '.*': expected .*; check the path"):
        run_status.find(Path(name))


def test_a_note_that_is_none_is_told(folder: Path) -> None:
    (folder / "x.job.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"x\.job\.json: expected a note of gamaml submit"):
        run_status.find(folder)
