from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest
from doubles import AT_START, progress

from gamaml.config import EliteConfig, GAConfig
from gamaml.errors import ConfigError, SelectionError
from gamaml.evolution.entries import ROOT, UNCHANGED, Entries, bases_of, new_entries, without_children
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.evolution.ranks import ranking
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Space, State
from gamaml.types import Records

NO_ELITE = EliteConfig(candidates=0)
SPACE = Space(num_params=5, num_offsets=1000)


def config(size: int, parents: int, elite: EliteConfig = NO_ELITE) -> GAConfig:
    return GAConfig(population_size=size, num_parents=parents, mutation_std=0.5, elite=elite)


def records(*fitness: float) -> Records:
    array = np.zeros(len(fitness), record_dtype(0))
    array["index"] = np.arange(len(fitness))
    array["fitness"] = fitness
    return array


def first_state(settings: GAConfig, space: Space = SPACE) -> State:
    return GeneticAlgorithm(settings).start(1, space)


def later_state(settings: GAConfig, num_parents: int = 2, generation: int = 3, space: Space = SPACE) -> State:
    parents = new_entries(num_parents, GeneticAlgorithm(settings).sizes.entry_dtype)
    parents["offset"], parents["std"] = np.arange(num_parents), settings.mutation_std
    return State(seed=1, space=space, generation=generation, entries=parents)


def proposed(state: State, settings: GAConfig) -> Entries:
    return GeneticAlgorithm(settings).children(state)


def listed(entries: Entries) -> list[bytes]:
    """Return candidates as bytes, without the std of their children."""
    entries = entries.copy()
    entries["std"] = 0
    return [entry.tobytes() for entry in entries]


def children(state: State, settings: GAConfig, *indices: int) -> list[bytes]:
    return listed(without_children(proposed(state, settings)[list(indices)]))


def parents_after(state: State, settings: GAConfig, found: Records, again: Records) -> list[bytes]:
    return listed(GeneticAlgorithm(settings).next(state, found, again, AT_START).state.entries)


def contenders(state: State, settings: GAConfig, found: Records | None) -> list[bytes]:
    return listed(GeneticAlgorithm(settings).contenders(state, found))


ELITE = listed(new_entries(1, GeneticAlgorithm(GAConfig()).sizes.entry_dtype))


def test_children_of_generation_0_have_no_parent() -> None:
    settings = config(4, 2)
    found = proposed(first_state(settings, Space(5, num_offsets=10)), settings)
    assert found["base"].tolist() == [ROOT] * 4
    assert all(0 <= offset < 10 for offset in found["offset"])


def test_a_child_follows_from_seed_generation_and_index_alone() -> None:
    settings = config(4, 2)
    state = later_state(settings)
    found = proposed(state, settings)
    larger = proposed(state, dataclasses.replace(settings, population_size=9))
    assert listed(found) == listed(larger[:4])
    others = [
        found[2],
        proposed(dataclasses.replace(state, seed=2), settings)[3],
        proposed(dataclasses.replace(state, generation=4), settings)[3],
    ]
    assert found[3]["offset"] not in [other["offset"] for other in others]


def test_all_offsets_and_all_parents_are_drawn_about_equally_often() -> None:
    settings = config(2000, 4)
    drawn = proposed(later_state(settings, num_parents=4, space=Space(5, num_offsets=5)), settings)
    # Binomial: 2000/4 +- 19 and 2000/5 +- 18 (one standard deviation).
    assert all(420 < count < 580 for count in np.bincount(drawn["base"], minlength=4))
    assert all(320 < count < 480 for count in np.bincount(drawn["offset"], minlength=5))


def test_the_only_offset_of_a_table_as_long_as_the_parameters_is_0() -> None:
    settings = config(4, 2)
    assert proposed(first_state(settings, Space(5, num_offsets=1)), settings)["offset"].tolist() == [0] * 4


@pytest.mark.parametrize(("share", "tasks"), [(True, [0, 0, 0]), (False, [0, 1, 2])])
def test_children_share_tasks_as_the_space_says_and_never_their_action_noise(share: bool, tasks: list[int]) -> None:
    settings = config(3, 2)
    found = proposed(first_state(settings, Space(5, 1000, share_tasks=share)), settings)
    assert (found["task"].tolist(), found["episode"].tolist()) == (tasks, [0, 1, 2])


