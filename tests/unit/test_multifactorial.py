"""Multifactorial recombination against rewrites in plain NumPy, and the genome that is a sum over the noise table."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import doubles
import numpy as np
import pytest
from doubles import AT_START, progress

from gamaml.config import Config, EnvConfig, InnerConfig, MultifactorialConfig, StopConfig, TaskConfig
from gamaml.errors import ConfigError, SelectionError
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import ROOT, UNCHANGED
from gamaml.evolution.linear_genome import LinearGenome, linear_genome_of
from gamaml.evolution.multifactorial_recombination import Multifactorial, mean_shares, pair_weights
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, rebuild
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Part, Progress, Space
from gamaml.types import Float32Array, Records

NUM_PARAMS = 7
NOISE = LazyNoise(size=1000, seed=5)
SPACE = Space(NUM_PARAMS, 1000 - NUM_PARAMS + 1)
EIGHT = MultifactorialConfig(population_size=8, litters=2, std=0.5, rate=2.0, episodes=2)
CSA = dataclasses.replace(EIGHT, step_control="csa")


@dataclasses.dataclass
class Toy(doubles.Toy):
    num_params: int = NUM_PARAMS


SCALED = Toy(scale=np.linspace(0.3, 2, NUM_PARAMS).astype(np.float32))


def records(*fitness: float) -> Records:
    array = np.zeros(len(fitness), record_dtype(0))
    array["fitness"] = fitness
    return array


def config(**changes: object) -> Config:
    settings: dict[str, object] = {"strategy": "multifactorial", "task": TaskConfig("m:T"), **changes}
    return Config(stop=StopConfig(generations=1), **settings)  # type: ignore[arg-type]


def rank(value: float, values: Sequence[float]) -> float:
    """Return the rank of a value from 0, equals sharing the mean of theirs, by counting."""
    return sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2


def plain_weights(fitness: Sequence[float], num_litters: int, ranking: str) -> list[float]:
    values = [value if math.isfinite(value) else -math.inf for value in fitness]
    if ranking == "pair":
        differences = [0.0 if a == b else a - b for a, b in zip(values[::2], values[1::2], strict=True)]
        sizes = [abs(difference) for difference in differences]
        weights = [
            math.copysign(rank(size, sizes) + 1, difference) if difference else 0.0
            for size, difference in zip(sizes, differences, strict=True)
        ]
        total = sum(abs(weight) for weight in weights)
    else:
        litters = [[v for i, v in enumerate(values) if i // 2 % num_litters == q] for q in range(num_litters)]
        utilities = [
            rank(value, litters[i // 2 % num_litters]) / (len(litters[0]) - 1) - 0.5 for i, value in enumerate(values)
        ]
        weights = [a - b for a, b in zip(utilities[::2], utilities[1::2], strict=True)]
        total = sum(abs(utility) for utility in utilities)
    return [weight / total if total else 0.0 for weight in weights]


def fitness_tables() -> list[list[float]]:
    """Return random fitness with ties, NaN and infinities."""
    random = np.random.default_rng(3)
    choices = [math.nan, math.inf, -math.inf, 0.0, -1.5, 2.0]
    return [
        [float(random.choice(choices)) if random.random() < share else float(random.normal()) for _ in range(24)]
        for share in (0.0, 0.3, 0.6, 1.0)
        for _ in range(25)
    ]


@pytest.mark.parametrize(("num_litters", "ranking"), [(1, "litter"), (2, "litter"), (6, "litter"), (12, "pair")])
def test_weights_are_those_of_a_plain_rewrite(num_litters: int, ranking: str) -> None:
    for fitness in fitness_tables():
        found = pair_weights(np.array(fitness), num_litters, ranking)
        np.testing.assert_allclose(found, plain_weights(fitness, num_litters, ranking), rtol=1e-14)


def test_weights_of_two_litters_by_hand() -> None:
    # Pairs 0 and 2 are litter 0, with fitness 4, 1, 3, 2: utilities 3, 0, 2, 1 over 3, less a half.
    # Pairs 1 and 3 are litter 1, where one failed and two are equal: 10, 10, NaN, 20: utilities 1.5, 1.5, 0, 3.
    found = pair_weights(np.array([4, 1, 10, 10, 3, 2, math.nan, 20]), 2)
    total = (3 + 3 + 1 + 1) / 6 + (0 + 0 + 3 + 3) / 6
    np.testing.assert_allclose(found, [1 / total, 0, 1 / 3 / total, -1 / total])


def test_pairs_are_weighted_by_the_signed_rank_of_their_difference() -> None:
    # Differences 3, -1, 0 and one that failed: ranks 3, 2, 1 (without a sign), 4.
    found = pair_weights(np.array([5, 2, 1, 2, 7, 7, 0, math.nan]), 4, "pair")
    np.testing.assert_allclose(found, np.array([3, -2, 0, 4]) / 9)


@pytest.mark.parametrize("ranking", ["litter", "pair"])
def test_children_that_are_all_equal_move_nothing(ranking: str) -> None:
    assert pair_weights(np.ones(8), 2, ranking).tolist() == [0] * 4


def test_children_come_in_mirrored_pairs_that_are_dealt_out_to_the_litters() -> None:
    chosen = Multifactorial(EIGHT)
    state = chosen.start(1, SPACE)
    assert (state.entries["base"].tolist(), state.generation) == ([ROOT], 0)
    children = chosen.children(state)
    offsets = children["offset"].tolist()
    assert offsets[::2] == offsets[1::2]
    assert len(set(offsets)) == 4
    assert children["factor"].tolist() == [0.5, -0.5] * 4
    assert children["base"].tolist() == [0] * 8
    assert children["task"].tolist() == children["episode"].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


def test_the_mean_of_the_centres_is_what_is_evaluated_again_and_handed_out() -> None:
    chosen = Multifactorial(EIGHT)
    contender = chosen.contenders(chosen.start(1, SPACE), None)
    assert (contender["base"].tolist(), contender["offset"].tolist()) == ([1], [UNCHANGED])
    vectors = np.arange(2 * NUM_PARAMS, dtype=np.float32).reshape(2, -1)
    assert chosen.incumbent(chosen.start(1, SPACE), vectors).tolist() == vectors[1].tolist()


def test_a_state_holds_coefficients_and_the_std_of_its_children() -> None:
    chosen = Multifactorial(dataclasses.replace(EIGHT, std_final=0.125))
    fitness = [4, 1, 10, 10, 3, 2, 5, 20]
    outcome = chosen.next(chosen.start(1, SPACE), records(*fitness), records(2, 5), progress(0.5))
    assert (outcome.fitness, outcome.std, outcome.contender, outcome.state.generation) == (3.5, 0.5, 0, 1)
    expected = 2.0 * 0.5 * pair_weights(np.array(fitness), 2)
    assert outcome.state.entries["factor"].tolist() == expected.astype(np.float32).tolist()
    assert outcome.state.entries["std"].tolist() == pytest.approx([0.25] * 4)
    assert chosen.children(outcome.state)["factor"][0] == pytest.approx(0.25)


def test_a_generation_of_failures_only_is_an_error_in_words() -> None:
    chosen = Multifactorial(EIGHT)
    with pytest.raises(SelectionError, match=r"^generation 0: expected at least one child with a finite fitness"):
        chosen.next(chosen.start(1, SPACE), records(*[math.nan] * 8), records(1, 2), AT_START)


def test_an_incumbent_that_fails_has_no_fitness_and_the_run_goes_on() -> None:
    chosen = Multifactorial(EIGHT)
    outcome = chosen.next(chosen.start(1, SPACE), records(*range(8)), records(1, math.inf), AT_START)
    assert math.isnan(outcome.fitness)


def course_of(settings: MultifactorialConfig, toy: Toy, number: int = 5) -> Course:
    """Return a course of random fitness with failures, whose vectors `next` gets from `rebuild`."""
    chosen, random = Multifactorial(settings), np.random.default_rng(7)
    course = Course(chosen.start(1, SPACE), [])
    for generation in range(number):
        fitness = random.normal(size=8)
        fitness[generation % 8] = math.nan
        vectors = rebuild(chosen, course, NOISE, toy)
        now = Progress(generation / number, Sources.whole(NOISE, toy, vectors))
        following = chosen.next(course.state, records(*fitness), records(1, 2), now).state
        course = Course(course.initial, [*course.history, following.entries])
    return course


def plain_vectors(course: Course, toy: Toy) -> list[Float32Array]:
    """Return centre, mean of the centres, and path (of CSA), computed in one piece in the stated order."""
    scale = np.ones(NUM_PARAMS, np.float32) if toy.scale is None else toy.scale
    root = int(course.initial.entries["offset"][0])
    centre = toy.initial(NOISE.block(root, NUM_PARAMS))
    mean, path = centre.copy(), np.zeros(NUM_PARAMS, np.float32)
    for generation, entries in enumerate(course.history, 1):
        shift = np.zeros(NUM_PARAMS, np.float32)
        for offset, factor in zip(entries["offset"].tolist(), entries["factor"], strict=True):
            shift = shift + factor * NOISE.block(offset, NUM_PARAMS)
        centre = centre + (shift if toy.scale is None else shift * scale)
        mean = mean + np.float32(9 / (generation + 8)) * (centre - mean)
        if "step" in (entries.dtype.names or ()):
            step = entries["step"][0]
            effective = 1 / np.sum((entries["factor"].astype(np.float64) / step) ** 2)
            decay = (effective + 2) / (NUM_PARAMS + effective + 5)
            factor = np.float32(math.sqrt(decay * (2 - decay) * effective) / step)
            path = np.float32(1 - decay) * path + factor * shift
    return [centre, mean, path]


@pytest.mark.parametrize("settings", [EIGHT, CSA], ids=["schedule", "csa"])
@pytest.mark.parametrize("toy", [Toy(), SCALED], ids=["plain", "scaled"])
def test_vectors_are_those_of_a_plain_rewrite_to_the_last_bit(settings: MultifactorialConfig, toy: Toy) -> None:
    course = course_of(settings, toy)
    vectors = rebuild(Multifactorial(settings), course, NOISE, toy)
    for found, expected in zip(vectors, plain_vectors(course, toy), strict=False):
        assert found.tobytes() == expected.tobytes()
    assert len(vectors) == (3 if settings is CSA else 2)


def test_csa_follows_the_length_of_the_path() -> None:
    course, std = course_of(CSA, SCALED), 0.5
    for generation, entries in enumerate(course.history, 1):
        path = plain_vectors(Course(course.initial, course.history[:generation]), SCALED)[2].astype(np.float64)
        effective = 1 / np.sum((entries["factor"].astype(np.float64) / (2.0 * std)) ** 2)
        decay = (effective + 2) / (NUM_PARAMS + effective + 5)
        std = min(std * math.exp(decay * (math.sqrt(float(path @ path) / NUM_PARAMS) - 1)), 0.5 * math.e**2)
        assert entries["std"].tolist() == pytest.approx([std] * 4, rel=1e-12)
    assert std != 0.5


def test_csa_leaves_the_std_where_no_child_differs() -> None:
    chosen = Multifactorial(CSA)
    vectors = np.zeros((3, NUM_PARAMS), np.float32)
    now = Progress(0.0, Sources.whole(NOISE, Toy(), vectors))
    following = chosen.next(chosen.start(1, SPACE), records(*[1.0] * 8), records(1, 1), now).state
    assert following.entries["std"].tolist() == [0.5] * 4
    after = np.ones((3, NUM_PARAMS), np.float32)
    chosen.update(following, now.sources, Part(range(3), after))
    assert after.tolist() == vectors.tolist()


@pytest.mark.parametrize("settings", [EIGHT, CSA], ids=["schedule", "csa"])
def test_an_update_in_parts_has_the_bits_of_one_in_one_piece(
    settings: MultifactorialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = course_of(settings, SCALED)
    whole = rebuild(Multifactorial(settings), course, NOISE, SCALED)
    parts = [
        rebuild(Multifactorial(settings), course, NOISE, SCALED, where=where) for where in (slice(0, 3), slice(3, 7))
    ]
    assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()
    # The path's length is summed by parts, so only its last digits may differ.
    monkeypatch.setattr("gamaml.evolution.multifactorial_recombination.PART", 3)
    for entries, other in zip(course.history, course_of(settings, SCALED).history, strict=True):
        np.testing.assert_allclose(entries["std"], other["std"], rtol=1e-6)


def genome(course: Course, entry: np.void) -> LinearGenome:
    return linear_genome_of(entry, course.initial.entries, course.history)


@pytest.mark.parametrize("settings", [EIGHT, CSA], ids=["schedule", "csa"])
def test_a_range_of_any_candidate_follows_from_its_genome_alone(settings: MultifactorialConfig) -> None:
    chosen, course = Multifactorial(settings), course_of(settings, SCALED)
    vectors = rebuild(chosen, course, NOISE, SCALED)
    candidates = [chosen.contenders(course.state, None)[0], *chosen.children(course.state)[[0, 5]]]
    for entry in candidates:
        out = np.empty(NUM_PARAMS, np.float32)
        chosen.decode(entry, Sources.whole(NOISE, SCALED, vectors), out)
        found = genome(course, entry)
        for where in (slice(0, NUM_PARAMS), slice(2, 5)):
            assert found.parameters(NOISE, SCALED, where).tobytes() == out[where].tobytes()
        # As one sum, whose order of addition is another.
        assert SCALED.scale is not None
        offsets, coefficients = found.terms
        total = SCALED.initial(NOISE.block(found.root, NUM_PARAMS)).astype(np.float64)
        for offset, coefficient in zip(offsets.tolist(), coefficients.tolist(), strict=True):
            total += coefficient * SCALED.scale * NOISE.block(offset, NUM_PARAMS)
        np.testing.assert_allclose(out, total, rtol=1e-5, atol=1e-5)
    assert genome(course, candidates[0]).nbytes == 8 + 12 * 20
    assert genome(course, candidates[1]).num_mutations == 21


def test_the_root_is_a_genome_of_eight_bytes() -> None:
    chosen = Multifactorial(EIGHT)
    course = Course(chosen.start(1, SPACE), [])
    found = genome(course, chosen.contenders(course.initial, None)[0])
    assert (found.nbytes, found.num_mutations) == (8, 0)
    expected = Toy().initial(NOISE.block(found.root, NUM_PARAMS))
    assert found.parameters(NOISE, Toy()).tobytes() == expected.tobytes()


def test_most_of_the_mean_is_on_the_last_fifth_of_the_centres() -> None:
    shares = list(mean_shares(1000))
    # The weight of centre g is what its shift has in the mean beyond the next centre's.
    weights = np.array(shares) - np.array([*shares[1:], 0.0])
    assert shares[0] == pytest.approx(1.0)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[800:].sum() == pytest.approx(1 - 0.8**9, abs=0.01)


def test_where_all_tasks_are_one_there_is_one_litter() -> None:
    environment = config(task=TaskConfig(), env=EnvConfig(id="CartPole-v1")).multifactorial
    assert environment is not None
    assert environment.litters == 1
    with pytest.raises(ConfigError, match="^multifactorial.litters=4: expected 1 with env.id"):
        config(task=TaskConfig(), env=EnvConfig(id="CartPole-v1"), multifactorial=MultifactorialConfig(litters=4))


@pytest.mark.parametrize(
    ("section", "litters"),
    [
        (MultifactorialConfig(), 8),
        (MultifactorialConfig(population_size=12), 3),
        (MultifactorialConfig(population_size=2), 1),
        (MultifactorialConfig(population_size=12, ranking="pair"), 6),
    ],
)
def test_the_default_number_of_litters_divides_the_pairs(section: MultifactorialConfig, litters: int) -> None:
    found = config(multifactorial=section)
    assert found.multifactorial is not None
    assert found.multifactorial.litters == litters
    assert chosen_strategy.make(found) == Multifactorial(found.multifactorial)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population_size": 5}, "multifactorial.population_size=5: expected an even number"),
        ({"litters": 3}, "multifactorial.litters=3: expected a divisor of the 4 pairs, .* choose e.g. 2"),
        ({"litters": 4}, "multifactorial.litters=4: expected litters of at least two pairs"),
        (
            {"std_final": 0.1, "step_control": "csa"},
            'multifactorial.std_final=0.1: expected none with step_control = "csa"',
        ),
        ({"rate": 0.0}, "multifactorial.rate=0.0: expected a finite number above 0"),
        ({"ranking": "litters"}, "multifactorial.ranking='litters': unknown; did you mean 'litter'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        config(multifactorial=dataclasses.replace(EIGHT, **changes))  # type: ignore[arg-type]


def test_litters_and_children_of_their_own_tasks_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="^inner.share_tasks=False: expected true with strategy = "):
        config(inner=InnerConfig(share_tasks=False))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (EIGHT, "population 8 in mirrored pairs, 2 litters, std 0.5, rate 2"),
        (dataclasses.replace(EIGHT, litters=1, std_final=0.1), "1 litter, std 0.5 to 0.1"),
        (CSA, "std 0.5 at first, adapted by the path's length"),
        (dataclasses.replace(EIGHT, ranking="pair"), "ranked by the difference in each pair"),
    ],
)
def test_the_description_names_the_settings(settings: MultifactorialConfig, words: str) -> None:
    assert words in Multifactorial(settings).describe()["multifactorial"]
