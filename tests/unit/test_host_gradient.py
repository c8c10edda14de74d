"""Gradient MAML on host environments: its derivatives by hand and against those of JAX tasks, and what it costs."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from host_cases import Walks

from gamaml import config as cfg
from gamaml import problems
from gamaml.config import Config
from gamaml.engine.evaluation import child_key
from gamaml.envs.spaces import Spaces
from gamaml.errors import ConfigError
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.gradient_maml import GradientMAML
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, rebuild
from gamaml.evolution.strategy import Part, Space
from gamaml.inner.host_updates import HostUpdates
from gamaml.inner.learners import LOSSES, rl_learner
from gamaml.inner.loop import adapted_loss, update
from gamaml.inner.optimisers import OPTIMISERS
from gamaml.inner.rounds import Learned
from gamaml.inner.start_jax import start_jax
from gamaml.policies import mlp
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Learning
from gamaml.problems import CompleteProblem
from gamaml.problems.host_problem import HostProblem
from gamaml.rollouts.host_rollout import Batch
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import EvaluationKey, Float32Array, Float64Array


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def config(**sections: Any) -> Config:
    mapping: dict[str, Any] = {
        "strategy": "maml",
        "task": {"name": "m:Walks"},
        "stop": {"generations": 1},
        "noise": {"size": 100_000},
    }
    return cfg.from_mapping({**mapping, **sections})


def key_of(settings: Config) -> EvaluationKey:
    return child_key(settings.seed, 0, task=0, episode=0)


def floats(*values: float) -> Float32Array:
    return np.array(values, np.float32)


def initial(problem: Any, seed: int = 1) -> Float32Array:
    return problem.initial(np.random.default_rng(seed).standard_normal(problem.num_params, np.float32))


def linear(inner: dict[str, Any], *, first_order: bool = False, **policy: Any) -> Config:
    """Return a config of a linear policy, whose REINFORCE is written by hand below."""
    inner = {"episodes": 12, "step_size": 0.1, "normalise_advantages": False, "discount": 0.9, **inner}
    return config(policy={"hidden": [], "std": 0.4, **policy}, inner=inner, maml={"first_order": first_order})


def surrogate(network: Float64Array, std: float, batch: Batch, *, discrete: bool) -> float:
    """Return minus the mean over the steps of advantage times log probability, in float64."""
    alive, total, number = batch.alive, 0.0, 0
    to_go = np.zeros(alive.shape)
    following = np.zeros(len(alive))
    for step in reversed(range(alive.shape[1])):
        following = to_go[:, step] = batch.rewards[:, step].astype(np.float64) + 0.9 * following
    for step in range(alive.shape[1]):
        rows = np.flatnonzero(alive[:, step])
        for row in rows:
            advantage = to_go[row, step] - to_go[rows, step].mean()
            x, action = float(batch.observations[row, step, 0]), float(batch.actions[row, step, 0])
            if discrete:
                logits = network[:2] * x + network[2:]
                log_prob = logits[int(action)] - math.log(np.exp(logits).sum())
            else:
                log_prob = -(((action - network[0] * x - network[1]) / std) ** 2) / 2 - math.log(std)
            total, number = total + advantage * log_prob, number + 1
    return -total / number


def slopes(function: Callable[[Float64Array], float], at: Float64Array, size: float = 1e-4) -> Float64Array:
    rows = size * np.eye(len(at))
    return np.array([(function(at + row) - function(at - row)) / (2 * size) for row in rows])


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("discrete", "rounds"), [(False, 1), (True, 2)])
def test_the_gradient_is_the_one_made_by_hand(first_order: bool, discrete: bool, rounds: int) -> None:
    inner = {"rounds": rounds, "num_tasks": 1, "step_size_gene": "global"}
    settings = linear(inner, first_order=first_order)
    problem = problems.make_problem(settings, Walks(discrete=discrete))
    assert isinstance(problem.wrapped, HostProblem)
    params = initial(problem)
    found = problem.gradient(params, key_of(settings))
    batches = [recording for recording in problem.wrapped._loop.batches if recording is not None]
    assert len(batches) == rounds + 1 and not batches[-1].alive.all()
    size = 4 if discrete else 2

    def by_network(network: Float64Array, std: float, batch: Batch) -> Float64Array:
        return slopes(lambda network: surrogate(network, std, batch, discrete=discrete), network)

    def outer(vector: Float64Array, constants: list[Float64Array] | None) -> float:
        network, step, std = vector[:size], math.exp(vector[size]), 0.4 if discrete else math.exp(vector[-1])
        for index, batch in enumerate(batches[:-1]):
            gradient = by_network(network, std, batch) if constants is None else constants[index]
            network = network - step * gradient
        return -surrogate(network, std, batches[-1], discrete=discrete)

    constants, network = list[Float64Array](), params[:size].astype(np.float64)
    for batch in batches[:-1]:
        constants.append(by_network(network, 0.4, batch))
        network = network - 0.1 * constants[-1]
    expected = slopes(lambda vector: outer(vector, constants if first_order else None), params.astype(np.float64), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=0.003 * np.abs(expected).max())
    assert len(found) == size + (1 if discrete else 2)


class Corridor:
    """The walk in JAX."""

    observation_size, action_size, horizon = 1, 1, 5

    def sample(self, key: jax.Array) -> jax.Array:
        return jnp.float32(0.8)

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.float32(0), jnp.zeros(1, jnp.float32)

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        position = state + action[0]
        return position, position[None], -((position - task) ** 2), jnp.abs(position - task) < 0.1


@pytest.mark.parametrize(
    ("learner", "optimiser", "baseline", "first_order"),
    [
        ("reinforce", "sgd", "linear", False),
        ("actor_critic", "sgd", "mean", False),
        ("reinforce", "adam", "mean", True),
    ],
)
def test_host_and_jax_tasks_have_the_same_gradient_of_the_same_batches(
    learner: str, optimiser: str, baseline: str, first_order: bool
) -> None:
    inner = {"rounds": 2, "learner": learner, "optimiser": optimiser, "baseline": baseline, "episodes": 8}
    run = config(policy={"hidden": [4]}, inner=inner, maml={"first_order": first_order})
    critic = mlp.shapes(1, 4, 1, prefix=mlp.CRITIC) if learner == "actor_critic" else {}
    layout = Layout.of(mlp.shapes(1, 4, 1) | critic)
    network = np.random.default_rng(0).standard_normal(layout.size, np.float32)
    learning = Learning(
        network,
        np.full((1, len(layout.arrays)), 0.1, np.float32),
        np.array([0.4], np.float32),
        np.zeros((1, 0), np.float32),
    )
    no_factors, keys = jnp.zeros(0, jnp.float32), jax.random.split(jax.random.key(1), 3)
    chosen = OPTIMISERS[optimiser]
    corridor = partial(rl_learner, Corridor(), LOSSES[learner], run.policy, run.inner, factors=no_factors)
    in_jax = corridor(std=jnp.asarray(learning.std[0]))

    def by_name(step_sizes: Any) -> dict[str, Any]:
        return {name: step_sizes[i] for i, (name, _) in enumerate(layout.arrays)}

    def total(network: Any, step_sizes: Any, std: Any) -> Any:
        goal, steps = jnp.float32(0.8), by_name(step_sizes[0])
        return adapted_loss(
            corridor(std=std[0]),
            layout.unflatten(network),
            goal,
            keys,
            step_sizes_at=lambda index: steps,
            optimiser=chosen,
            first_order=first_order,
        )[0]

    expected = jax.jit(jax.grad(total, argnums=(0, 1, 2)))(*(jnp.asarray(part) for part in learning[:3]))
    params: Any = {name: jnp.asarray(array) for name, array in layout.unflatten(network).items()}
    steps, learned = by_name(jnp.asarray(learning.step_sizes[0])), Learned(params, chosen.start(params))
    recordings = list[Batch]()

    @jax.jit
    def one_round(learned: Learned, key: jax.Array) -> Any:
        batch = in_jax.collect(learned.network, jnp.float32(0.8), key)
        return batch, update(learned, None, batch, loss=in_jax.loss, optimiser=chosen, step_sizes=steps)

    for key in keys:
        batch, learned = one_round(learned, key)
        recordings.append(Trajectory(*(np.array(array) for array in batch)))
    spaces = Spaces((1,), 1, None, (1,), floats(-1), floats(1))
    host = HostUpdates(run, layout, spaces, Corridor.horizon, derivative_order=1 if first_order else 2)
    found = host.gradient(learning, recordings)
    for one, other in zip(found, expected, strict=True):
        largest = float(np.abs(other).max())
        assert largest > 1e-3
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * largest)


def walks(**inner: Any) -> tuple[Config, Walks, CompleteProblem]:
    inner = {"rounds": 2, "num_tasks": 3, "episodes": 4, **inner}
    settings, task = config(policy={"hidden": [4]}, inner=inner), Walks()
    problem = problems.make_problem(settings, task)
    return settings, task, problem


def test_an_evaluation_is_that_of_the_other_strategies_and_its_gradient_takes_no_further_step() -> None:
    settings, task, problem = walks()
    params, key = initial(problem), key_of(settings)
    expected = problems.make_problem(dataclasses.replace(settings, strategy="ga"), Walks()).evaluate(params, key)
    found = problem.evaluate(params, key)
    assert found.returns.tobytes() == expected.returns.tobytes()
    assert (found.fitness, found.steps) == (expected.fitness, expected.steps)
    assert task.env is not None and task.env.steps == found.steps
    gradient = problem.gradient(params.copy(), key)
    assert task.env.steps == found.steps
    # As an interrupted run computes it: without an evaluation before.
    assert walks()[2].gradient(params, key).tobytes() == gradient.tobytes()
    assert problem.gradient(params + 1, key).tobytes() != gradient.tobytes()


def test_the_gradient_is_the_mean_over_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _, problem = walks(step_size_gene="none")
    seen: list[Float32Array] = []
    own = HostUpdates.gradient

    def noted(self: HostUpdates, *arguments: Any) -> Any:
        found = own(self, *arguments)
        seen.append(found[0])
        return found

    monkeypatch.setattr(HostUpdates, "gradient", noted)
    gradient = problem.gradient(initial(problem), key_of(settings))
    assert len(seen) == 3 and np.abs(seen[0] - seen[1]).max() > 1e-4
    size = len(seen[0])
    np.testing.assert_allclose(gradient[:size], -np.mean(seen, axis=0), rtol=1e-6, atol=1e-9)


def test_updates_that_diverge_have_no_gradient() -> None:
    settings, _, problem = walks(step_size=1e9)
    params, key = initial(problem), key_of(settings)
    assert math.isnan(problem.evaluate(params, key).fitness)
    assert np.isnan(problem.gradient(params, key)).all()


def test_60_updates_raise_the_return_after_adaptation() -> None:
    inner = {"rounds": 1, "num_tasks": 4, "episodes": 10, "step_size": 0.1}
    settings = config(policy={"hidden": [8], "std": 0.3}, inner=inner, maml={"step_size": 0.02})
    chosen, problem = chosen_strategy.make(settings), problems.make_problem(settings, Walks())
    assert isinstance(chosen, GradientMAML)
    noise, state = LazyNoise(size=100_000, seed=5), chosen.start(settings.seed, Space(problem.num_params, 1000))
    vectors = rebuild(chosen, Course(state, []), noise, problem)
    found = list[float]()
    for generation in range(1, 61):
        found.append(problem.evaluate(vectors[0], child_key(settings.seed, generation - 1, task=0, episode=0)).fitness)
        before, vectors = vectors, np.empty_like(vectors)
        state = state.followed_by(chosen.children(state))
        chosen.update(state, Sources.whole(noise, problem, before), Part(range(3), vectors))
    assert np.mean(found[-10:]) > 0.6 * np.mean(found[:10])  # both below 0


def test_what_one_candidate_cannot_go_on_with_is_refused() -> None:
    inner = {"rounds": 1, "num_tasks": 1}
    marked = config(inner=inner, env={"on_fault": "mark"})
    with pytest.raises(ConfigError, match=r'^env.on_fault=.mark.: expected "stop" with strategy=.maml., whose update'):
        problems.make_problem(marked, Walks())

    class Careless(Walks):
        reproducible = False

    with pytest.raises(ConfigError, match=r"^strategy='maml': expected a task whose seed decides an episode, since"):
        problems.make_problem(config(inner=inner), Careless())