def test_with_recombination_the_first_parent_and_the_offset_are_drawn_as_without() -> None:
    plain_settings = config(40, 6)
    plain = proposed(later_state(plain_settings, num_parents=6), plain_settings)
    for recombine in (2, 3):
        settings = dataclasses.replace(plain_settings, recombine=recombine)
        mixed = proposed(later_state(settings, num_parents=6), settings)
        assert mixed["offset"].tolist() == plain["offset"].tolist()
        assert all(child["base"] in bases_of(other) for child, other in zip(plain, mixed, strict=True))


def test_bases_are_different_parents_in_the_order_of_their_slots_and_all_sets_are_as_likely() -> None:
    settings = dataclasses.replace(config(1200, 4), recombine=2)
    drawn = [bases_of(child) for child in proposed(later_state(settings, num_parents=4), settings)]
    assert all(first < second for first, second in drawn)
    # Six pairs of four: 1200/6 +- 13 (one standard deviation).
    counts = Counter(drawn)
    assert len(counts) == 6
    assert all(140 < count < 260 for count in counts.values())


def test_fewer_parents_than_bases_are_all_taken() -> None:
    settings = dataclasses.replace(config(20, 3), recombine=3)
    assert {bases_of(child) for child in proposed(later_state(settings, num_parents=2), settings)} == {(0, 1)}
    assert bases_of(proposed(first_state(settings), settings)[0]) == ()


@pytest.mark.parametrize(("length", "expected"), [(None, [0.5, 0.25, 0.125]), (4, [0.353553, 0.25, 0.176777])])
def test_the_std_follows_the_run_or_a_number_of_generations(length: int | None, expected: list[float]) -> None:
    settings = dataclasses.replace(config(4, 2), mutation_std_final=0.125, mutation_std_generations=length)
    chosen, state, stds = GeneticAlgorithm(settings), first_state(settings), list[float]()
    for share in (0.0, 0.5, 1.0):
        outcome = chosen.next(state, records(1, 2, 3, 4), records(), progress(share))
        assert outcome.std == pytest.approx(stds[-1] if stds else 0.5)
        state = outcome.state
        stds.append(float(chosen.children(state)["factor"][0]))
    assert stds == pytest.approx(expected, rel=1e-5)


def test_of_equals_the_lower_index_comes_first() -> None:
    assert ranking([1.0, 3.0, 1.0, 3.0]) == [1, 3, 0, 2]


def test_fitness_zero_is_a_value() -> None:
    assert ranking([-1.0, 0.0, -0.5]) == [1, 2, 0]


def test_nan_and_infinities_are_never_ranked() -> None:
    assert ranking([math.nan, 1.0, math.inf, -math.inf, 2.0]) == [4, 1]


def test_one_parent_is_the_best_child() -> None:
    settings = config(4, 1)
    state = later_state(settings)
    outcome = GeneticAlgorithm(settings).next(state, records(1, 4, 3, 2), records(), AT_START)
    assert listed(outcome.state.entries) == children(state, settings, 1)
    assert outcome.fitness == 4.0
    assert outcome.state.generation == state.generation + 1


def test_equal_fitness_everywhere_selects_the_first_children() -> None:
    settings = config(4, 3)
    state = later_state(settings)
    assert parents_after(state, settings, records(5, 5, 5, 5), records()) == children(state, settings, 0, 1, 2)


def test_a_child_of_fitness_zero_beats_negative_ones() -> None:
    settings = config(3, 2)
    state = later_state(settings)
    outcome = GeneticAlgorithm(settings).next(state, records(-2, 0, -1), records(), AT_START)
    assert listed(outcome.state.entries) == children(state, settings, 1, 2)
    assert outcome.fitness == 0.0


def test_failed_children_never_become_parents_even_if_too_few_are_left() -> None:
    settings = config(4, 3)
    state = later_state(settings)
    assert parents_after(state, settings, records(math.nan, math.inf, 7, -math.inf), records()) == children(
        state, settings, 2
    )


def test_a_generation_of_failures_only_is_an_error_in_words() -> None:
    settings = config(2, 1)
    with pytest.raises(
        SelectionError, match=r"^generation 3: expected at least one child with a finite fitness, got none of 2"
    ):
        GeneticAlgorithm(settings).next(later_state(settings), records(math.nan, math.inf), records(), AT_START)


def test_more_parents_than_children_are_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.num_parents=5 exceeds ga.population_size=4; choose at most 4$"):
        config(4, 5)


def test_more_bases_than_parents_are_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.recombine=4 exceeds ga.num_parents=3; choose at most 3$"):
        dataclasses.replace(config(5, 3), recombine=4)


