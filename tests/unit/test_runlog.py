from __future__ import annotations

import dataclasses
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from run_examples import (
    NUM_PARAMS,
    chain,
    example_config,
    example_es_config,
    example_generation,
    example_generations,
    example_header,
    write_example,
)

from gamaml import runlog
from gamaml.config import Config, StopConfig
from gamaml.errors import ConfigError, RunFileError
from gamaml.evolution.rebuild import Snapshot
from gamaml.evolution.records import DONE, FAILED
from gamaml.runlog import PADDING, CurrentFile, RunLog, load, read_current, summarise
from gamaml.runlog.journal import FrameType, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run.h5"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def summary_of_two() -> Any:
    """Two children of fitness 1 and 3, a failed one; the incumbent is contender 1 of 2, with 2 episodes each."""
    config = example_config(population_size=3, num_parents=2, elite={"candidates": 2, "episodes": 2})
    generation = example_generation([], example_header(config))
    records, again = generation.records, generation.reevaluations
    records["fitness"] = [1, np.nan, 3]
    records["flags"] = [DONE, DONE | FAILED, DONE]
    records["returns"] = [[0, 0, 2], [9, 9, 9], [2, 4, 6]]
    again["fitness"] = [1, 1, 2, 4]
    again["returns"] = [[0, 0, 0], [0, 0, 0], [1, 2, 3], [3, 4, 5]]
    return dataclasses.replace(generation, entries=generation.contenders[[1, 0]], contender=1, incumbent_fitness=3.0)


# What a generation's summary says


def test_summary_counts_finite_children_only() -> None:
    summary = summarise(summary_of_two())
    assert (summary.fitness_best, summary.fitness_mean, summary.fitness_median) == (3.0, 2.0, 2.0)
    assert summary.mean_returns.tolist() == [1.0, 2.0, 4.0]
    assert (summary.num_failed, summary.num_evaluations, summary.steps) == (1, 3 + 4, 3 * 10 + 4 * 1)


def test_incumbent_returns_are_the_mean_of_its_reevaluations() -> None:
    assert summarise(summary_of_two()).incumbent_returns.tolist() == [2.0, 3.0, 4.0]


def test_incumbent_returns_without_reevaluations_are_the_best_childs() -> None:
    generation = summary_of_two()
    alone = dataclasses.replace(
        generation, contenders=generation.contenders[:0], reevaluations=generation.reevaluations[:0], contender=None
    )
    assert summarise(alone).incumbent_returns.tolist() == [2.0, 4.0, 6.0]


def test_an_incumbent_that_is_no_contender_is_the_best_child() -> None:
    generation = dataclasses.replace(summary_of_two(), contender=None)
    assert summarise(generation).incumbent_returns.tolist() == [2.0, 4.0, 6.0]


def test_summary_without_a_finite_child_is_nan() -> None:
    generation = dataclasses.replace(summary_of_two(), contender=None)
    generation.records["fitness"] = np.inf
    generation.reevaluations["fitness"] = np.nan
    summary = summarise(generation)
    assert np.isnan([summary.fitness_best, summary.fitness_mean, summary.fitness_median]).all()
    assert np.isnan([*summary.mean_returns, *summary.incumbent_returns]).all()
    assert summary.num_failed == 3


# What is written is what is read


def test_loaded_run_holds_what_was_committed(path: Path) -> None:
    write_example(path, 3, finished=True)
    run = load(path)
    assert (run.num_generations, run.finished, run.header) == (3, True, example_header())
    for generation in example_generations(3):
        g = generation.generation
        np.testing.assert_array_equal(run.records[g], generation.records)
        np.testing.assert_array_equal(run.reevaluations[g], generation.reevaluations)
        np.testing.assert_array_equal(run.contenders[g], generation.contenders)
        np.testing.assert_array_equal(run.entries[g], generation.entries)
        assert run.summary[g] == summarise(generation).row()


def test_closed_run_is_one_file_and_its_journal(path: Path) -> None:
    write_example(path, 1)
    assert sorted(files(path.parent)) == ["run.h5", "run.run/journal"]


def test_curves_accumulate_steps(path: Path) -> None:
    write_example(path, 3)
    curves = load(path).curves
    assert curves["steps"].tolist() == [68.0, 68.0, 68.0]
    assert curves["total_steps"].tolist() == [68.0, 136.0, 204.0]
    assert curves["incumbent_returns"].shape == (3, 3)


