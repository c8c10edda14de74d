from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from run_examples import example_config, example_generations, example_header, write_example

from gamaml.commands import run_pictures, run_table
from gamaml.commands.text import number
from gamaml.errors import ConfigError
from gamaml.runlog import CurrentFile, RunLog, load, sidecar

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def kill(log: RunLog) -> None:
    """Leave a run as a killed process does, but for the lock."""
    with pytest.raises(InterruptedError), log:
        raise InterruptedError


def test_table_tells_what_the_run_is(path: Path) -> None:
    write_example(path, 3, finished=True)
    lines = run_table.text(load(path)).splitlines()
    assert lines[0] == "run: 3 generations, finished"
    assert "  task         navigation" in lines
    assert "  GA           population 6, 3 parents, std 0.05" in lines
    assert "  elite        2 candidates x 4 episodes" in lines
    assert "  versions     numpy 2.0" in lines
    assert "  consumed     204 environment steps, 42 evaluations, 0:00:06 of wall-clock time" in lines


def test_run_that_does_not_repeat_itself_says_so(tmp_path: Path) -> None:
    for name, reproducible in (("careful", True), ("careless", False)):
        RunLog.open(tmp_path / f"{name}.h5", example_header(reproducible=reproducible)).close()
        table = run_table.text(load(tmp_path / f"{name}.h5"))
        assert ("  reproducible  no: its environment gives other numbers" in table) != reproducible


def test_table_compares_the_elites_genome_with_its_parameters(path: Path) -> None:
    write_example(path, 3)
    run = load(path)
    mutations = run.genome().num_mutations
    expected = f"10 (40 bytes); the incumbent's genome: {8 + 12 * mutations} bytes, {mutations} mutations"
    assert expected in run_table.text(run)


def test_table_has_a_row_per_generation_with_the_columns_promised(path: Path) -> None:
    write_example(path, 2)
    run = load(path)
    head, *rows = run_table.text(run).split("\n\n")[1].splitlines()
    assert head.split("  ")[0] == "generation"
    names = ["best", "mean", "incumbent", "incumbent return before -> after", "total steps", "failed"]
    assert [name.strip() for name in head.split("  ")[1:] if name.strip()] == names
    summary = run.summary[1]
    before, after = summary["incumbent_returns"][[0, -1]]
    assert rows[1].split() == [
        "1",
        *(number(summary[name]) for name in ("fitness_best", "fitness_mean", "incumbent_fitness")),
        *(number(before), "->", number(after)),
        "136",
        "0",
    ]


def test_table_counts_the_episodes_that_ran_out_of_patience(path: Path) -> None:
    header = example_header(scalars=("step_size", "out_of_patience"))
    generations = example_generations(2, header)
    for generation, count in zip(generations, (0, 3), strict=True):
        generation.records["scalar_out_of_patience"][1:] = count
    with RunLog.open(path, header) as log:
        for generation in generations:
            log.commit(generation)
    head, *rows = run_table.text(load(path)).split("\n\n")[1].splitlines()
    assert head.endswith("  failed  episodes out of patience")
    assert [row.split()[-2:] for row in rows] == [["0", "0"], ["0", "15"]]


def test_long_run_shows_its_first_and_last_and_about_20_generations(path: Path) -> None:
    write_example(path, 100)
    rows = run_table.text(load(path)).split("\n\n")[1].splitlines()[1:]
    shown = [int(row.split()[0]) for row in rows]
    assert (shown[0], shown[-1], len(shown)) == (0, 99, 22)
    assert max(np.diff(shown)) <= 6


def test_run_without_a_generation_or_rounds_has_a_table(path: Path) -> None:
    header = example_header(example_config(elite={"candidates": 0}), num_rounds=0)
    with RunLog.open(path, header) as log:
        log.commit(example_generations(1, header)[0])
    text = run_table.text(load(path))
    assert "  inner loop   none, 8 tasks x 20 episodes\n" in text
    assert "->" not in text
    with RunLog.open(path, header, overwrite=True):
        pass
    assert run_table.text(load(path)).startswith("run: 0 generations, not finished; continue it with --resume")


