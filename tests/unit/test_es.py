from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from gamaml.config import Config, EliteConfig, ESConfig, GAConfig, StopConfig, TaskConfig
from gamaml.errors import ConfigError, GamamlError
from gamaml.evolution import evolution_strategy as es
from gamaml.evolution import strategy
from gamaml.evolution.candidates import (
    LINEAGE_DTYPE,
    ROOT,
    UNCHANGED,
    Candidate,
    Snapshot,
    State,
    candidate_at,
)
from gamaml.evolution.decode import decode
from gamaml.evolution.evolution_strategy import EvolutionStrategy
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import record_dtype
from gamaml.types import Float32Array, Records

NUM_PARAMS = 3
NOISE = LazyNoise(size=1000, seed=5)
NUM_OFFSETS = 1000 - NUM_PARAMS + 1
NOTHING = np.empty(0, LINEAGE_DTYPE)
FOUR = ESConfig(population_size=4, std=0.5, step_size=0.1, episodes=2)


@dataclasses.dataclass
class Toy:
    num_params: int = NUM_PARAMS
    scale: Float32Array | None = None

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise * np.float32(0.1)


class TwoBlocks:
    """Noise that is (1, 0, 2) at offset 0 and (0, 4, -2) at offset 1."""

    def block(self, offset: int, num_params: int) -> Float32Array:
        whole = {0: float32(1, 0, 2), 1: float32(0, 4, -2)}[offset]
        assert num_params == len(whole)
        return whole