def test_fewer_contenders_and_entries_than_allowed_are_padded(path: Path) -> None:
    generation = summary_of_two()
    header = example_header(example_config(population_size=3, num_parents=3, elite={"candidates": 3, "episodes": 2}))
    with RunLog.open(path, header) as log:
        log.commit(generation)
    run = load(path)
    assert run.contenders["base"].tolist() == [[-1, -1, PADDING]]
    assert run.entries["base"].tolist() == [[-1, -1, PADDING]]
    assert (run.reevaluations["flags"] & DONE).tolist() == [[DONE] * 4 + [0] * 2]


def test_run_without_elites_has_empty_tables(path: Path) -> None:
    header = example_header(example_config(elite={"candidates": 0}))
    write_example(path, 2, header=header)
    run = load(path)
    assert (run.contenders.shape, run.reevaluations.shape, run.records.shape) == ((2, 0), (2, 0), (2, 6))


def test_journal_alone_gives_the_same_run(path: Path) -> None:
    write_example(path, 3, finished=True)
    whole = load(path)
    path.unlink()
    rebuilt = load(path)
    assert (rebuilt.digest(), rebuilt.finished, rebuilt.header) == (whole.digest(), True, whole.header)
    np.testing.assert_array_equal(rebuilt.summary, whole.summary)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n and no more", b"text"])
def test_unreadable_file_is_replaced_by_the_journal(path: Path, content: bytes) -> None:
    write_example(path, 3)
    whole = load(path).digest()
    path.write_bytes(content)
    assert load(path).digest() == whole


@pytest.mark.parametrize("optimum", [None, 6.66, float("nan")])
def test_best_possible_return_comes_back(path: Path, optimum: float | None) -> None:
    write_example(path, 1, header=example_header(optimal_return=optimum))
    assert repr(load(path).header.optimal_return) == repr(optimum)
    path.unlink()
    assert repr(load(path).header.optimal_return) == repr(optimum)


def test_file_copied_without_its_folder_is_enough_to_read(path: Path, tmp_path: Path) -> None:
    write_example(path, 3)
    copy = shutil.copy(path, tmp_path / "copy.h5")
    assert load(copy).digest() == load(path).digest()


def test_missing_run_is_refused_in_words(path: Path) -> None:
    with pytest.raises(RunFileError, match="expected a run file or a journal .*check the path"):
        load(path)


@pytest.mark.parametrize(("version", "words"), [(99, "a newer gamaml; update gamaml"), (2, "an older, never released")])
def test_run_file_of_another_schema_is_refused_and_not_read_from_the_journal(
    path: Path, version: int, words: str
) -> None:
    write_example(path, 1)
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = version
    with pytest.raises(RunFileError, match=f"expected schema_version 3, got {version}, written by {words}"):
        load(path)


# Genomes


def test_genomes_of_elites_children_and_contenders_agree_with_the_entries(path: Path) -> None:
    write_example(path, 3)
    run = load(path)
    first, second = run.entries[0], run.entries[1]
    assert run.genome(0) == chain(int(first["offset"][0]))
    roots = [int(offset) for offset in first["offset"]]
    for row, parent in enumerate(second):
        if parent["offset"] >= 0:
            mutation = (int(parent["offset"]), float(parent["factor"]))
            genomes = [run.genome(1, index) for index in range(6)]
            assert chain(roots[parent["base"]], mutation) in genomes, row
    assert run.genome() == run.genome(2)
    assert run.genome(2) in [run.genome(2, contender=c) for c in range(2)]


def test_children_of_the_open_generation_are_known(path: Path) -> None:
    write_example(path, 2)
    run = load(path)
    upcoming = run.genome(2, 5)
    write_to_end = example_generations(3)
    with RunLog.open(path, example_header(), resume=True) as log:
        log.commit(write_to_end[2])
    assert load(path).genome(2, 5) == upcoming


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"generation": 2}, "generation=2: expected 0 to 1"),
        ({"generation": 3, "index": 0}, "generation=3: expected 0 to 2"),
        ({"generation": -1}, "generation=-1: expected 0 to 1"),
        ({"generation": 0, "index": 6}, "index=6: expected 0 to 5"),
        ({"generation": 0, "contender": 2}, "contender=2: expected 0 to 1"),
    ],
)
def test_what_does_not_exist_is_refused(path: Path, arguments: dict[str, int], message: str) -> None:
    write_example(path, 2)
    with pytest.raises(ConfigError, match=message):
        load(path).genome(**arguments)


