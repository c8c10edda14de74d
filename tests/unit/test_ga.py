from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

from gamaml.config import EliteConfig, GAConfig
from gamaml.errors import ConfigError, GamamlError
from gamaml.evolution import genetic_algorithm as ga
from gamaml.evolution.candidates import (
    ROOT,
    UNCHANGED,
    Candidate,
    Lineage,
    State,
    candidate_at,
    lineage_dtype,
)
from gamaml.evolution.records import record_dtype
from gamaml.types import Records

NO_ELITE = EliteConfig(candidates=0)


def config(size: int, parents: int, elite: EliteConfig = NO_ELITE) -> GAConfig:
    return GAConfig(population_size=size, num_parents=parents, mutation_std=0.5, elite=elite)


def records(*fitness: float) -> Records:
    array = np.zeros(len(fitness), record_dtype(0))
    array["index"] = np.arange(len(fitness))
    array["fitness"] = fitness
    return array


def later_state(num_parents: int = 2, generation: int = 3) -> State:
    parents = np.zeros(num_parents, ga.initial_state(1, 9).parents.dtype)
    parents["offset"] = np.arange(num_parents)
    return State(seed=1, num_offsets=1000, generation=generation, parents=parents)


def listed(parents: Lineage) -> list[Candidate]:
    return [candidate_at(parents, slot) for slot in range(len(parents))]


def children(state: State, settings: GAConfig, *indices: int) -> list[Candidate]:
    return [ga.propose(state, settings, index) for index in indices]


def test_children_of_generation_0_have_no_parent() -> None:
    child = ga.propose(ga.initial_state(seed=1, num_offsets=10), config(4, 2), 0)
    assert child.slot == ROOT
    assert 0 <= child.offset < 10


def test_a_child_follows_from_seed_generation_and_index_alone() -> None:
    state, settings = later_state(), config(4, 2)
    assert ga.propose(state, settings, 3) == ga.propose(state, settings, 3)
    others = [
        ga.propose(state, settings, 2),
        ga.propose(dataclasses.replace(state, seed=2), settings, 3),
        ga.propose(dataclasses.replace(state, generation=4), settings, 3),
    ]
    assert ga.propose(state, settings, 3).offset not in [other.offset for other in others]


def test_all_offsets_and_all_parents_are_drawn_about_equally_often() -> None:
    state = dataclasses.replace(later_state(num_parents=4), num_offsets=5)
    drawn = [ga.propose(state, config(4, 2), index) for index in range(2000)]
    # Binomial: 2000/4 +- 19 and 2000/5 +- 18 (one standard deviation).
    assert all(420 < count < 580 for count in np.bincount([child.slot for child in drawn], minlength=4))
    assert all(320 < count < 480 for count in np.bincount([child.offset for child in drawn], minlength=5))


def test_the_only_offset_of_a_table_as_long_as_the_parameters_is_0() -> None:
    assert ga.propose(ga.initial_state(1, num_offsets=1), config(4, 2), 3).offset == 0


def test_with_recombination_the_first_parent_and_the_offset_are_drawn_as_without() -> None:
    state = later_state(num_parents=6)
    for recombine in (2, 3):
        settings = dataclasses.replace(config(40, 6), recombine=recombine)
        wider = dataclasses.replace(state, parents=np.zeros(6, lineage_dtype(recombine)))
        for index in range(40):
            plain, mixed = ga.propose(state, config(40, 6), index), ga.propose(wider, settings, index)
            assert plain.offset == mixed.offset
            assert plain.slot in mixed.bases


def test_bases_are_different_parents_in_the_order_of_their_slots_and_all_sets_are_as_likely() -> None:
    settings = dataclasses.replace(config(4, 2), recombine=2)
    state = State(1, 1000, 3, np.zeros(4, lineage_dtype(2)))
    drawn = [ga.propose(state, settings, index).bases for index in range(1200)]
    assert all(first < second for first, second in drawn)
    # Six pairs of four: 1200/6 +- 13 (one standard deviation).
    counts = Counter(drawn)
    assert len(counts) == 6
    assert all(140 < count < 260 for count in counts.values())


def test_fewer_parents_than_bases_are_all_taken() -> None:
    settings = dataclasses.replace(config(4, 3), recombine=3)
    state = State(1, 1000, 3, np.zeros(2, lineage_dtype(3)))
    assert {ga.propose(state, settings, index).bases for index in range(20)} == {(0, 1)}
    first = ga.initial_state(1, 1000, recombine=3)
    assert ga.propose(first, settings, 0).bases == ()


def test_a_child_carries_the_std_of_its_generation() -> None:
    settings = dataclasses.replace(config(4, 2), mutation_std_final=0.125, mutation_std_generations=2)
    stds = [ga.propose(later_state(generation=g), settings, 0).std for g in (0, 1, 2, 9)]
    assert stds == [0.5, 0.25, 0.125, 0.125]


def test_of_equals_the_lower_index_comes_first() -> None:
    assert ga.ranking([1.0, 3.0, 1.0, 3.0]) == [1, 3, 0, 2]


def test_fitness_zero_is_a_value() -> None:
    assert ga.ranking([-1.0, 0.0, -0.5]) == [1, 2, 0]


def test_nan_and_infinities_are_never_ranked() -> None:
    assert ga.ranking([math.nan, 1.0, math.inf, -math.inf, 2.0]) == [4, 1]