@pytest.mark.parametrize(
    ("optimum", "words"), [(6.66, "6.6600, exactly computed"), (np.nan, "not known, out of reach of exact computation")]
)
def test_best_possible_return_is_told_and_drawn(path: Path, optimum: float, words: str) -> None:
    write_example(path, 2, header=example_header(optimal_return=optimum))
    assert f"  best possible  {words}" in run_table.text(load(path)).splitlines()
    labels = [line.get_label() for line in run_pictures.learning_curve(load(path)).axes[0].lines]
    assert ("best possible, 6.6600" in labels) == np.isfinite(optimum)


def test_run_whose_task_knows_of_no_best_return_tells_none(path: Path) -> None:
    write_example(path, 2)
    assert "best possible" not in run_table.text(load(path))


def test_changed_versions_are_told(path: Path) -> None:
    write_example(path, 2)
    RunLog.open(path, example_header(versions={"numpy": "3"}), resume=True, accept_versions=True).close()
    assert "other versions from  generation 2" in run_table.text(load(path))


def test_unclean_end_tells_what_ranks_were_evaluating_and_how_to_replay_it(path: Path) -> None:
    log = RunLog.open(path, example_header())
    CurrentFile(sidecar(path), 0, 0, 0).write(7, "child", 4)
    CurrentFile(sidecar(path), 0, 1, 1).write(7, "re-evaluation", 1, 3)
    CurrentFile(sidecar(path), 0, 2, 2).write(7, "idle")
    CurrentFile(sidecar(path), 0, 3, 3).write(7, "child", 8, count=16)
    kill(log)
    text = run_table.text(load(path))
    assert text.startswith("run: 0 generations, ended without closing its file; continue it with --resume")
    assert "being evaluated when it ended:\n  rank 0, process " in text
    assert f"    gamaml replay {path} --generation 7 --index 4\n" in text
    assert f"    gamaml replay {path} --generation 7 --contender 1 --episode 3\n" in text
    assert "child 8, seed 1, and 15 more with it\n" in text
    assert text.endswith("  1 of 4 ranks were idle")


def test_live_run_says_who_writes_it(path: Path) -> None:
    with RunLog.open(path, example_header(), job_id="12"):
        CurrentFile(sidecar(path), 0, 0, 0).write(0, "child", 4)
        text = run_table.text(load(path))
    assert "being written by process" in text.splitlines()[0]
    assert text.splitlines()[0].endswith("job 12")
    assert "being evaluated now:" in text
    assert "gamaml replay" not in text


@pytest.mark.parametrize("length", [1, 2, 30])
def test_plot_draws_two_pictures(path: Path, length: int) -> None:
    write_example(path, length)
    pictures = run_pictures.draw(load(path), path.with_name("a.png"))
    assert [picture.name for picture in pictures] == ["a.png", "a-rounds.png"]
    assert all(picture.read_bytes().startswith(PNG) for picture in pictures)


def test_plot_of_failed_and_diverged_children_is_drawn_and_says_what_is_cut_off(path: Path) -> None:
    with RunLog.open(path, example_header()) as log:
        for generation in example_generations(4):
            generation.records["fitness"][1] = np.nan
            generation.records["returns"][:, 0] = np.inf
            if generation.generation == 2:
                generation.records["fitness"][0] = -1e30
            if generation.generation == 3:
                generation.records["fitness"] = np.nan
            log.commit(dataclasses.replace(generation, incumbent_fitness=0.1 * generation.generation))
    run = load(path)
    run_pictures.draw(run, path.with_name("a.png"))
    figure = run_pictures.learning_curve(run)
    assert figure.axes[0].get_title(loc="left") == "run: fitness (1 of 4 generations reach below the axis)"
    assert figure.axes[0].get_ylim()[0] > -100


@pytest.mark.parametrize(
    ("picture", "message"),
    [("a.pdf", "ends in .png, got 'a.pdf'"), ("no/such/folder/a.png", "expected an existing folder")],
)
def test_picture_that_cannot_be_written_is_refused(path: Path, picture: str, message: str) -> None:
    write_example(path, 1)
    with pytest.raises(ConfigError, match=message):
        run_pictures.draw(load(path), path.parent / picture)


def test_run_without_a_generation_cannot_be_drawn(path: Path) -> None:
    write_example(path, 0)
    with pytest.raises(ConfigError, match="expected at least one finished generation, got none"):
        run_pictures.draw(load(path), path.with_name("a.png"))