# Stored vectors


def snapshot(generation: int) -> Snapshot:
    vectors = np.random.default_rng(generation).normal(size=(3, NUM_PARAMS)).astype(np.float32)
    return Snapshot(generation, vectors)


def write_es(path: Path, *stored: int, more: int = 0) -> None:
    header = example_header(example_es_config())
    with RunLog.open(path, header, resume=path.exists()) as log:
        start = log.history.num_generations
        for generation in example_generations(4 + more, header)[start:]:
            log.commit(generation)
            if generation.generation in stored:
                log.save_snapshot(snapshot(generation.generation))


@pytest.mark.parametrize("whole", [True, False])
def test_stored_vectors_are_those_in_file_and_journal(path: Path, whole: bool) -> None:
    write_es(path, 1, 3)
    if not whole:
        path.unlink()
    run = load(path)
    assert [stored.generation for stored in run.snapshots] == [1, 3]
    for stored in run.snapshots:
        assert stored.vectors.tobytes() == snapshot(stored.generation).vectors.tobytes()


def test_the_latest_vectors_are_there_to_go_on_from_and_none_are_stored_twice(path: Path) -> None:
    write_es(path, 1, 3)
    before = load(path).digest()
    with RunLog.open(path, example_header(example_es_config()), resume=True) as log:
        assert log.history.snapshot is not None
        assert log.history.snapshot.vectors.tobytes() == snapshot(3).vectors.tobytes()
        for generation in (2, 3):
            log.save_snapshot(snapshot(generation))
    assert [stored.generation for stored in load(path).snapshots] == [1, 3]
    assert load(path).digest() == before
    write_es(path, 5, more=2)
    assert [stored.generation for stored in load(path).snapshots] == [1, 3, 5]


def test_a_run_of_mutations_stores_no_vectors(path: Path) -> None:
    write_example(path, 2)
    with h5py.File(path) as file:
        assert "vectors" not in file
    assert load(path).snapshots == []


def test_the_entries_of_es_are_a_weight_per_pair(path: Path) -> None:
    write_es(path)
    run = load(path)
    assert (run.entries.shape, run.contenders.shape, run.reevaluations.shape) == ((4, 3), (4, 1), (4, 4))
    np.testing.assert_array_equal(
        run.summary["incumbent_fitness"], run.reevaluations["fitness"].mean(axis=1, dtype=float)
    )
    with pytest.raises(ConfigError, match="^genome: expected a run whose candidates are lists of mutations"):
        run.genome()


# Digest


def test_digest_ignores_machine_versions_time_and_stop_criteria(tmp_path: Path) -> None:
    write_example(tmp_path / "a.h5", 2)
    config = dataclasses.replace(example_config(), stop=StopConfig(generations=99))
    header = example_header(config, versions={"numpy": "9"}, machine={"cpu": "b"}, name="another")
    with RunLog.open(tmp_path / "b.h5", header) as log:
        for generation in example_generations(2):
            generation.records["seconds"] = 99
            generation.records["rank"] = 7
            log.commit(dataclasses.replace(generation, seconds=99.0))
    assert load(tmp_path / "a.h5").digest() == load(tmp_path / "b.h5").digest()


@pytest.mark.parametrize("field", ["records", "reevaluations"])
@pytest.mark.parametrize("name", ["fitness", "returns", "steps", "scalar_length", "index"])
def test_digest_changes_with_any_scientific_field(tmp_path: Path, field: str, name: str) -> None:
    write_example(tmp_path / "a.h5", 1)
    [generation] = example_generations(1)
    getattr(generation, field)[name][-1] += 1
    with RunLog.open(tmp_path / "b.h5", example_header()) as log:
        log.commit(generation)
    assert load(tmp_path / "a.h5").digest() != load(tmp_path / "b.h5").digest()


