from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_examples import chain

from gamaml.config import INITIAL_STD
from gamaml.evolution.candidates import (
    LINEAGE_DTYPE,
    ROOT,
    UNCHANGED,
    Candidate,
    candidate_at,
    genome_of,
    genomes_of,
    lineage_dtype,
    lineage_of,
)
from gamaml.evolution.decode import (
    decode,
    decode_genome,
    decode_part,
    mean,
    mutate,
)
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import DONE, FAILED, fill_records, record_dtype
from gamaml.types import Evaluation, Float32Array, Records

NUM_PARAMS = 7
NOISE = LazyNoise(size=100, seed=5)
TWO_BASES = lineage_dtype(2)
NUM_OFFSETS = 100 - NUM_PARAMS + 1


@dataclasses.dataclass
class Toy:
    num_params: int = NUM_PARAMS
    scale: Float32Array | None = None

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise * np.float32(0.1)


def float32(*values: float) -> Float32Array:
    return np.array(values, np.float32)


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
    with pytest.raises(ValueError, match="zip"):
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


def test_a_candidate_without_a_parent_is_initialised_from_its_noise() -> None:
    out = decode(
        Candidate(ROOT, 4, INITIAL_STD),
        np.empty((0, NUM_PARAMS), np.float32),
        NOISE,
        Toy(),
        np.empty(7, np.float32),
    )
    assert np.array_equal(out, NOISE.block(4, NUM_PARAMS) * np.float32(0.1))


def test_an_unchanged_candidate_is_its_parent_bit_for_bit() -> None:
    parents = np.stack([NOISE.block(0, NUM_PARAMS), NOISE.block(20, NUM_PARAMS)])
    out = decode(Candidate(1, UNCHANGED, 0.0), parents, NOISE, Toy(), np.empty(7, np.float32))
    assert out.tobytes() == parents[1].tobytes()


def test_a_lineage_of_candidates_with_partners_gives_them_back() -> None:
    candidates = [Candidate(ROOT, 5, INITIAL_STD), Candidate(0, 7, 0.25, (2, 3)), Candidate(0, UNCHANGED, 0.0)]
    lineage = lineage_of(candidates, lineage_dtype(3))
    assert [candidate_at(lineage, slot) for slot in range(3)] == candidates
    assert lineage_dtype(1) == LINEAGE_DTYPE


def test_a_lineage_gives_back_its_candidates() -> None:
    candidates = [Candidate(ROOT, 5, INITIAL_STD), Candidate(2, 2**40, 0.25), Candidate(0, UNCHANGED, 0.0)]
    lineage = lineage_of(candidates)
    assert [candidate_at(lineage, slot) for slot in range(3)] == candidates


def test_the_genome_of_a_first_child_is_its_root() -> None:
    assert genome_of(Candidate(ROOT, 5, INITIAL_STD), []) == chain(5)


def test_a_genome_lists_the_mutations_from_the_root_on_and_leaves_out_unchanged_ones() -> None:
    lineage = [
        lineage_of([Candidate(ROOT, 11, INITIAL_STD), Candidate(ROOT, 22, INITIAL_STD)]),
        lineage_of([Candidate(0, 5, 0.5), Candidate(1, 33, 0.25)]),
        lineage_of([Candidate(1, UNCHANGED, 0.0)]),
    ]
    genome = genome_of(Candidate(0, 44, 0.125), lineage)
    assert genome == chain(22, (33, 0.25), (44, 0.125))
    assert genome.nbytes == 8 + 2 * 12


def test_a_first_parent_that_never_changed_has_a_root_only() -> None:
    lineage = [lineage_of([Candidate(ROOT, 11, INITIAL_STD)]), lineage_of([Candidate(0, UNCHANGED, 0.0)])]
    assert genome_of(Candidate(0, UNCHANGED, 0.0), lineage) == chain(11)


def offsets() -> st.SearchStrategy[int]:
    return st.integers(0, NUM_OFFSETS - 1)


