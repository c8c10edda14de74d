from __future__ import annotations

import dataclasses
import math

import doubles
import numpy as np
import pytest
from doubles import AT_START, progress

from gamaml.config import Config, EliteConfig, ESConfig, GAConfig, StopConfig, TaskConfig
from gamaml.errors import ConfigError, SelectionError
from gamaml.evolution import adam, chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import ROOT, UNCHANGED, Entries, new_entries, without_children
from gamaml.evolution.evolution_strategy import EvolutionStrategy
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.ranks import centred_ranks
from gamaml.evolution.rebuild import Course, Snapshot, rebuild
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Part, Sizes, Space, State
from gamaml.types import Float32Array, Records

NUM_PARAMS = 3
NOISE = LazyNoise(size=1000, seed=5)
SPACE = Space(NUM_PARAMS, 1000 - NUM_PARAMS + 1)
FOUR = ESConfig(population_size=4, std=0.5, step_size=0.1, episodes=2)


@dataclasses.dataclass
class Toy(doubles.Toy):
    num_params: int = NUM_PARAMS


class TwoBlocks:
    """Noise that is (1, 0, 2) at offset 0 and (0, 4, -2) at offset 1."""

    def block(self, offset: int, num_params: int) -> Float32Array:
        whole = {0: float32(1, 0, 2), 1: float32(0, 4, -2)}[offset]
        assert num_params == len(whole)
        return whole


DTYPE = EvolutionStrategy(FOUR).sizes.entry_dtype


def pairs(*weights: float) -> Entries:
    """Return a pair per weight for four children of std 0.5, whose noise is that of offset 0, 1."""
    entries = new_entries(len(weights), DTYPE)
    entries["offset"], entries["factor"] = np.arange(len(weights)), np.array(weights) / (4 * 0.5)
    entries["std"], entries["step_size"] = 0.5, 0.1
    return entries


def state(generation: int, entries: Entries | None = None) -> State:
    return State(1, SPACE, generation, pairs(0.0) if entries is None else entries)


def updated(config: ESConfig, generation: int, entries: Entries, before: Float32Array, toy: Toy) -> Float32Array:
    after = np.empty_like(before)
    sources = Sources.whole(TwoBlocks(), toy, before)
    EvolutionStrategy(config).update(state(generation, entries), sources, Part(range(3), after))
    return after


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
    assert centred_ranks([3.0, -1.0, 20.0]).tolist() == [0.0, -0.5, 0.5]


def test_equals_share_the_mean_of_their_ranks() -> None:
    # Ranks 0 and 1, 2, then 3 and 4 of five: (0.5, 2, 3.5) / 4 - 0.5.
    assert centred_ranks([7, 1, 7, 1, 3]).tolist() == [0.375, -0.375, 0.375, -0.375, 0.0]
    assert centred_ranks([2, 2]).tolist() == [0, 0]


def test_what_failed_ranks_below_everything_else() -> None:
    assert centred_ranks([-1e30, math.nan, math.inf, 0]).tolist() == pytest.approx([1 / 6, -1 / 3, -1 / 3, 0.5])


def test_children_come_in_mirrored_pairs_around_the_centre() -> None:
    chosen = EvolutionStrategy(FOUR)
    children = chosen.children(chosen.start(1, SPACE))
    offsets = children["offset"].tolist()
    assert offsets[0] == offsets[1] != offsets[2] == offsets[3]
    assert children["factor"].tolist() == [0.5, -0.5, 0.5, -0.5]
    assert children["base"].tolist() == [0, 0, 0, 0]
    assert (children["task"].tolist(), children["episode"].tolist()) == ([0, 0, 0, 0], [0, 1, 2, 3])
    sources, rows = Sources.whole(NOISE, Toy(), np.stack([float32(1, 2, 3)] * 3)), np.empty((2, 3), np.float32)
    for child, row in zip(children[:2], rows, strict=True):
        chosen.decode(child, sources, row)
    np.testing.assert_allclose(rows.sum(axis=0), [2, 4, 6], rtol=1e-6)


def test_the_first_children_do_not_depend_on_how_many_there_are() -> None:
    chosen, larger = EvolutionStrategy(FOUR), EvolutionStrategy(dataclasses.replace(FOUR, population_size=8))
    assert chosen.children(state(3)).tobytes() == larger.children(state(3))[:4].tobytes()
    later = chosen.children(state(4))
    assert not set(later["offset"].tolist()) & set(chosen.children(state(3))["offset"].tolist())