@pytest.mark.parametrize(
    "change", [{"noise_digest": "11"}, {"num_params": 11}, {"config": example_config(num_parents=4)}]
)
def test_digest_changes_with_the_experiment(tmp_path: Path, change: dict[str, Any]) -> None:
    write_example(tmp_path / "a.h5", 1)
    with RunLog.open(tmp_path / "b.h5", example_header(**change)) as log:
        log.commit(example_generations(1)[0])
    assert load(tmp_path / "a.h5").digest() != load(tmp_path / "b.h5").digest()


# Starting, refusing, resuming


def test_existing_run_is_refused_and_nothing_changes(path: Path) -> None:
    write_example(path, 1)
    before = files(path.parent)
    for attempt in (runlog.check, lambda path: RunLog.open(path, example_header())):
        with pytest.raises(
            RunFileError, match="got an existing one; continue it with --resume, replace it with --overwrite"
        ):
            attempt(path)
    assert files(path.parent) == before


@pytest.mark.parametrize("missing", ["run.h5", "run.run/journal"])
def test_half_of_a_run_counts_as_existing(path: Path, missing: str) -> None:
    write_example(path, 1)
    (path.parent / missing).unlink()
    with pytest.raises(RunFileError, match="got an existing one"):
        runlog.check(path)


def test_run_without_its_journal_cannot_be_resumed(path: Path) -> None:
    write_example(path, 1)
    shutil.rmtree(runlog.sidecar(path))
    with pytest.raises(RunFileError, match="expected its journal .*copy the folder run.run back beside it"):
        runlog.check(path, resume=True)


def test_resume_and_overwrite_exclude_each_other(path: Path) -> None:
    with pytest.raises(ConfigError, match="got both"):
        runlog.check(path, resume=True, overwrite=True)


def test_run_file_needs_the_ending_h5(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ends with .h5, got 'run.hdf'"):
        runlog.check(tmp_path / "run.hdf")


def test_check_tells_absent_partial_and_finished(path: Path) -> None:
    assert runlog.check(path, resume=True) == "absent"
    assert not path.parent.exists()
    write_example(path, 1)
    assert runlog.check(path, resume=True) == "partial"
    with RunLog.open(path, example_header(), resume=True) as log:
        log.close(finished=True)
    assert runlog.check(path, resume=True) == "finished"
    assert runlog.check(path, overwrite=True) == "absent"


def test_overwrite_starts_anew(path: Path) -> None:
    write_example(path, 3)
    other = example_header(example_config(num_parents=2))
    with RunLog.open(path, other, overwrite=True) as log:
        assert log.history.num_generations == 0
    assert (load(path).num_generations, load(path).header) == (0, other)


def test_resumed_run_knows_its_past(path: Path) -> None:
    write_example(path, 3)
    generations = example_generations(3)
    with RunLog.open(path, example_header(), resume=True) as log:
        history = log.history
    assert (history.num_generations, history.total_steps, history.finished) == (3, 204, False)
    assert history.incumbent_fitness == generations[-1].incumbent_fitness
    assert len(history.children) == len(history.reevaluations) == 0
    for parents, generation in zip(history.entries, generations, strict=True):
        np.testing.assert_array_equal(parents, generation.entries)


def test_new_run_has_no_past(path: Path) -> None:
    with RunLog.open(path, example_header(), resume=True) as log:
        history = log.history
    assert (history.num_generations, history.total_steps, history.fruitless_restarts) == (0, 0, 0)
    assert np.isnan(history.incumbent_fitness)


@pytest.mark.parametrize("at", range(6))
def test_interrupted_and_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, at: int) -> None:
    write_example(tmp_path / "whole.h5", 5)
    path = tmp_path / "run.h5"
    write_example(path, at)
    with RunLog.open(path, example_header(), resume=True) as log:
        for generation in example_generations(5)[at:]:
            log.commit(generation)
    assert load(path).digest() == load(tmp_path / "whole.h5").digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": example_config(num_parents=2)}, r"ga.num_parents = 2 \(was 3\)"),
        ({"config": example_config(mutation_std_final=0.01)}, r"ga.mutation_std_final = 0.01 \(was unset\)"),
        ({"noise_digest": "ff"}, r'noise digest = "ff" \(was "00ff"\)'),
        ({"num_params": 11}, r"num_params = 11 \(was 10\)"),
        ({"scalars": ()}, r'scalars = \[\] \(was \["length"\]\)'),
        (
            {"versions": {"numpy": "3"}},
            r'numpy = "3" \(was "2.0"\); install those, or continue with --accept-versions',
        ),
    ],
)
def test_change_of_the_experiment_is_refused_by_name(path: Path, change: dict[str, Any], message: str) -> None:
    write_example(path, 2)
    before = files(path.parent)
    with pytest.raises(RunFileError, match=message):
        RunLog.open(path, example_header(**change), resume=True)
    assert files(path.parent) == before


