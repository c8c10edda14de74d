from __future__ import annotations

import dataclasses
import io
import math

import numpy as np
import pytest
from rich.console import Console

from gamaml.commands import progress
from gamaml.config import Config, StopConfig, TaskConfig
from gamaml.engine.info import GenerationInfo
from gamaml.job.job_info import JobInfo

INFO = GenerationInfo(
    population=0,
    name="seed1",
    generation=11,
    fitness_best=-3.1,
    fitness_mean=-8.24,
    fitness_median=-7.0,
    incumbent_fitness=-4.0,
    incumbent_returns=np.array([-28.4, -10.0, -5.5]),
    mean_returns=np.array([-30.0, -20.0, -8.0]),
    num_failed=0,
    steps=1000,
    total_steps=12000,
    num_evaluations=500,
    std=0.05,
    seconds=2.0,
    eta_seconds=83.0,
    metric="return",
)


def config(generations: int | None) -> Config:
    return Config(task=TaskConfig("m:T"), stop=StopConfig(generations=generations, seconds=1e6))


def shown(goal: int | None, *infos: GenerationInfo, terminal: bool) -> str:
    stream = io.StringIO()

    def write_line(text: str) -> None:
        stream.write(text + "\n")

    with progress.display([config(goal)], ["seed1"], stream, write_line, terminal=terminal) as display:
        for info in infos:
            display.show(info)
    return stream.getvalue()


def refuse(text: str) -> None:
    raise AssertionError(f"a plain line on a terminal: {text}")


def test_a_generations_line_counts_from_one_and_shows_the_return_before_and_after() -> None:
    assert progress.line(INFO, 60) == (
        "seed1 gen 12/60  best -3.100  mean -8.240  incumbent -4.000  return -28.40 -> -5.500  250.0 evals/s  eta 1:23"
    )


def test_a_line_leaves_out_what_is_not_known_or_not_there() -> None:
    info = dataclasses.replace(
        INFO, metric="loss", incumbent_returns=np.array([0.25]), eta_seconds=math.nan, seconds=0.0, num_failed=7
    )
    assert progress.line(info, None) == (
        "seed1 gen 12  best -3.100  mean -8.240  incumbent -4.000  loss 0.2500  failed 7  nan evals/s  eta ?"
    )


def test_job_line_says_what_every_node_holds() -> None:
    info = JobInfo(num_ranks=5, num_nodes=2, table_nbytes=2**30, population_nbytes=(3 << 19, 1 << 10, 3 << 19))
    assert progress.job_line(info) == (
        "5 ranks on 2 nodes; each node holds 1027.0 MiB: noise table 1024.0 MiB + 2 populations of 1.5 MiB + "
        "1 population of 1.0 KiB"
    )


def test_a_file_gets_one_plain_line_per_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    text = shown(60, INFO, dataclasses.replace(INFO, generation=12), terminal=False)
    assert [line[:15] for line in text.splitlines()] == ["seed1 gen 12/60", "seed1 gen 13/60"]
    assert "\x1b" not in text


def test_a_terminal_gets_a_table_with_a_row_per_population(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    configs, names = [config(60), config(None)], ["seed1", "seed2"]
    with progress.display(configs, names, stream, refuse, terminal=True) as display:
        display.show(INFO)
    last = stream.getvalue().rpartition("before -> after")[2]
    assert "seed1" in last
    assert "12/60" in last
    assert "-28.40 -> -5.500" in last
    assert "seed2" in last
    assert "━" in last


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (100, "run gen best mean incumbent before -> after evals/s eta"),
        (62, "run gen best mean incumbent before -> after eta"),
        (55, "run gen best incumbent before -> after eta"),
        (44, "run gen incumbent before -> after"),
    ],
)
def test_a_narrow_terminal_gets_fewer_columns_and_no_shortened_number(columns: int, headings: str) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, color_system=None, width=columns, _environ={"TERM": "xterm"})
    with progress.LiveDisplay({"seed1": 60}, console) as display:
        display.show(INFO)
    last = stream.getvalue()[stream.getvalue().rindex("run ") :].splitlines()
    assert last[0].split() == headings.split()
    assert "12/60" in last[1]
    assert "-28.40 -> -5.500" in last[1]
    assert "…" not in last[1]
    assert ("━" in last[1]) == (columns == 100)


def test_the_cursor_is_visible_while_the_table_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO()
    with progress.display([config(60)], ["seed1"], stream, refuse, terminal=True):
        text = stream.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = shown(60, INFO, terminal=True)
    assert text.startswith("seed1 gen 12/60")
    assert "\x1b" not in text