def test_one_parent_is_the_best_child() -> None:
    state, settings = later_state(), config(4, 1)
    after, fitness = ga.select(state, records(1, 4, 3, 2), records(), settings)
    assert listed(after.parents) == children(state, settings, 1)
    assert fitness == 4.0
    assert after.generation == state.generation + 1


def test_equal_fitness_everywhere_selects_the_first_children() -> None:
    state, settings = later_state(), config(4, 3)
    after, _ = ga.select(state, records(5, 5, 5, 5), records(), settings)
    assert listed(after.parents) == children(state, settings, 0, 1, 2)


def test_a_child_of_fitness_zero_beats_negative_ones() -> None:
    state, settings = later_state(), config(3, 2)
    after, fitness = ga.select(state, records(-2, 0, -1), records(), settings)
    assert listed(after.parents) == children(state, settings, 1, 2)
    assert fitness == 0.0


def test_failed_children_never_become_parents_even_if_too_few_are_left() -> None:
    state, settings = later_state(), config(4, 3)
    after, _ = ga.select(state, records(math.nan, math.inf, 7, -math.inf), records(), settings)
    assert listed(after.parents) == children(state, settings, 2)


def test_a_generation_of_failures_only_is_an_error_in_words() -> None:
    with pytest.raises(
        GamamlError, match=r"^generation 3: expected at least one child with a finite fitness, got none of 2"
    ):
        ga.select(later_state(), records(math.nan, math.inf), records(), config(2, 1))


def test_more_parents_than_children_are_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.num_parents=5 exceeds ga.population_size=4; choose at most 4$"):
        config(4, 5)


def test_more_bases_than_parents_are_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.recombine=4 exceeds ga.num_parents=3; choose at most 3$"):
        dataclasses.replace(config(5, 3), recombine=4)


def test_without_elite_nobody_is_re_evaluated() -> None:
    assert ga.candidates(later_state(), records(1, 2), config(2, 1)) == []


def test_in_the_first_generation_the_candidates_are_the_best_children() -> None:
    state, settings = ga.initial_state(1, 1000), config(4, 2, EliteConfig(candidates=3, episodes=1))
    assert ga.candidates(state, records(1, 4, 3, 2), settings) == children(state, settings, 1, 2, 3)


def test_later_the_previous_elite_is_the_first_candidate() -> None:
    state, settings = later_state(), config(4, 2, EliteConfig(candidates=3, episodes=1))
    expected = [Candidate(0, UNCHANGED, 0.0), *children(state, settings, 1, 2)]
    assert ga.candidates(state, records(1, 4, 3, 2), settings) == expected


def test_failed_children_are_no_candidates() -> None:
    state, settings = ga.initial_state(1, 1000), config(3, 2, EliteConfig(candidates=3, episodes=1))
    assert ga.candidates(state, records(math.nan, 2, math.inf), settings) == children(state, settings, 1)


def test_the_best_mean_over_re_evaluations_is_the_elite_and_tops_the_parents_once() -> None:
    state, settings = ga.initial_state(1, 1000), config(4, 3, EliteConfig(candidates=2, episodes=2))
    # Candidates are children 1 and 2; re-evaluated, child 2 has mean 6 and child 1 has mean 5.
    after, fitness = ga.select(state, records(1, 4, 3, 2), records(10, 0, 5, 7), settings)
    assert listed(after.parents) == children(state, settings, 2, 1, 3)
    assert fitness == 6.0


def test_the_previous_elite_wins_a_tie_and_stays_as_it_is() -> None:
    state, settings = later_state(), config(3, 2, EliteConfig(candidates=2, episodes=2))
    after, fitness = ga.select(state, records(1, 9, 3), records(4, 6, 6, 4), settings)
    assert listed(after.parents) == [Candidate(0, UNCHANGED, 0.0), *children(state, settings, 1)]
    assert fitness == 5.0


def test_a_candidate_with_one_failed_re_evaluation_is_no_elite() -> None:
    state, settings = later_state(), config(3, 2, EliteConfig(candidates=2, episodes=2))
    after, fitness = ga.select(state, records(1, 9, 3), records(math.nan, 99, 0, 0), settings)
    assert listed(after.parents) == children(state, settings, 1, 2)
    assert fitness == 0.0


def test_if_every_re_evaluation_fails_the_best_child_is_the_elite() -> None:
    state, settings = later_state(), config(3, 2, EliteConfig(candidates=2, episodes=1))
    after, fitness = ga.select(state, records(1, 9, 3), records(math.nan, math.inf), settings)
    assert listed(after.parents) == children(state, settings, 1, 2)
    assert fitness == 9.0


def test_a_child_with_the_elites_genome_is_no_parent_beside_it() -> None:
    # One offset, one parent: all children are the same candidate.
    state, settings = dataclasses.replace(later_state(num_parents=1), num_offsets=1), config(3, 3)
    after, _ = ga.select(state, records(3, 2, 1), records(), settings)
    assert listed(after.parents) == children(state, settings, 0)


def test_selection_changes_nothing_that_it_is_given() -> None:
    state, settings = later_state(), config(4, 2)
    fitness = records(1, 4, 3, 2)
    before = (state.parents.copy(), fitness.copy())
    ga.select(state, fitness, records(), settings)
    assert np.array_equal(state.parents, before[0])
    assert np.array_equal(fitness, before[1])