def test_accepted_versions_are_recorded_and_then_expected(path: Path) -> None:
    write_example(path, 2)
    newer = example_header(versions={"numpy": "3"})
    with RunLog.open(path, newer, resume=True, accept_versions=True) as log:
        log.commit(example_generations(3)[2])
    assert load(path).version_history == [(0, {"numpy": "2.0"}), (2, {"numpy": "3"})]
    RunLog.open(path, newer, resume=True).close()
    with pytest.raises(RunFileError, match="numpy"):
        RunLog.open(path, example_header(), resume=True)


def test_stop_criteria_may_change_and_the_latest_are_kept(path: Path) -> None:
    write_example(path, 2, finished=True)
    config: Config = dataclasses.replace(example_config(), stop=StopConfig(generations=50))
    with RunLog.open(path, example_header(config), resume=True) as log:
        assert log.history.finished
        log.commit(example_generations(3)[2])
    run = load(path)
    assert (run.config.stop.generations, run.finished) == (50, False)
    assert runlog.check(path, resume=True) == "partial"


def test_finished_mark_is_kept_by_a_resume_that_adds_nothing(path: Path) -> None:
    write_example(path, 2, finished=True)
    RunLog.open(path, example_header(), resume=True).close(finished=True)
    assert load(path).finished
    assert runlog.check(path, resume=True) == "finished"


def test_wrong_generation_or_sizes_are_refused_before_anything_is_written(path: Path) -> None:
    zero, one = example_generations(2)
    with RunLog.open(path, example_header()) as log:
        for wrong in (
            one,
            dataclasses.replace(zero, records=zero.records[:5]),
            dataclasses.replace(zero, entries=zero.entries[:0]),
            dataclasses.replace(zero, records=zero.records[["index", "flags"]]),
        ):
            with pytest.raises(ValueError, match="commit: expected"):
                log.commit(wrong)
        log.commit(zero)
    assert load(path).num_generations == 1


# Records of an open generation


def test_partial_records_come_back_in_index_order_and_only_finished_ones(path: Path) -> None:
    zero, one = example_generations(2)
    one.records["flags"][3] = 0
    with RunLog.open(path, example_header()) as log:
        log.commit(zero)
        log.save_partial(1, one.records[[4, 3, 0]], one.reevaluations[:0])
    with RunLog.open(path, example_header(), resume=True) as log:
        assert log.history.children["index"].tolist() == [0, 4]
        log.save_partial(1, one.records[[0, 1, 4]], one.reevaluations[:2])
    with RunLog.open(path, example_header(), resume=True) as log:
        np.testing.assert_array_equal(log.history.children, one.records[[0, 1, 4]])
        np.testing.assert_array_equal(log.history.reevaluations, one.reevaluations[:2])
        log.commit(one)
    with RunLog.open(path, example_header(), resume=True) as log:
        assert len(log.history.children) == 0


def test_partial_records_of_a_committed_generation_are_left_alone(path: Path) -> None:
    [zero] = example_generations(1)
    with RunLog.open(path, example_header()) as log:
        log.commit(zero)
        log.save_partial(0, zero.records, zero.reevaluations)
    with RunLog.open(path, example_header(), resume=True) as log:
        assert (log.history.num_generations, len(log.history.children)) == (1, 0)


def test_restarts_without_a_new_record_are_counted(path: Path) -> None:
    zero, one = example_generations(2)
    nothing = zero.reevaluations[:0]

    def restart(num_children: int = 0) -> int:
        with RunLog.open(path, example_header(), resume=True) as log:
            log.save_partial(0, zero.records[:num_children], nothing)
            return log.history.fruitless_restarts

    assert [restart(), restart(), restart(2)] == [0, 1, 2]
    assert [restart(2), restart(3), restart(), restart()] == [0, 1, 0, 1]
    with RunLog.open(path, example_header(), resume=True) as log:
        assert log.history.fruitless_restarts == 2
        log.commit(zero)
    assert [restart(), restart()] == [0, 1]
    with RunLog.open(path, example_header(), resume=True) as log:
        log.close(finished=True)
    assert restart() == 0


