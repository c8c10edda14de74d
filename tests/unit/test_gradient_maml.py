"""Gradient MAML: its derivatives against closed forms and finite differences, and its updates."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corridor import Corridor
from doubles import AT_START

from gamaml import config as cfg
from gamaml import problems
from gamaml.config import Config
from gamaml.engine.evaluation import ChildKeys
from gamaml.errors import ConfigError, SelectionError
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.gradient_maml import GradientMAML, centre_key
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, Snapshot, rebuild
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import Part, Space
from gamaml.inner import reinforce
from gamaml.inner.learners import rl_learner
from gamaml.inner.start_jax import start_jax
from gamaml.problems import CompleteProblem
from gamaml.problems.differentiated import derivative_order
from gamaml.types import EvaluationKey, Float32Array

NOISE = LazyNoise(size=100_000, seed=5)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def array(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def config(**sections: Any) -> Config:
    mapping: dict[str, Any] = {"strategy": "maml", "task": {"name": "sinusoid"}, "stop": {"generations": 1}}
    return cfg.from_mapping({**mapping, **sections})


def key_of(settings: Config) -> EvaluationKey:
    return centre_key(settings.seed, 0)


class Bowl:
    """Half the squared distance of `w` to 3: a step s leaves (1 - s) of the distance."""

    shapes: Mapping[str, tuple[int, ...]] = {"w": ()}

    def sample(self, key: jax.Array) -> jax.Array:
        return array(3.0)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        return 0.5 * (params["w"] - task) ** 2


class Wave:
    """A curve of two arrays, whose second derivatives are no constants, on points that the key draws."""

    shapes: Mapping[str, tuple[int, ...]] = {"a": (2,), "b": ()}

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (), jnp.float32, 0.5, 1.5)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        x = jax.random.uniform(key, (20,), jnp.float32, -1, 1)
        curve = params["a"][0] * jnp.sin(params["a"][1] * x) + params["b"] * x**2
        return jnp.mean((curve - jnp.sin(task * x)) ** 2)


class EndlessCorridor(Corridor):
    """A corridor whose episodes all last as long as its horizon."""

    horizon = 5

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        position, observation, reward, _ = super().step(state, action, task, key)
        return position, observation, reward, jnp.asarray(False)


@pytest.mark.parametrize("first_order", [False, True])
def test_gradients_of_a_bowl_are_the_closed_form(first_order: bool) -> None:
    rounds, step, distance = 3, 0.25, -1.5
    inner = {"rounds": rounds, "num_tasks": 2, "step_size": step, "step_size_gene": "global"}
    settings = config(inner=inner, maml={"first_order": first_order})
    problem = problems.make_problem(settings, Bowl())
    params = np.array([3 + distance, math.log(step)], np.float32)
    left = 1 - step
    after = left**rounds * distance
    by_w = after if first_order else left**rounds * after
    # First order: every update adds minus its own gradient; second: it also shrinks what those before it added.
    own = -sum(left**k for k in range(rounds)) * distance
    by_step = after * (own if first_order else -rounds * left ** (rounds - 1) * distance)
    found = problem.gradient(params, key_of(settings))
    np.testing.assert_allclose(found, [-by_w, -by_step * step], rtol=1e-5)
    evaluation = problem.evaluate(params, key_of(settings))
    assert evaluation.fitness == pytest.approx(-(after**2) / 2)
    assert evaluation.returns.tolist() == pytest.approx([(left**k * distance) ** 2 / 2 for k in range(rounds + 1)])


@pytest.mark.parametrize(("gene", "decay"), [("none", 1.0), ("global", 1.0), ("layer", 0.7), ("parameter", 1.0)])
def test_second_order_is_the_derivative_of_the_fitness(gene: str, decay: float) -> None:
    inner = {"rounds": 3, "num_tasks": 4, "step_size": 0.3, "step_size_gene": gene, "step_size_decay": decay}
    settings = config(inner=inner)
    problem = problems.make_problem(settings, Wave())
    params = problem.initial(np.random.default_rng(1).standard_normal(problem.num_params, np.float32))

    def fitness(params: Float32Array) -> float:
        return problem.evaluate(params, key_of(settings)).fitness

    numeric = finite_differences(fitness, params, 1e-2)
    found = problem.gradient(params, key_of(settings))
    np.testing.assert_allclose(found, numeric, rtol=0.02, atol=0.02 * np.abs(numeric).max())


def test_evaluations_are_those_of_the_other_strategies() -> None:
    inner = {"rounds": 2, "num_tasks": 4}
    settings = config(inner=inner)
    own, other = (
        problems.make_problem(each, Wave()) for each in (settings, dataclasses.replace(settings, strategy="ga"))
    )
    params = own.initial(np.ones(own.num_params, np.float32))
    found, expected = (each.evaluate(params, key_of(settings)) for each in (own, other))
    np.testing.assert_allclose(found.returns, expected.returns, rtol=1e-5)
    assert (found.steps, found.scalars) == (expected.steps, expected.scalars)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_gradient_of_a_policy_goes_through_updates_on_fixed_trajectories(first_order: bool) -> None:
    inner = {"rounds": 1, "num_tasks": 1, "episodes": 12, "step_size": 0.2, "step_size_gene": "global"}
    policy = {"hidden": [3], "activation": "tanh", "std": 0.4, "output_scale": 1.0}
    settings = config(inner=inner, policy=policy, maml={"first_order": first_order})
    task = EndlessCorridor()
    problem = problems.make_problem(settings, task)
    params = problem.initial(np.random.default_rng(2).standard_normal(problem.num_params, np.float32))
    key = key_of(settings)
    task_key, episode_key = (
        jax.random.split(jax.random.wrap_key_data(jnp.asarray(data), impl="threefry2x32"), 1)[0]
        for data in (key.task, key.episode)
    )
    goal, keys = task.sample(task_key), jax.random.split(episode_key, 2)

    def parts(params: Any) -> tuple[dict[str, jax.Array], jax.Array, Any]:
        arrays = problem.arrays(np.asarray(params, np.float32))
        network = {name: array(arrays[name]) for name in ("w0", "b0", "w1", "b1")}
        learn = partial(rl_learner, task, reinforce.loss, settings.policy, settings.inner)
        return network, array(arrays["step_sizes"][0]), learn(array(arrays["std"]), jnp.zeros(0, jnp.float32))

    network, step, learner = parts(params)
    before = learner.collect(network, goal, keys[0])
    constant = jax.grad(learner.loss)(network, goal, before)
    adapted = {name: network[name] - step * constant[name] for name in network}
    after = learner.collect(adapted, goal, keys[1])

    def outer(params: Float32Array) -> float:
        network, step, learner = parts(params)
        inner = constant if first_order else jax.grad(learner.loss)(network, goal, before)
        return -float(learner.loss({name: network[name] - step * inner[name] for name in network}, goal, after))

    numeric = finite_differences(outer, params, 1e-2)
    found = problem.gradient(params, key)
    np.testing.assert_allclose(found, numeric, rtol=0.03, atol=0.02 * np.abs(numeric).max())


def finite_differences(function: Callable[[Float32Array], float], params: Float32Array, size: float) -> Float32Array:
    rows = size * np.eye(len(params), dtype=np.float32)
    return np.array([(function(params + row) - function(params - row)) / (2 * size) for row in rows], np.float32)


def sinusoid() -> tuple[Config, GradientMAML, CompleteProblem]:
    inner = {"rounds": 1, "num_tasks": 10, "step_size": 0.01, "step_size_gene": "layer"}
    settings = config(policy={"hidden": [20, 20]}, inner=inner, maml={"step_size": 0.01})
    chosen, problem = chosen_strategy.make(settings), problems.make_problem(settings)
    assert isinstance(chosen, GradientMAML)
    return settings, chosen, problem


def test_200_updates_lower_the_loss_of_the_sinusoid_and_can_be_repeated_from_any_snapshot() -> None:
    settings, chosen, problem = sinusoid()
    course = Course(chosen.start(settings.seed, Space(problem.num_params, 1000)), [])
    vectors = rebuild(chosen, course, NOISE, problem)
    losses, stored = [], None
    for generation in range(1, 201):
        evaluation = problem.evaluate(vectors[0], centre_key(settings.seed, generation - 1))
        losses.append(float(evaluation.returns[-1]))
        records = np.zeros(1, record_dtype(1, problem.scalars))
        records["fitness"] = evaluation.fitness
        outcome = chosen.next(course.state, records, records[:0], AT_START)
        assert outcome.fitness == evaluation.fitness
        course = Course(course.initial, [*course.history, outcome.state.entries])
        before, vectors = vectors, np.empty_like(vectors)
        chosen.update(outcome.state, Sources.whole(NOISE, problem, before), Part(range(3), vectors))
        if generation == 195:
            stored = Snapshot(195, vectors.copy())
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:20])
    latest = dataclasses.replace(course, snapshot=stored)
    parts = [
        rebuild(chosen, latest, NOISE, problem, where=slice(*ends)) for ends in ((0, 100), (100, problem.num_params))
    ]
    again = np.concatenate(parts, axis=1)
    assert again.tobytes() == vectors.tobytes()
    first = rebuild(chosen, dataclasses.replace(course, history=course.history[:3]), NOISE, problem)
    assert first[0].tobytes() != vectors[0].tobytes()


def test_the_first_update_has_the_length_of_the_step_size() -> None:
    settings, chosen, problem = sinusoid()
    initial = chosen.start(settings.seed, Space(problem.num_params, 1000))
    before = rebuild(chosen, Course(initial, []), NOISE, problem)
    after = np.empty_like(before)
    following = initial.followed_by(chosen.children(initial))
    chosen.update(following, Sources.whole(NOISE, problem, before), Part(range(3), after))
    gradient = problem.gradient(before[0], centre_key(settings.seed, 0))
    large = np.abs(gradient) > 1e-3
    np.testing.assert_allclose((after - before)[0][large], 0.01 * np.sign(gradient[large]), rtol=1e-3, atol=1e-6)


def test_the_randomness_of_the_centre_is_that_of_child_0() -> None:
    settings, chosen, problem = sinusoid()
    children = chosen.children(chosen.start(settings.seed, Space(problem.num_params, 1000)))
    for generation in (0, 7):
        own, child = centre_key(settings.seed, generation), ChildKeys(settings.seed, generation, children)[0]
        assert (own.task.tolist(), own.episode.tolist()) == (child.task.tolist(), child.episode.tolist())


def test_a_centre_that_fails_ends_the_run_in_words() -> None:
    _, chosen, problem = sinusoid()
    records = np.zeros(1, record_dtype(1, problem.scalars))
    records["fitness"] = math.nan
    with pytest.raises(SelectionError, match=r"^generation 0: expected a finite fitness of the centre, got nan; try"):
        chosen.next(chosen.start(1, Space(problem.num_params, 1000)), records, records[:0], AT_START)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"maml": {"step_size": 0.0}}, "maml.step_size=0.0: expected a finite number above 0"),
        ({"inner": {"rounds": 0}}, 'inner.rounds=0: expected at least 1 with strategy = "maml"'),
        ({"inner": {"genes": ["discount"]}}, r"inner.genes=\['discount'\]: expected none with strategy = \"maml\""),
        ({"inner": {"optimiser": "adam"}}, "inner.optimiser='adam': expected 'sgd' with maml.first_order = false"),
    ],
)
def test_settings_without_a_derivative_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        config(**sections)


@pytest.mark.parametrize(
    ("sections", "order"),
    [({"strategy": "ga"}, 0), ({"strategy": "es"}, 0), ({"maml": {"first_order": True}}, 1), ({}, 2)],
)
def test_the_strategy_decides_which_derivative_a_problem_has(sections: dict[str, Any], order: int) -> None:
    assert derivative_order(config(**sections)) == order


def test_what_has_no_derivative_is_refused() -> None:
    own = problems.make_problem(config(), Bowl())
    with pytest.raises(ConfigError, match="^strategy='maml': expected a task with inner updates, which have derivativ"):
        problems.make_problem(config(), own)
    with pytest.raises(ConfigError, match="^inner.batch_size=2: expected 1 with strategy=.maml."):
        problems.make_problem(config(inner={"batch_size": 2}))


def test_adam_inside_is_differentiated_in_the_first_order() -> None:
    inner = {"rounds": 2, "num_tasks": 2, "optimiser": "adam", "step_size": 0.05}
    settings = config(inner=inner, maml={"first_order": True})
    problem = problems.make_problem(settings, Bowl())
    found = problem.gradient(np.array([1.0], np.float32), key_of(settings))
    # Two steps of Adam in the same direction are 0.05 long each.
    np.testing.assert_allclose(found, [2 - 2 * 0.05], rtol=1e-3)
