from __future__ import annotations

import dataclasses
import math

import doubles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_examples import chain

from gamaml.config import GAConfig
from gamaml.evolution.decode import Sources, decode, decode_rows, mean, mutate
from gamaml.evolution.entries import (
    ENTRY_DTYPE,
    INITIAL_STD,
    NOBODY,
    PARTNERS,
    ROOT,
    UNCHANGED,
    Entries,
    bases_of,
    new_entries,
    partners_column,
    without_children,
)
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.evolution.genome import genome_of
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, rebuild, rebuild_for
from gamaml.evolution.records import DONE, FAILED, fill_records, record_dtype
from gamaml.evolution.strategy import Sizes, Space
from gamaml.types import Evaluation, Float32Array, Records

NUM_PARAMS = 7
NOISE = LazyNoise(size=100, seed=5)
NUM_OFFSETS = 100 - NUM_PARAMS + 1
DTYPE = Sizes(1, num_vectors=3, num_entries=3, columns=partners_column(2)).entry_dtype
"""Of entries with up to three bases."""

GA = GeneticAlgorithm(GAConfig(num_parents=3, recombine=3))


@dataclasses.dataclass
class Toy(doubles.Toy):
    num_params: int = NUM_PARAMS


def float32(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def entry(base: int, offset: int, factor: float = 0.0, partners: tuple[int, ...] = ()) -> np.void:
    made = new_entries(1, DTYPE)
    made["base"], made["offset"], made["factor"] = base, offset, factor
    made[PARTNERS][0, : len(partners)] = partners
    return made[0]


def root(offset: int) -> np.void:
    return entry(ROOT, offset, INITIAL_STD)


def unchanged(base: int) -> np.void:
    return entry(base, UNCHANGED)


def rows_of(*entries: np.void) -> Entries:
    return np.array([each.item() for each in entries], DTYPE)


def decoded(what: np.void, vectors: Float32Array, toy: Toy | None = None) -> Float32Array:
    out = np.empty(NUM_PARAMS, np.float32)
    decode(what, Sources.whole(NOISE, Toy() if toy is None else toy, vectors), out)
    return out


def evaluation(fitness: float, *returns: float, scalars: tuple[float, ...] = ()) -> Evaluation:
    return Evaluation(fitness=fitness, returns=float32(*returns), steps=12, scalars=scalars)


def test_a_record_takes_28_bytes_and_4_per_return_and_scalar() -> None:
    assert record_dtype(num_rounds=0).itemsize == 32
    assert record_dtype(num_rounds=3, scalars=("step_size", "kl")).itemsize == 28 + 4 * 4 + 4 * 2


def filled(*evaluations: Evaluation, scalars: tuple[str, ...] = ()) -> Records:
    records = np.zeros(len(evaluations), record_dtype(1, scalars))
    items = np.arange(3, 3 + len(evaluations), dtype=np.int32)
    fill_records(records, items, evaluations, scalars, seconds=1.5, rank=4)
    return records


def test_finished_evaluations_fill_every_field_of_their_records() -> None:
    records = filled(
        evaluation(-2.5, -9, -2.5, scalars=(0.5, 8)), evaluation(7, 1, 7, scalars=(2, 3)), scalars=("kl", "size")
    )
    assert records[0].tolist() == (12, 3, DONE, -2.5, 1.5, 4, pytest.approx([-9, -2.5]), 0.5, 8)
    assert records[1].tolist() == (12, 4, DONE, 7, 1.5, 4, pytest.approx([1, 7]), 2, 3)


@pytest.mark.parametrize("fitness", [math.nan, math.inf, -math.inf])
def test_a_fitness_that_is_not_finite_marks_its_own_record_as_failed(fitness: float) -> None:
    records = filled(evaluation(1, 0, 1), evaluation(fitness, 0, fitness), evaluation(2, 0, 2))
    assert records["flags"].tolist() == [DONE, DONE | FAILED, DONE]


def test_fitness_zero_is_no_failure() -> None:
    assert filled(evaluation(0.0, 0, 0))["flags"].tolist() == [DONE]


def test_a_scalar_too_few_is_refused() -> None:
    with pytest.raises(ValueError, match="tuple of length 7 to structure with 8 fields"):
        filled(evaluation(0, 0, 0), scalars=("kl",))


def test_mutation_is_parent_plus_std_times_noise() -> None:
    out = np.empty(3, np.float32)
    assert mutate(float32(1, 2, 3), float32(2, 0, -4), 0.5, None, out) is out
    assert out.tolist() == [2, 2, 1]


def test_mutation_multiplies_the_std_by_the_scale() -> None:
    out = mutate(float32(1, 2, 3), float32(2, 1, -4), 0.5, float32(1, 0, 10), np.empty(3, np.float32))
    assert out.tolist() == [2, 2, -17]


def test_mutation_may_write_over_the_parent() -> None:
    parent = float32(1, 2)
    mutate(parent, float32(1, 1), 1.0, None, parent)
    assert parent.tolist() == [2, 3]


def test_mutation_in_blocks_has_the_bits_of_the_sum_in_one_piece() -> None:
    size = (1 << 18) + 3
    noise = LazyNoise(size=3 * size, seed=1)
    parent, block, scale = (noise.block(start, size) for start in (0, size, 2 * size))
    expected = parent + block * np.float32(0.3) * scale
    assert mutate(parent, block, 0.3, scale, np.empty(size, np.float32)).tobytes() == expected.tobytes()


def test_an_entry_from_the_root_is_initialised_from_its_noise() -> None:
    out = decoded(root(4), np.empty((0, NUM_PARAMS), np.float32))
    assert np.array_equal(out, NOISE.block(4, NUM_PARAMS) * np.float32(0.1))


def test_an_unchanged_entry_is_its_base_bit_for_bit() -> None:
    vectors = np.stack([NOISE.block(0, NUM_PARAMS), NOISE.block(20, NUM_PARAMS)])
    assert decoded(unchanged(1), vectors).tobytes() == vectors[1].tobytes()


def test_the_bases_of_an_entry_are_its_first_and_its_partners() -> None:
    assert bases_of(root(5)) == ()
    assert bases_of(entry(2, 7, 0.25)) == (2,)
    assert bases_of(entry(0, 7, 0.25, (1, 2))) == (0, 1, 2)
    assert bases_of(new_entries(1)[0]) == (0,)


def test_equal_candidates_are_equal_bytes_without_what_they_met() -> None:
    children = rows_of(entry(0, 7, 0.25, (1,)), entry(0, 7, 0.25, (1,)))
    children["task"], children["episode"] = [0, 1], [2, 3]
    first, second = without_children(children)
    assert first.tobytes() == second.tobytes() == entry(0, 7, 0.25, (1,)).tobytes()
    assert children["episode"].tolist() == [2, 3]


def test_the_genome_of_a_first_child_is_its_root() -> None:
    assert genome_of(root(5), []) == chain(5)


def test_a_genome_lists_the_mutations_from_the_root_on_and_leaves_out_unchanged_ones() -> None:
    history = [
        rows_of(root(11), root(22)),
        rows_of(entry(0, 5, 0.5), entry(1, 33, 0.25)),
        rows_of(unchanged(1)),
    ]
    genome = genome_of(entry(0, 44, 0.125), history)
    assert genome == chain(22, (33, 0.25), (44, 0.125))
    assert genome.nbytes == 8 + 2 * 12


def test_a_first_parent_that_never_changed_has_a_root_only() -> None:
    assert genome_of(unchanged(0), [rows_of(root(11)), rows_of(unchanged(0))]) == chain(11)


def offsets() -> st.SearchStrategy[int]:
    return st.integers(0, NUM_OFFSETS - 1)


@st.composite
def histories(draw: st.DrawFn) -> list[Entries]:
    """Up to six generations of one to three parents, some unchanged, some with two bases."""
    generations = [draw(st.lists(offsets().map(root), min_size=1, max_size=3))]
    factors = st.floats(2**-13, 2.0, width=32)
    for _ in range(draw(st.integers(0, 5))):
        rows = st.integers(0, len(generations[-1]) - 1)
        kinds = st.builds(entry, rows, offsets(), factors) | st.builds(unchanged, rows)
        if len(generations[-1]) > 1:
            kinds |= st.builds(entry, st.just(0), offsets(), factors, st.just((len(generations[-1]) - 1,)))
        generations.append(draw(st.lists(kinds, min_size=1, max_size=3)))
    return [rows_of(*generation) for generation in generations]


@given(histories(), st.booleans())
def test_rebuilding_from_the_root_gives_the_bits_of_decoding_step_by_step(history: list[Entries], scaled: bool) -> None:
    toy = Toy(scale=float32(1, 0.3, 1, 2, 0.1, 1, 1) if scaled else None)
    vectors = np.empty((0, NUM_PARAMS), np.float32)
    for entries in history:
        vectors = np.stack([decoded(row, vectors, toy) for row in entries])
    course = Course(GA.start(1, Space(NUM_PARAMS, NUM_OFFSETS)), history)
    for row, vector in enumerate(vectors):
        assert rebuild_for(unchanged(row), GA, course, NOISE, toy)[row].tobytes() == vector.tobytes()
    parts = [rebuild(GA, course, NOISE, toy, where=where) for where in (slice(0, 3), slice(3, 4), slice(4, NUM_PARAMS))]
    whole = np.concatenate(parts, axis=1)
    assert whole.tobytes() == vectors.tobytes()


def test_the_mean_is_the_sum_in_the_order_of_the_rows_over_their_number() -> None:
    # In float32, 1e8 swallows the 1 that is added to it, and not the one that was added to its opposite first.
    rows = [float32(2, 1e8), float32(4, -1e8), float32(6, 1)]
    out = np.empty(2, np.float32)
    assert mean(rows, out) is out
    assert out.tolist() == [4, float(np.float32(1) / np.float32(3))]
    assert mean([rows[2], rows[0], rows[1]], out).tolist() == [4, 0]


def test_an_entry_with_partners_is_the_mutated_mean_of_its_bases() -> None:
    vectors = np.stack([float32(*range(7)), float32(*range(2, 9)), float32(*[9] * 7)])
    out = decoded(entry(0, 4, 0.5, (1,)), vectors)
    assert out.tobytes() == mutate(float32(*range(1, 8)), NOISE.block(4, 7), 0.5, None, out.copy()).tobytes()


def test_a_genome_with_two_parents_per_child_grows_by_the_parents_of_a_generation() -> None:
    history = [rows_of(*(root(row) for row in range(3)))]
    for generation in range(300):
        history.append(rows_of(*(entry(row, row + generation % 80, 0.1, ((row + 1) % 3,)) for row in range(3))))
    genome = genome_of(entry(0, 5, 0.1, (2,)), history)
    # 2**300 paths lead to the roots, over three ancestors per generation.
    assert len(genome.steps) <= 3 * 301 + 1
    assert genome.num_mutations == len(genome.steps) - 3
    course = Course(GA.start(1, Space(NUM_PARAMS, NUM_OFFSETS)), history)
    assert np.isfinite(rebuild(GA, course, NOISE, Toy())[2]).all()


def test_the_bytes_of_a_genome_count_its_parents_where_they_are_not_the_step_before() -> None:
    history = [rows_of(root(1), root(2))]
    assert genome_of(entry(0, 5, 0.1), history).nbytes == 8 + 12
    assert genome_of(entry(0, 5, 0.1, (1,)), history).nbytes == 8 + 8 + 12 + 2 * 4


@pytest.mark.parametrize("size", [7, 3 * 7])
@pytest.mark.parametrize("scaled", [False, True])
def test_several_entries_have_the_bits_of_each_alone(size: int, scaled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamaml.evolution.decode._BLOCK", 10)  # the larger size is decoded one by one
    random = np.random.default_rng(4)
    toy = Toy(size, random.uniform(0.5, 2, size).astype(np.float32) if scaled else None)
    vectors = random.standard_normal((3, size), np.float32)
    sources = Sources.whole(LazyNoise(size=1000, seed=5), toy, vectors)
    plain = new_entries(9)
    plain["base"] = [0, 0, 0, 1, 1, ROOT, 2, 1, 0]
    plain["offset"] = [30, 30, 30, 30, 40, 50, UNCHANGED, 40, 30]
    plain["factor"] = [0.3, -0.3, 0.3, -0.3, 0.2, 1, 0, -0.2, -0.4]
    recombined = new_entries(9, np.dtype([*ENTRY_DTYPE.descr, *partners_column(2)]))
    for name in ("base", "offset", "factor"):
        recombined[name] = plain[name]
    recombined[PARTNERS][[0, 1, 3, 7]] = [[1, 2], [1, NOBODY], [2, NOBODY], [0, 2]]
    for entries in (plain, recombined):
        together, alone = np.empty((2, len(entries), size), np.float32)
        decode_rows(entries, sources, together)
        for entry, row in zip(entries, alone, strict=True):
            decode(entry, sources, row)
        assert together.tobytes() == alone.tobytes()