# Two jobs


def test_second_job_is_refused_and_the_same_job_takes_over(path: Path) -> None:
    zero, one = example_generations(2)
    first = RunLog.open(path, example_header(), job_id="7")
    first.commit(zero)
    for job_id in ("8", None):
        with pytest.raises(RunFileError, match="held by process .* job 7"):
            RunLog.open(path, example_header(), resume=True, job_id=job_id)
    second = RunLog.open(path, example_header(), resume=True, job_id="7")
    for attempt in (first.renew_lock, lambda: first.commit(one)):
        with pytest.raises(RunFileError, match="took it over"):
            attempt()
    CurrentFile(runlog.sidecar(path), 0, 0, 0).write(1, "child", 0)
    first.close()
    assert len(read_current(runlog.sidecar(path))) == 1
    second.commit(one)
    second.renew_lock()
    second.close()
    assert load(path).num_generations == 2


def test_finished_mark_of_a_job_that_lost_the_lock_is_refused(path: Path) -> None:
    first = RunLog.open(path, example_header(), job_id="7")
    second = RunLog.open(path, example_header(), resume=True, job_id="7")
    with pytest.raises(RunFileError, match="took it over"):
        first.close(finished=True)
    second.close()
    assert runlog.check(path, resume=True) == "partial"


def test_folder_that_cannot_be_made_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunFileError, match="expected a folder to write to, got: .*choose another with --out"):
        RunLog.open(tmp_path / "runs" / "run.h5", example_header())


# What ranks are evaluating


def test_current_files_tell_every_rank_and_go_at_a_clean_close(path: Path) -> None:
    log = RunLog.open(path, example_header())
    folder = runlog.sidecar(path)
    ranks = [CurrentFile(folder, node, place, rank) for node, place, rank in ((1, 0, 2), (0, 1, 1), (0, 0, 0))]
    ranks[0].write(5, "re-evaluation", 3, 2)
    ranks[1].write(5, "child", 4)
    ranks[2].write(5, "idle")
    said = [(c.rank, c.generation, c.phase, c.index, c.episode) for c in read_current(folder)]
    assert said == [(0, 5, "idle", 0, 0), (1, 5, "child", 4, 0), (2, 5, "re-evaluation", 3, 2)]
    assert (folder / "current-0").stat().st_size == 128
    for rank in ranks:
        rank.close()
    log.close()
    assert read_current(folder) == []


def test_rank_that_never_wrote_is_not_reported(tmp_path: Path) -> None:
    CurrentFile(tmp_path, 0, 2, 2).write(0, "child", 1)
    assert [current.rank for current in read_current(tmp_path)] == [2]


def test_current_files_stay_after_an_exception_until_the_next_start(path: Path) -> None:
    folder = runlog.sidecar(path)
    with pytest.raises(ZeroDivisionError), RunLog.open(path, example_header()):
        CurrentFile(folder, 0, 0, 0).write(0, "child", 1)
        raise ZeroDivisionError
    assert len(read_current(folder)) == 1
    with RunLog.open(path, example_header(), resume=True):
        assert read_current(folder) == []


# Disasters


def test_full_disk_at_a_commit_is_told_in_words_and_loses_nothing(path: Path) -> None:
    generations = example_generations(60)
    log = RunLog.open(path, example_header())
    log.commit(generations[0])
    log.commit(generations[1])
    committed = 2
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5000, hard))
        with pytest.raises(RunFileError, match="expected to write to it, got.*free space.*--resume"):
            for generation in generations[2:]:
                log.commit(generation)
                committed += 1
        log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert committed < 60
    assert load(path).num_generations == committed
    with RunLog.open(path, example_header(), resume=True) as log:
        assert log.history.num_generations in (committed, committed + 1)
        for generation in generations[log.history.num_generations :]:
            log.commit(generation)
    write_example(path.with_name("whole.h5"), 60)
    assert load(path).digest() == load(path.with_name("whole.h5")).digest()


