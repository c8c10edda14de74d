from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamaml.config import INITIAL_STD
from gamaml.noise import LazyNoise
from gamaml.population import (
    DONE,
    FAILED,
    ROOT,
    UNCHANGED,
    Candidate,
    Genome,
    candidate_at,
    decode,
    decode_genome,
    fill_records,
    genome_of,
    lineage_of,
    mutate,
    record_dtype,
)
from gamaml.types import Evaluation, Float32Array, Records

NUM_PARAMS = 7
NOISE = LazyNoise(size=100, seed=5)
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


def test_a_lineage_gives_back_its_candidates() -> None:
    candidates = [Candidate(ROOT, 5, INITIAL_STD), Candidate(2, 2**40, 0.25), Candidate(0, UNCHANGED, 0.0)]
    lineage = lineage_of(candidates)
    assert [candidate_at(lineage, slot) for slot in range(3)] == candidates


def test_the_genome_of_a_first_child_is_its_root() -> None:
    assert genome_of(Candidate(ROOT, 5, INITIAL_STD), []) == Genome(root=5)


def test_a_genome_lists_the_mutations_from_the_root_on_and_leaves_out_unchanged_ones() -> None:
    lineage = [
        lineage_of([Candidate(ROOT, 11, INITIAL_STD), Candidate(ROOT, 22, INITIAL_STD)]),
        lineage_of([Candidate(0, 5, 0.5), Candidate(1, 33, 0.25)]),
        lineage_of([Candidate(1, UNCHANGED, 0.0)]),
    ]
    genome = genome_of(Candidate(0, 44, 0.125), lineage)
    assert genome == Genome(root=22, mutations=((33, 0.25), (44, 0.125)))
    assert genome.nbytes == 8 + 2 * 12


def test_a_first_parent_that_never_changed_has_a_root_only() -> None:
    lineage = [lineage_of([Candidate(ROOT, 11, INITIAL_STD)]), lineage_of([Candidate(0, UNCHANGED, 0.0)])]
    assert genome_of(Candidate(0, UNCHANGED, 0.0), lineage) == Genome(root=11)


def offsets() -> st.SearchStrategy[int]:
    return st.integers(0, NUM_OFFSETS - 1)


@st.composite
def lineages(draw: st.DrawFn) -> list[list[Candidate]]:
    """Up to six generations of one to three parents, some of them unchanged; the last one holds a child."""
    first = st.lists(offsets().map(lambda offset: Candidate(ROOT, offset, INITIAL_STD)), min_size=1, max_size=3)
    generations = [draw(first)]
    for _ in range(draw(st.integers(0, 5))):
        slots = st.integers(0, len(generations[-1]) - 1)
        mutated = st.builds(Candidate, slots, offsets(), st.floats(1e-4, 2.0, width=64))
        unchanged = st.builds(Candidate, slots, st.just(UNCHANGED), st.just(0.0))
        generations.append(draw(st.lists(mutated | unchanged, min_size=1, max_size=3)))
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
        stored = lineage_of(generation)
        decoded = [
            decode(candidate_at(stored, slot), parents, NOISE, problem, np.empty(NUM_PARAMS, np.float32))
            for slot in range(len(generation))
        ]
        parents = np.stack(decoded)
    lineage = [lineage_of(generation) for generation in generations[:-1]]
    for slot, candidate in enumerate(generations[-1]):
        genome = genome_of(candidate, lineage)
        assert decode_genome(genome, NOISE, problem).tobytes() == parents[slot].tobytes()