@st.composite
def lineages(draw: st.DrawFn) -> list[list[Candidate]]:
    """Up to six generations of one to three parents, some unchanged, some with two bases; the last holds a child."""
    first = st.lists(offsets().map(lambda offset: Candidate(ROOT, offset, INITIAL_STD)), min_size=1, max_size=3)
    generations = [draw(first)]
    for _ in range(draw(st.integers(0, 5))):
        slots = st.integers(0, len(generations[-1]) - 1)
        mutated = st.builds(Candidate, slots, offsets(), st.floats(1e-4, 2.0, width=64))
        unchanged = st.builds(Candidate, slots, st.just(UNCHANGED), st.just(0.0))
        kinds = mutated | unchanged
        if len(generations[-1]) > 1:
            partner = st.just((len(generations[-1]) - 1,))
            kinds |= st.builds(Candidate, st.just(0), offsets(), st.floats(1e-4, 2.0, width=64), partner)
        generations.append(draw(st.lists(kinds, min_size=1, max_size=3)))
    return generations


@given(lineages(), st.booleans())
def test_decoding_from_the_root_gives_the_bits_of_decoding_step_by_step(
    generations: list[list[Candidate]], scaled: bool
) -> None:
    scale = float32(1, 0.3, 1, 2, 0.1, 1, 1) if scaled else None
    problem = Toy(scale=scale)
    parents = np.empty((0, NUM_PARAMS), np.float32)
    for generation in generations:
        # As in a run, a parent's std has passed through the lineage's float32.
        stored = lineage_of(generation, TWO_BASES)
        decoded = [
            decode(candidate_at(stored, slot), parents, NOISE, problem, np.empty(NUM_PARAMS, np.float32))
            for slot in range(len(generation))
        ]
        parents = np.stack(decoded)
    lineage = [lineage_of(generation, TWO_BASES) for generation in generations[:-1]]
    for slot, candidate in enumerate(generations[-1]):
        genome = genome_of(candidate, lineage)
        assert decode_genome(genome, NOISE, problem).tobytes() == parents[slot].tobytes()
    genome = genomes_of(generations[-1], lineage)
    parts = [decode_part(genome, NOISE, problem, *part) for part in ((0, 3), (3, 4), (4, NUM_PARAMS))]
    assert np.concatenate(parts, axis=1).tobytes() == parents.tobytes()


def test_the_mean_is_the_sum_in_the_order_of_the_rows_over_their_number() -> None:
    # In float32, 1e8 swallows the 1 that is added to it, and not the one that was added to its opposite first.
    rows = [float32(2, 1e8), float32(4, -1e8), float32(6, 1)]
    out = np.empty(2, np.float32)
    assert mean(rows, out) is out
    assert out.tolist() == [4, float(np.float32(1) / np.float32(3))]
    assert mean([rows[2], rows[0], rows[1]], out).tolist() == [4, 0]


def test_a_candidate_with_partners_is_the_mutated_mean_of_its_parents() -> None:
    parents = np.stack([float32(*range(7)), float32(*range(2, 9)), float32(*[9] * 7)])
    out = decode(Candidate(0, 4, 0.5, (1,)), parents, NOISE, Toy(), np.empty(7, np.float32))
    assert out.tobytes() == mutate(float32(*range(1, 8)), NOISE.block(4, 7), 0.5, None, out.copy()).tobytes()


def test_a_genome_with_two_parents_per_child_grows_by_the_parents_of_a_generation() -> None:
    lineage = [lineage_of([Candidate(ROOT, slot, INITIAL_STD) for slot in range(3)], TWO_BASES)]
    for generation in range(300):
        children = [Candidate(slot, slot + generation % 80, 0.1, ((slot + 1) % 3,)) for slot in range(3)]
        lineage.append(lineage_of(children, TWO_BASES))
    genome = genome_of(Candidate(0, 5, 0.1, (2,)), lineage)
    # 2**300 paths lead to the roots, over three ancestors per generation.
    assert len(genome.steps) <= 3 * 301 + 1
    assert genome.num_mutations == len(genome.steps) - 3
    assert np.isfinite(decode_genome(genome, NOISE, Toy())).all()


def test_the_bytes_of_a_genome_count_its_parents_where_they_are_not_the_step_before() -> None:
    lineage = [lineage_of([Candidate(ROOT, 1, INITIAL_STD), Candidate(ROOT, 2, INITIAL_STD)], TWO_BASES)]
    assert genome_of(Candidate(0, 5, 0.1), lineage).nbytes == 8 + 12
    assert genome_of(Candidate(0, 5, 0.1, (1,)), lineage).nbytes == 8 + 8 + 12 + 2 * 4