def test_without_elite_nobody_is_re_evaluated() -> None:
    settings = config(2, 1)
    assert contenders(later_state(settings), settings, records(1, 2)) == []


def test_in_the_first_generation_the_candidates_are_the_best_children() -> None:
    settings = config(4, 2, EliteConfig(candidates=3, episodes=1))
    state = first_state(settings)
    assert contenders(state, settings, records(1, 4, 3, 2)) == children(state, settings, 1, 2, 3)


def test_later_the_previous_elite_is_the_first_contender_whatever_the_children_achieve() -> None:
    settings = config(4, 2, EliteConfig(candidates=3, episodes=1))
    state = later_state(settings)
    assert contenders(state, settings, records(1, 4, 3, 2)) == [*ELITE, *children(state, settings, 1, 2)]
    assert contenders(state, settings, None) == ELITE
    assert contenders(first_state(settings), settings, None) == []
    assert new_entries(1)["offset"].tolist() == [UNCHANGED]


def test_failed_children_are_no_candidates() -> None:
    settings = config(3, 2, EliteConfig(candidates=3, episodes=1))
    state = first_state(settings)
    assert contenders(state, settings, records(math.nan, 2, math.inf)) == children(state, settings, 1)


def test_the_best_mean_over_re_evaluations_is_the_elite_and_tops_the_parents_once() -> None:
    settings = config(4, 3, EliteConfig(candidates=2, episodes=2))
    state = first_state(settings)
    # Candidates are children 1 and 2; re-evaluated, child 2 has mean 6 and child 1 has mean 5.
    outcome = GeneticAlgorithm(settings).next(state, records(1, 4, 3, 2), records(10, 0, 5, 7), AT_START)
    assert listed(outcome.state.entries) == children(state, settings, 2, 1, 3)
    assert outcome.fitness == 6.0


def test_the_previous_elite_wins_a_tie_and_stays_as_it_is() -> None:
    settings = config(3, 2, EliteConfig(candidates=2, episodes=2))
    state = later_state(settings)
    outcome = GeneticAlgorithm(settings).next(state, records(1, 9, 3), records(4, 6, 6, 4), AT_START)
    assert listed(outcome.state.entries) == [*ELITE, *children(state, settings, 1)]
    assert outcome.fitness == 5.0


def test_a_candidate_with_one_failed_re_evaluation_is_no_elite() -> None:
    settings = config(3, 2, EliteConfig(candidates=2, episodes=2))
    state = later_state(settings)
    outcome = GeneticAlgorithm(settings).next(state, records(1, 9, 3), records(math.nan, 99, 0, 0), AT_START)
    assert listed(outcome.state.entries) == children(state, settings, 1, 2)
    assert outcome.fitness == 0.0


def test_if_every_re_evaluation_fails_the_best_child_is_the_elite() -> None:
    settings = config(3, 2, EliteConfig(candidates=2, episodes=1))
    state = later_state(settings)
    outcome = GeneticAlgorithm(settings).next(state, records(1, 9, 3), records(math.nan, math.inf), AT_START)
    assert listed(outcome.state.entries) == children(state, settings, 1, 2)
    assert outcome.fitness == 9.0


def test_a_child_with_the_elites_genome_is_no_parent_beside_it() -> None:
    # One offset, one parent: all children are the same candidate.
    settings = config(3, 3)
    state = later_state(settings, num_parents=1, space=Space(5, num_offsets=1))
    assert parents_after(state, settings, records(3, 2, 1), records()) == children(state, settings, 0)


def test_selection_changes_nothing_that_it_is_given() -> None:
    settings = config(4, 2)
    state, fitness = later_state(settings), records(1, 4, 3, 2)
    before = (state.entries.copy(), fitness.copy())
    GeneticAlgorithm(settings).next(state, fitness, records(), AT_START)
    assert np.array_equal(state.entries, before[0])
    assert np.array_equal(fitness, before[1])


def test_the_outcome_names_the_contender_that_is_the_elite() -> None:
    settings = config(3, 2, EliteConfig(candidates=2, episodes=1))
    state = later_state(settings)
    assert GeneticAlgorithm(settings).next(state, records(1, 9, 3), records(4, 5), AT_START).contender == 1
    failed = records(math.nan, math.inf)
    assert GeneticAlgorithm(settings).next(state, records(1, 9, 3), failed, AT_START).contender is None
