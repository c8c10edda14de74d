"""A rank's work on claims: which parameters meet which keys, and the records that come of it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles import FakeWindow

from gamaml import config as cfg
from gamaml.engine import worker as worker_module
from gamaml.engine.plan import Plan, plans
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.engine.worker import Place, Worker
from gamaml.errors import EvaluationError
from gamaml.evolution.entries import ENTRY_DTYPE, STD, Entries, new_entries
from gamaml.evolution.records import DONE
from gamaml.job.signals import SignalWatch
from gamaml.parallel.board import Batch, Claim, Kind
from gamaml.problems import make_problem
from gamaml.problems.complete_problem import complete
from gamaml.runlog import read_current
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Records

CHILDREN, EPISODES = 6, 3
NOISE = np.arange(100, dtype=np.float32)
"""Noise that one can check by hand: at offset k it is k, k + 1, ..."""


class Noise:
    def block(self, offset: int, num_params: int) -> Float32Array:
        return NOISE[offset : offset + num_params]


@dataclass
class Problem:
    """The fitness is the first parameter; notes what it evaluates."""

    before_each: Callable[[int], object] = lambda number: None
    num_params: int = 4
    num_rounds: int = 0
    scalars: tuple[str, ...] = ()
    metric: str = "return"
    scale: Float32Array | None = None
    params: list[list[float]] = field(default_factory=list[list[float]])
    keys: list[EvaluationKey] = field(default_factory=list[EvaluationKey])
    decoded_roots: int = 0

    def initial(self, noise: Float32Array) -> Float32Array:
        self.decoded_roots += 1
        return noise.copy()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        self.before_each(len(self.params))
        self.params.append(params.tolist())
        self.keys.append(key)
        fitness = float(params[0])
        return Evaluation(fitness, np.array([fitness], np.float32), steps=3)


@dataclass
class InBatches(Problem):
    """The same, four at once."""

    batch_size: int = 4

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> list[Evaluation]:
        assert params.shape == (self.batch_size, self.num_params)
        return [self.evaluate(row, key) for row, key in zip(params, keys, strict=True)]


class Rank:
    """A worker with all that it works on."""

    def __init__(self, folder: Path, problem: Problem | None = None) -> None:
        ga = {
            "population_size": CHILDREN,
            "num_parents": 2,
            "mutation_std": 0.5,
            "elite": {"candidates": 2, "episodes": EPISODES},
        }
        config = cfg.from_mapping(
            {"seed": 7, "task": {"name": "x"}, "stop": {"generations": 9}, "ga": ga, "noise": {"size": len(NOISE)}}
        )
        self.problem = problem or Problem()
        self.plan: Plan = plans([config], [complete(self.problem)], [folder / "run.h5"])[0]
        self.buffers = VectorBuffers(FakeWindow(0), np.zeros(self.plan.layout.vectors_shape, np.float32))
        self.watch = SignalWatch(None)
        self.worker = Worker(self.plan, Noise(), self.buffers, self.watch, Place(3, "here", node=1, rank_in_node=0))

    def do(self, kind: Kind, items: list[int], generation: int = 0, entries: Entries | None = None) -> Records | None:
        entries = self.plan.layout.initial.entries if entries is None else entries
        batch = Batch(kind, generation, entries)
        return self.worker.carry_out(Claim(1, batch, 0, len(items), np.array(items, np.int32)))

    def evaluated(self, *arguments: Any, **more: Any) -> Records:
        records = self.do(*arguments, **more)
        assert records is not None
        return records


@pytest.fixture
def rank(tmp_path: Path) -> Rank:
    (tmp_path / "run.run").mkdir()
    return Rank(tmp_path)


def parents(*entries: tuple[int, int, float]) -> Entries:
    """Return entries of (base, offset, factor) whose children have std 0.5."""
    array = new_entries(len(entries), np.dtype([*ENTRY_DTYPE.descr, STD]))
    array["std"] = 0.5
    for row, entry in zip(array, entries, strict=True):
        row["base"], row["offset"], row["factor"] = entry
    return array


def test_children_of_generation_0_are_the_noise_at_their_offsets(rank: Rank) -> None:
    records = rank.evaluated(Kind.CHILDREN, [4, 1])
    offsets = rank.plan.strategy.children(rank.plan.layout.initial)["offset"]
    assert records["index"].tolist() == [4, 1]
    assert records["fitness"].tolist() == [float(offsets[4]), float(offsets[1])]
    assert records["flags"].tolist() == [DONE, DONE]
    assert set(records["rank"]) == {3}
    assert records["steps"].tolist() == [3, 3]


def test_update_makes_the_vectors_of_a_generation_from_those_before(rank: Rank) -> None:
    rank.buffers.of(4)[0] = [10, 20, 30, 40]
    entries = parents((0, 8, 0.5), (0, 50, 2.0))
    assert rank.do(Kind.UPDATE, [1, 0], generation=5, entries=entries) is None
    assert rank.buffers.of(5)[0].tolist() == [14, 24.5, 35, 45.5]
    assert rank.buffers.of(5)[1].tolist() == [110, 122, 134, 146]
    assert rank.buffers.of(4)[0].tolist() == [10, 20, 30, 40]


def test_children_are_mutations_of_their_generations_vectors(rank: Rank) -> None:
    rank.buffers.of(5)[:] = [[1000, 0, 0, 0], [2000, 0, 0, 0]]
    entries = parents((0, 8, 0.5), (0, 50, 2.0))
    records = rank.evaluated(Kind.CHILDREN, list(range(CHILDREN)), generation=5, entries=entries)
    state = rank.plan.layout.initial.followed_by(entries)
    children = rank.plan.strategy.children(type(state)(state.seed, state.space, 5, entries))
    expected = 1000 * (1 + children["base"]) + 0.5 * children["offset"]
    assert records["fitness"].tolist() == expected.tolist()


def test_children_share_tasks_and_not_episodes(rank: Rank) -> None:
    rank.do(Kind.CHILDREN, [0, 1, 2])
    assert len({key.task.tobytes() for key in rank.problem.keys}) == 1
    assert len({key.episode.tobytes() for key in rank.problem.keys}) == 3


def test_contenders_meet_the_same_episodes_and_are_decoded_once(rank: Rank) -> None:
    contenders = parents((-1, 8, 1.0), (-1, 50, 1.0))
    items = list(range(2 * EPISODES))
    records = rank.evaluated(Kind.REEVALUATIONS, items, entries=contenders)
    assert records["index"].tolist() == items
    assert records["fitness"].tolist() == [8.0] * EPISODES + [50.0] * EPISODES
    episodes = [key.episode.tobytes() for key in rank.problem.keys]
    assert episodes[:EPISODES] == episodes[EPISODES:]
    assert len(set(episodes)) == EPISODES
    assert rank.problem.decoded_roots == 2
    rank.do(Kind.REEVALUATIONS, [EPISODES], entries=contenders)
    assert rank.problem.decoded_roots == 2, "still there from the claim before"


@pytest.mark.parametrize("items", [[0, 1, 2, 3], [5, 2], [0, 1, 2, 3, 4, 5]])
def test_problem_in_batches_gives_the_same_records(tmp_path: Path, rank: Rank, items: list[int]) -> None:
    batches = Rank(tmp_path, InBatches())
    for kind in (Kind.CHILDREN, Kind.REEVALUATIONS):
        contenders = parents((-1, 8, 1.0), (-1, 50, 1.0)) if kind is Kind.REEVALUATIONS else None
        alone, together = (each.evaluated(kind, items, entries=contenders) for each in (rank, batches))
        for name in ("index", "fitness", "flags", "steps", "returns"):
            assert alone[name].tolist() == together[name].tolist()


def test_block_that_is_broken_off_keeps_the_evaluations_that_are_done(tmp_path: Path) -> None:
    (tmp_path / "run.run").mkdir()
    rank = Rank(tmp_path, Problem(before_each=lambda number: rank.watch.give_up() if number == 1 else None))
    records = rank.evaluated(Kind.CHILDREN, [0, 1, 2, 3])
    assert records["flags"].tolist() == [DONE, DONE, 0, 0]


def test_nothing_is_evaluated_once_the_job_breaks_off_and_updates_still_are(rank: Rank) -> None:
    rank.watch.give_up()
    assert rank.evaluated(Kind.CHILDREN, [0, 1])["flags"].tolist() == [0, 0]
    rank.do(Kind.UPDATE, [0, 1], generation=1, entries=parents((-1, 8, 1.0), (-1, 50, 1.0)))
    assert rank.buffers.of(1)[:, 0].tolist() == [8, 50]


@pytest.mark.parametrize(
    ("kind", "item", "named", "replay"),
    [
        (Kind.CHILDREN, 4, "child 4", "--index 4"),
        (Kind.REEVALUATIONS, 4, "contender 1, episode 1", "--contender 1 --episode 1"),
    ],
)
def test_error_says_where_it_was_and_how_to_repeat_it(
    tmp_path: Path, kind: Kind, item: int, named: str, replay: str
) -> None:
    (tmp_path / "run.run").mkdir()
    rank = Rank(tmp_path, Problem(before_each=lambda number: [][number]))
    with pytest.raises(EvaluationError) as caught:
        rank.do(kind, [item], generation=2, entries=parents((-1, 8, 1.0), (-1, 50, 1.0)))
    assert str(caught.value) == (
        f"rank 3 on here: run run, generation 2, {named}, seed 7: IndexError: list index out of range; repeat it with: "
        f"gamaml replay {tmp_path}/run.h5 --generation 2 {replay}"
    )


def test_note_of_the_evaluation_in_progress_is_in_the_runs_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run.run"
    folder.mkdir()
    notes: list[Any] = []
    rank = Rank(tmp_path, Problem(before_each=lambda number: notes.extend(read_current(folder))))
    rank.do(Kind.REEVALUATIONS, [4], generation=2, entries=parents((-1, 8, 1.0), (-1, 50, 1.0)))
    (note,) = notes
    assert (note.rank, note.generation, note.phase, note.index, note.episode) == (3, 2, "re-evaluation", 1, 1)
    assert [note.phase for note in read_current(folder)] == ["idle"]
    rank.worker.close()
    rank.worker.close()


@pytest.mark.parametrize(("batch_size", "rank", "hints"), [(1, 0, 1), (1, 3, 0), (4, 0, 0)])
def test_rank_0_hints_once_that_short_evaluations_would_pay_in_batches(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
    rank: int,
    hints: int,
) -> None:
    monkeypatch.setattr(worker_module, "_SHORT_SECONDS", 1e9)  # every evaluation counts as short
    monkeypatch.setattr(worker_module, "_ENOUGH", CHILDREN)
    inner = {"rounds": 0, "num_tasks": 1, "batch_size": batch_size}
    policy, ga = {"hidden": [2]}, {"population_size": CHILDREN, "num_parents": 2, "elite": {"candidates": 0}}
    sections = {"task": {"name": "sinusoid"}, "policy": policy, "inner": inner, "ga": ga, "stop": {"generations": 1}}
    config = cfg.from_mapping({**sections, "noise": {"size": len(NOISE)}})
    plan = plans([config], [make_problem(config)], [tmp_path / "run.h5"])[0]
    buffers = VectorBuffers(FakeWindow(0), np.zeros(plan.layout.vectors_shape, np.float32))
    worker = Worker(plan, Noise(), buffers, SignalWatch(None), Place(rank, "here", node=0, rank_in_node=0))
    batch, items = Batch(Kind.CHILDREN, 0, plan.layout.initial.entries), np.arange(CHILDREN, dtype=np.int32)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            worker.carry_out(Claim(1, batch, 0, CHILDREN, items))
    assert caplog.text.count("inner.batch_size = 8") == hints


def test_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rank = Rank(tmp_path)
    assert "cannot note what rank 3 evaluates" in caplog.text
    assert rank.evaluated(Kind.CHILDREN, [0])["flags"].tolist() == [DONE]
    rank.worker.close()


@pytest.mark.parametrize("problem", [Problem(), InBatches()])
def test_claims_are_one_batch_until_an_evaluation_was_measured_and_blocks_of_short_ones_after(
    tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run.run").mkdir()
    rank = Rank(tmp_path, problem)
    ticks = itertools.count()
    monkeypatch.setattr("time.perf_counter", lambda: 1e-5 * next(ticks))
    batch = 4 if isinstance(problem, InBatches) else 1
    assert rank.worker.claim_size(1000, num_ranks=2) == batch
    rank.do(Kind.CHILDREN, [0, 1, 2, 3])
    assert rank.worker.claim_size(1, num_ranks=2) == batch
    size = rank.worker.claim_size(10**9, num_ranks=2)
    assert size > batch
    assert size % batch == 0
    assert rank.worker.claim_size(40, num_ranks=1) <= 20, "two blocks are left for each rank"