def test_torn_commit_is_cut_and_the_run_goes_on(path: Path) -> None:
    write_example(path, 2)
    journal = runlog.sidecar(path) / "journal"
    journal.write_bytes(journal.read_bytes()[:-7])
    with RunLog.open(path, example_header(), resume=True) as log:
        assert log.history.num_generations == 1
        log.commit(example_generations(2)[1])
    write_example(path.with_name("whole.h5"), 2)
    assert load(path).digest() == load(path.with_name("whole.h5")).digest()


def test_journal_without_its_beginning_is_refused(path: Path) -> None:
    folder = runlog.sidecar(path)
    folder.mkdir(parents=True)
    Journal.create(folder / "journal", [(FrameType.START, b"{}")]).close()
    with pytest.raises(RunFileError, match="begins with a header"):
        load(path)


_WRITER = """
import os, sys
from pathlib import Path
from run_examples import example_generation, example_header
from gamaml.runlog import RunLog

def tell(event, number):
    os.write(1, f"{event} {number}\\n".encode())  # one call, which a kill cannot cut in two; print makes several

def commit_for_ever(path):
    tell("started", os.getpid())
    log = RunLog.open(path, example_header(), resume=True)
    lineage = log.history.entries
    while True:
        generation = example_generation(lineage)
        log.commit(generation)
        lineage.append(generation.entries)
        tell("committed", len(lineage))

# A child is forked for every path, so that only the first one pays for the imports.
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        commit_for_ever(Path(line.strip()))
    os.waitpid(pid, 0)
    tell("ended", pid)
"""


class Writer:
    """Processes that commit until they are killed, and tell after each commit."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
            start_new_session=True,
        )

    def start(self, path: Path) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        return self.read("started")

    def read(self, event: str) -> int:
        """Read up to the next event of this kind, and return its number."""
        return self.read_all(event)[-1][1]

    def read_all(self, event: str) -> list[tuple[str, int]]:
        assert self.process.stdout is not None
        lines: list[tuple[str, int]] = []
        while not lines or lines[-1][0] != event:
            name, number = self.process.stdout.readline().split()
            assert name in (event, "committed"), f"expected the writer to go on, got {name}"
            lines.append((name, int(number)))
        return lines


@pytest.fixture
def writer() -> Iterator[Writer]:
    writer = Writer()
    yield writer
    os.killpg(writer.process.pid, signal.SIGKILL)
    writer.process.communicate()


def test_30_kills_at_random_moments_lose_nothing_that_was_acknowledged(path: Path, writer: Writer) -> None:
    rng = random.Random(1)
    acknowledged = 0
    for kill in range(30):
        pid = writer.start(path.resolve())
        if kill % 3:
            acknowledged = max(acknowledged, writer.read("committed"))
        time.sleep(rng.uniform(0, 0.04))
        os.kill(pid, signal.SIGKILL)
        for event, number in writer.read_all("ended"):
            acknowledged = max(acknowledged, number if event == "committed" else 0)
        if acknowledged:
            assert load(path).num_generations >= acknowledged
    with RunLog.open(path, example_header(), resume=True) as log:
        number = log.history.num_generations
    assert number >= acknowledged >= 20
    write_example(path.with_name("whole.h5"), number)
    assert load(path).digest() == load(path.with_name("whole.h5")).digest()
    path.unlink()
    assert load(path).digest() == load(path.with_name("whole.h5")).digest()


def test_reader_sees_a_growing_and_consistent_run_while_it_is_written(path: Path, writer: Writer) -> None:
    pid = writer.start(path.resolve())
    writer.read("committed")
    seen = [0]
    reader: Any = h5py.File(path, "r", swmr=True)  # no type information
    with reader as file:
        while seen[-1] < 25:
            file["summary"].refresh()
            file["records"].refresh()
            held = len(file["summary"])
            assert len(file["records"]) >= held
            run = load(path)
            assert run.num_generations >= held
            seen.append(run.num_generations)
            last = run.records[-1]
            assert (last["flags"] == DONE).all()
            assert run.summary["fitness_best"][-1] == last["fitness"].max()
    os.kill(pid, signal.SIGKILL)
    writer.read("ended")
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