def test_an_update_is_adam_on_the_weighted_sum_of_the_noise() -> None:
    # Four children with std 0.5: 1 / (n std) = 0.5. Utilities of the pairs: (0.5 - -0.5) = 1 and (1/6 - -1/6) = 1/3.
    weights = centred_ranks([9, 1, 6, 3])
    before = np.zeros((3, 3), np.float32)
    before[0] = [1, 2, 3]
    after = updated(FOUR, 1, pairs(weights[0] - weights[1], weights[2] - weights[3]), before, Toy())
    # The sum 1 * (1, 0, 2) + 1/3 * (0, 4, -2), over 2.
    gradient = np.array([0.5, 2 / 3, 2 / 3])
    np.testing.assert_allclose(after[1], 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(after[2], 0.001 * gradient**2, rtol=1e-5)
    # The first step of Adam has the step size's length, whatever the gradient's.
    np.testing.assert_allclose(after[0], [1.1, 2.1, 3.1], rtol=1e-6)


def test_the_second_update_follows_the_moments() -> None:
    before = float32(1, 2, 3, 0.1, 0.2, 0, 0.01, 0.04, 0.09).reshape(3, 3)
    after = updated(FOUR, 2, pairs(1.0), before, Toy())
    gradient = 0.5 * np.array([1, 0, 2])
    first = 0.9 * before[1] + 0.1 * gradient
    second = 0.999 * before[2] + 0.001 * gradient**2
    change = 0.1 * (first / (1 - 0.9**2)) / np.sqrt(second / (1 - 0.999**2))
    np.testing.assert_allclose(after, [before[0] + change, first, second], rtol=1e-5)


def test_weight_decay_is_subtracted_from_the_gradient() -> None:
    before = float32(1, -2, 0, 0, 0, 0, 0, 0, 0).reshape(3, 3)
    after = updated(dataclasses.replace(FOUR, weight_decay=0.25), 1, pairs(0.0), before, Toy())
    np.testing.assert_allclose(after[1], [-0.025, 0.05, 0], rtol=1e-6)
    np.testing.assert_allclose(after[0], [0.9, -1.9, 0], rtol=1e-6)


def test_a_scale_is_the_unit_of_its_parameter() -> None:
    after = updated(FOUR, 1, pairs(1.0), np.zeros((3, 3), np.float32), Toy(scale=float32(1, 1, 10)))
    np.testing.assert_allclose(after[0], [0.1, 0, 1], rtol=1e-6)


def test_an_update_in_parts_and_from_the_root_has_the_bits_of_one_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gamaml.evolution.strategy.PART", 2)
    chosen, problem = EvolutionStrategy(dataclasses.replace(FOUR, weight_decay=0.01)), Toy(scale=float32(1, 0.3, 2))
    course = Course(chosen.start(1, SPACE), [])
    vectors = rebuild(chosen, course, NOISE, problem)
    root = int(course.initial.entries["offset"][0])
    assert vectors[0].tobytes() == (NOISE.block(root, 3) * np.float32(0.1)).tobytes()
    random, stored = np.random.default_rng(1), None
    for generation in range(1, 6):
        following = chosen.next(course.state, records(*random.normal(size=4)), records(1, 2), AT_START).state
        course = Course(course.initial, [*course.history, following.entries])
        before, vectors = vectors, np.empty((3, NUM_PARAMS), np.float32)
        assert chosen.sizes.num_parts(NUM_PARAMS, len(following.entries)) == 2
        for number in (1, 0):
            rows, where = chosen.sizes.part(number, NUM_PARAMS)
            sources = Sources(NOISE, problem, before[:, where], where.start, where.stop - where.start)
            chosen.update(following, sources, Part(rows, vectors[:, where]))
        for snapshot in (None, stored):
            latest = dataclasses.replace(course, snapshot=snapshot)
            ranges = slice(0, 1), slice(1, NUM_PARAMS)
            again = [rebuild(chosen, latest, NOISE, problem, where=where) for where in ranges]
            assert np.concatenate(again, axis=1).tobytes() == vectors.tobytes()
        if generation == 3:
            stored = Snapshot(3, vectors.copy())


def test_the_next_state_holds_the_weight_of_each_pair() -> None:
    chosen = EvolutionStrategy(FOUR)
    before = chosen.start(1, SPACE)
    assert (before.entries["base"].tolist(), before.generation) == ([ROOT], 0)
    found = records(9, 1, 6, 3)
    centre = chosen.contenders(before, found)
    assert centre.tobytes() == chosen.contenders(before, None).tobytes() == new_entries(1, DTYPE).tobytes()
    assert centre["offset"].tolist() == [UNCHANGED]
    outcome = chosen.next(before, found, records(2, 5), AT_START)
    assert (outcome.state.generation, outcome.fitness, outcome.contender, outcome.std) == (1, 3.5, 0, 0.5)
    entries = outcome.state.entries
    assert entries["offset"].tolist() == chosen.children(before)["offset"][::2].tolist()
    # Over the population's size, 4, and the std, 0.5.
    assert entries["factor"].tolist() == pytest.approx([1 / 2, 1 / 6])
    assert (entries["std"].tolist(), entries["step_size"].tolist()) == ([0.5] * 2, [0.1] * 2)
    assert entries.tobytes() == without_children(entries).tobytes()


def test_a_centre_that_fails_has_no_fitness_and_the_run_goes_on() -> None:
    outcome = EvolutionStrategy(FOUR).next(state(0), records(1, 2, 3, math.nan), records(1, math.inf), AT_START)
    assert math.isnan(outcome.fitness)
    assert outcome.state.generation == 1


def test_a_generation_of_failures_only_is_an_error_in_words() -> None:
    message = r"^generation 3: expected at least one child with a finite fitness, got non"
    with pytest.raises(SelectionError, match=message):
        EvolutionStrategy(FOUR).next(state(3), records(*[math.nan] * 4), records(1, 2), AT_START)


@pytest.mark.parametrize("length", [None, 2])
def test_std_and_step_size_decay_together(length: int | None) -> None:
    decaying = dataclasses.replace(
        FOUR, std_final=0.125, step_size_final=0.025, decay_generations=length, beta1=0, beta2=0
    )
    chosen = EvolutionStrategy(decaying)
    now, stds, steps = chosen.start(1, SPACE), list[float](), list[float]()
    for share in (0.5, 1.0):
        stds.append(float(chosen.children(now)["factor"][0]))
        now = chosen.next(now, records(9, 1, 6, 3), records(1, 1), progress(share)).state
        # Without moments, Adam's step is the step size times the sign of the gradient.
        entries = pairs(1.0)
        entries["step_size"] = now.entries["step_size"][0]
        steps.append(float(updated(decaying, now.generation, entries, np.zeros((3, 3), np.float32), Toy())[0, 0]))
    assert [*stds, float(chosen.children(now)["factor"][0])] == [0.5, 0.25, 0.125]
    assert steps == pytest.approx([0.05, 0.025])


def test_ascending_leaves_what_it_is_given() -> None:
    before, gradient = np.ones((3, 2), np.float32), float32(1, -1)
    adam.ascend(before, np.empty((3, 2), np.float32), gradient, step_size=0.1, updates=1)
    assert (before.tolist(), gradient.tolist()) == (np.ones((3, 2)).tolist(), [1, -1])


def test_what_snapshots_and_parts_follow_from_is_in_the_sizes() -> None:
    sizes = EvolutionStrategy(FOUR).sizes
    assert (sizes.has_genomes, sizes.num_reevaluations, sizes.num_entries) == (False, 2, 2)
    whole = Sizes(1, num_vectors=3, num_entries=1, update_by="whole")
    assert (whole.num_parts(10**6, 1), whole.part(0, 7)) == (1, (range(3), slice(0, 7)))
    by_vector = Sizes(4, num_vectors=3, num_entries=3, update_by="vector")
    assert (by_vector.num_parts(10**6, 2), by_vector.part(1, 7)) == (2, (range(1, 2), slice(0, 7)))


def test_a_config_of_es_has_its_section_and_others_have_none() -> None:
    assert config().es == ESConfig()
    assert config(es=FOUR).es == FOUR
    assert chosen_strategy.make(config(es=FOUR)) == EvolutionStrategy(FOUR)
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
    chosen = chosen_strategy.make(config(strategy="random", ga=settings))
    now = chosen.start(1, SPACE)
    for fitness, expected in ((5.0, 2), (7.0, 2), (1.0, 0)):
        children = chosen.children(now)
        assert children["base"].tolist() == [ROOT] * 4
        # The previous elite, if there is one, is the first contender; its new fitness is 6 each time.
        again = records(fitness, 0) if now.generation == 0 else records(6, fitness)
        outcome = chosen.next(now, records(1, 2, 3, 0), again, AT_START)
        unchanged = new_entries(1, chosen.sizes.entry_dtype)
        kept = unchanged if expected == 0 else without_children(children[expected : expected + 1])
        kept["std"] = 0.05
        assert outcome.state.entries.tobytes() == kept.tobytes()
        assert outcome.fitness == max(fitness, 6.0 if now.generation else fitness)
        now = outcome.state


def test_random_search_without_an_elite_is_refused() -> None:
    with pytest.raises(ConfigError, match="^ga.elite.candidates=0: expected at least 2 with strategy"):
        config(strategy="random", ga=GAConfig(elite=EliteConfig(candidates=0)))