def float32(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def records(*fitness: float) -> Records:
    array = np.zeros(len(fitness), record_dtype(0))
    array["fitness"] = fitness
    return array


def config(**changes: object) -> Config:
    settings: dict[str, object] = {"strategy": "es", **changes}
    return Config(task=TaskConfig("m:T"), stop=StopConfig(generations=1), **settings)  # type: ignore[arg-type]


def test_utilities_are_ranks_from_minus_to_plus_a_half() -> None:
    assert es.utilities([3.0, -1.0, 20.0]).tolist() == [0.0, -0.5, 0.5]


def test_equals_share_the_mean_of_their_ranks() -> None:
    # Ranks 0 and 1, 2, then 3 and 4 of five: (0.5, 2, 3.5) / 4 - 0.5.
    assert es.utilities([7, 1, 7, 1, 3]).tolist() == [0.375, -0.375, 0.375, -0.375, 0.0]
    assert es.utilities([2, 2]).tolist() == [0, 0]


def test_what_failed_ranks_below_everything_else() -> None:
    assert es.utilities([-1e30, math.nan, math.inf, 0]).tolist() == pytest.approx([1 / 6, -1 / 3, -1 / 3, 0.5])


def test_children_come_in_mirrored_pairs_around_the_centre() -> None:
    state = EvolutionStrategy(FOUR).initial(1, NUM_OFFSETS)
    children = EvolutionStrategy(FOUR).children(state)
    offsets = children["offset"].tolist()
    assert offsets[0] == offsets[1] != offsets[2] == offsets[3]
    assert children["std"].tolist() == [0.5, -0.5, 0.5, -0.5]
    assert children["slot"].tolist() == [0, 0, 0, 0]
    vectors = np.stack([float32(1, 2, 3)] * 3)
    first, second = (
        decode(candidate_at(children, index), vectors, NOISE, Toy(), np.empty(3, np.float32)) for index in (0, 1)
    )
    np.testing.assert_allclose(first + second, [2, 4, 6], rtol=1e-6)


def test_the_first_children_do_not_depend_on_how_many_are_asked_for() -> None:
    chosen, state = EvolutionStrategy(FOUR), State(1, NUM_OFFSETS, 3, NOTHING)
    for count in range(4):
        assert chosen.children(state, count).tobytes() == chosen.children(state)[:count].tobytes()
    later = chosen.children(dataclasses.replace(state, generation=4))
    assert not set(later["offset"].tolist()) & set(chosen.children(state)["offset"].tolist())


def test_an_update_is_adam_on_the_weighted_sum_of_the_noise() -> None:
    # Four children with std 0.5: 1 / (n std) = 0.5. Utilities of the pairs: (0.5 - -0.5) = 1 and (1/6 - -1/6) = 1/3.
    weights = es.utilities([9, 1, 6, 3])
    pairs = np.array([(0, 0, weights[0] - weights[1]), (0, 1, weights[2] - weights[3])], LINEAGE_DTYPE)
    before, after = np.zeros((3, 3), np.float32), np.empty((3, 3), np.float32)
    before[0] = [1, 2, 3]
    es.update(before, after, pairs, TwoBlocks(), None, 0, es.step_of(FOUR, 1))
    # The sum 1 * (1, 0, 2) + 1/3 * (0, 4, -2), over 2.
    gradient = np.array([0.5, 2 / 3, 2 / 3])
    np.testing.assert_allclose(after[1], 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(after[2], 0.001 * gradient**2, rtol=1e-5)
    # The first step of Adam has the step size's length, whatever the gradient's.
    np.testing.assert_allclose(after[0], [1.1, 2.1, 3.1], rtol=1e-6)


def test_the_second_update_follows_the_moments() -> None:
    pairs = np.array([(0, 0, 1.0)], LINEAGE_DTYPE)
    before, after = float32(1, 2, 3, 0.1, 0.2, 0, 0.01, 0.04, 0.09).reshape(3, 3), np.empty((3, 3), np.float32)
    es.update(before, after, pairs, TwoBlocks(), None, 0, es.step_of(FOUR, 2))
    gradient = 0.5 * np.array([1, 0, 2])
    first = 0.9 * before[1] + 0.1 * gradient
    second = 0.999 * before[2] + 0.001 * gradient**2
    change = 0.1 * (first / (1 - 0.9**2)) / np.sqrt(second / (1 - 0.999**2))
    np.testing.assert_allclose(after, [before[0] + change, first, second], rtol=1e-5)


def test_weight_decay_is_subtracted_from_the_gradient() -> None:
    after = np.empty((3, 3), np.float32)
    before = float32(1, -2, 0, 0, 0, 0, 0, 0, 0).reshape(3, 3)
    step = es.step_of(dataclasses.replace(FOUR, weight_decay=0.25), 1)
    es.update(before, after, NOTHING, TwoBlocks(), None, 0, step)
    np.testing.assert_allclose(after[1], [-0.025, 0.05, 0], rtol=1e-6)
    np.testing.assert_allclose(after[0], [0.9, -1.9, 0], rtol=1e-6)


def test_a_scale_is_the_unit_of_its_parameter() -> None:
    pairs = np.array([(0, 0, 1.0)], LINEAGE_DTYPE)
    before, after = np.zeros((3, 3), np.float32), np.empty((3, 3), np.float32)
    es.update(before, after, pairs, TwoBlocks(), float32(1, 1, 10), 0, es.step_of(FOUR, 1))
    np.testing.assert_allclose(after[0], [0.1, 0, 1], rtol=1e-6)


def test_an_update_in_parts_and_from_the_root_has_the_bits_of_one_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(es, "_PART", 2)
    chosen, problem = EvolutionStrategy(dataclasses.replace(FOUR, weight_decay=0.01)), Toy(scale=float32(1, 0.3, 2))
    initial = state = chosen.initial(1, NUM_OFFSETS)
    lineage, vectors = [], chosen.vectors(initial, [], NOISE, problem, 0, NUM_PARAMS)
    assert vectors[0].tobytes() == (NOISE.block(int(initial.parents["offset"][0]), 3) * np.float32(0.1)).tobytes()
    random = np.random.default_rng(1)
    stored = None
    for generation in range(1, 6):
        state, _ = chosen.shortlist(state, records(*random.normal(size=4))).finish(records(1, 2))
        lineage.append(state.parents)
        before, vectors = vectors, np.empty((3, NUM_PARAMS), np.float32)
        assert chosen.num_parts(NUM_PARAMS, state.parents) == 2
        for part in (1, 0):
            chosen.compute(part, generation, state.parents, before, vectors, NOISE, problem)
        again = [
            chosen.vectors(initial, lineage, NOISE, problem, *part, snapshot)
            for snapshot in (None, stored)
            for part in ((0, 1), (1, NUM_PARAMS))
        ]
        assert np.concatenate(again[:2], axis=1).tobytes() == vectors.tobytes()
        assert np.concatenate(again[2:], axis=1).tobytes() == vectors.tobytes()
        if generation == 3:
            stored = Snapshot(3, vectors.copy())


def test_a_selection_records_the_centre_and_the_weight_of_each_pair() -> None:
    chosen = EvolutionStrategy(FOUR)
    state = chosen.initial(1, NUM_OFFSETS)
    assert (state.parents["slot"].tolist(), state.generation) == ([ROOT], 0)
    selection = chosen.shortlist(state, records(9, 1, 6, 3))
    assert list(selection.contenders) == chosen.certain(state) == [Candidate(0, UNCHANGED, 0.0)]
    after, fitness = selection.finish(records(2, 5))
    assert (after.generation, fitness) == (1, 3.5)
    assert candidate_at(after.parents, 0) == Candidate(0, UNCHANGED, 0.0)
    assert after.parents["offset"][1:].tolist() == chosen.children(state)["offset"][::2].tolist()
    assert after.parents["std"][1:].tolist() == pytest.approx([1, 1 / 3])


def test_a_centre_that_fails_has_no_fitness_and_the_run_goes_on() -> None:
    selection = EvolutionStrategy(FOUR).shortlist(State(1, 9, 0, NOTHING), records(1, 2, 3, math.nan))
    after, fitness = selection.finish(records(1, math.inf))
    assert math.isnan(fitness)
    assert after.generation == 1


def test_a_generation_of_failures_only_is_an_error_in_words() -> None:
    state = State(1, 9, 3, NOTHING)
    with pytest.raises(GamamlError, match=r"^generation 3: expected at least one child with a finite fitness, got non"):
        EvolutionStrategy(FOUR).shortlist(state, records(*[math.nan] * 4))


def test_std_and_step_size_decay_together() -> None:
    decaying = dataclasses.replace(FOUR, std_final=0.125, step_size_final=0.025, decay_generations=2, beta1=0, beta2=0)
    assert [EvolutionStrategy(decaying).std(g) for g in (0, 1, 2, 9)] == [0.5, 0.25, 0.125, 0.125]
    assert [es.step_of(decaying, g).step_size for g in (1, 2, 3)] == [0.1, 0.05, 0.025]
    assert es.step_of(decaying, 2).gradient_scale == 1 / (4 * 0.25)


def test_a_config_of_es_has_its_section_and_others_have_none() -> None:
    assert config().es == ESConfig()
    assert config(es=FOUR).es == FOUR
    assert isinstance(strategy.make(config(es=FOUR)), EvolutionStrategy)
    assert config(strategy="ga", es=FOUR).es is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population_size": 5}, "es.population_size=5: expected an even number"),
        ({"population_size": 0}, "es.population_size=0: expected at least 2"),
        ({"std": 0.0}, "es.std=0.0: expected a finite number above 0"),
        ({"beta2": 1.0}, "es.beta2=1.0: expected at least 0 and below 1; choose e.g. 0.999"),
        ({"weight_decay": -0.1}, "es.weight_decay=-0.1: expected at least 0"),
        ({"episodes": 0}, "es.episodes=0: expected at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        config(es=dataclasses.replace(FOUR, **changes))


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ConfigError, match="^strategy='gaa': unknown; did you mean 'ga'"):
        config(strategy="gaa")


def test_random_search_has_children_from_the_root_and_keeps_the_best() -> None:
    settings = GAConfig(population_size=4, num_parents=2, elite=EliteConfig(candidates=2, episodes=1))
    chosen = strategy.make(config(strategy="random", ga=settings))
    state = chosen.initial(1, NUM_OFFSETS)
    for fitness, expected in ((5.0, 2), (7.0, 2), (1.0, 0)):
        before = state
        children = chosen.children(before)
        assert children["slot"].tolist() == [ROOT] * 4
        selection = chosen.shortlist(before, records(1, 2, 3, 0))
        # The previous elite, if there is one, is the first candidate; its new fitness is 6 each time.
        again = records(fitness, 0) if before.generation == 0 else records(6, fitness)
        state, elite = selection.finish(again)
        kept = Candidate(0, UNCHANGED, 0.0) if expected == 0 else candidate_at(children, expected)
        assert [candidate_at(state.parents, slot) for slot in range(len(state.parents))] == [kept]
        assert elite == max(fitness, 6.0 if before.generation else fitness)


def test_random_search_without_an_elite_is_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.elite.candidates=0: expected at least 2 with strategy"):
        config(strategy="random", ga=GAConfig(elite=EliteConfig(candidates=0)))
