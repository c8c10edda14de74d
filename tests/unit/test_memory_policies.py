"""Policies with memory: each step against numbers by hand, the episode's loop, and what is refused."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.errors import ConfigError
from gamaml.inner.start_jax import start_jax
from gamaml.policies import gru, tcn
from gamaml.policies import recurrent as memory
from gamaml.policies.recurrent import Recurrent
from gamaml.rollouts.jax_rollout import returns, rollout

RANDOM = np.random.Generator(np.random.SFC64(1))


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def random_arrays(shapes: dict[str, tuple[int, ...]]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(RANDOM.standard_normal(shape, np.float32)) for name, shape in shapes.items()}


def run(module: Any, params: Any, hidden: list[int], inputs: np.ndarray, activation: str = "tanh") -> np.ndarray:
    """Return the outputs of a network for a sequence of inputs."""
    remembered = [jnp.zeros(shape, jnp.float32) for shape in module.memory_shapes(inputs.shape[1], hidden)]
    outputs: list[Any] = []
    for x in inputs:
        remembered, y = module.step(params, remembered, jnp.asarray(x), activation)
        outputs.append(y)
    return np.array(outputs)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_gru_is_the_one_of_the_paper_written_out() -> None:
    hidden = [3, 2]
    params = random_arrays(gru.shapes(4, hidden, 5))
    inputs = RANDOM.standard_normal((6, 4), np.float32)
    p = {name: np.asarray(array, np.float64) for name, array in params.items()}
    states = [np.zeros(3), np.zeros(2)]
    expected: list[np.ndarray] = []
    for x in inputs.astype(np.float64):
        for k, units in enumerate(hidden):
            w, u, b = (np.split(p[f"{name}{k}"], 3, axis=-1) for name in ("input", "memory", "bias"))
            h = states[k]
            z, r = (sigmoid(x @ w[gate] + h @ u[gate] + b[gate]) for gate in (1, 2))
            states[k] = x = z * h + (1 - z) * np.tanh(x @ w[0] + b[0] + r * (h @ u[0]))
            assert x.shape == (units,)
        expected.append(x @ p["output"] + p["output_bias"])
    np.testing.assert_allclose(run(gru, params, hidden, inputs), expected, rtol=1e-4, atol=1e-5)


def test_tcn_is_a_stack_of_causal_dilated_convolutions() -> None:
    hidden = [3, 4, 2]
    params = random_arrays(tcn.shapes(2, hidden, 5))
    inputs = RANDOM.standard_normal((20, 2), np.float32)
    p = {name: np.asarray(array, np.float64) for name, array in params.items()}
    x = inputs.astype(np.float64)
    for k in range(3):
        before = np.concatenate([np.zeros((2**k, x.shape[1])), x])[:20]
        x = np.maximum(before @ p[f"w{k}"][0] + x @ p[f"w{k}"][1] + p[f"b{k}"], 0)
    expected = x @ p["output"] + p["output_bias"]
    np.testing.assert_allclose(run(tcn, params, hidden, inputs, "relu"), expected, rtol=1e-4, atol=1e-5)


def test_tcn_sees_as_many_steps_as_its_layers_allow() -> None:
    hidden = [3, 3, 3]
    params = random_arrays(tcn.shapes(1, hidden, 1))
    inputs = RANDOM.standard_normal((12, 1), np.float32)
    last = run(tcn, params, hidden, inputs)[-1]
    for ago, sees in ((7, True), (8, False)):
        changed = inputs.copy()
        changed[-1 - ago] += 1
        assert (run(tcn, params, hidden, changed)[-1] != last) == sees


class Clock:
    """Ends after `task` steps; pays the action."""

    observation_size, action_size, horizon = 1, 1, 5

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return task, jnp.ones(1, jnp.float32)

    def sample(self, key: jax.Array) -> jax.Array:
        return jnp.asarray(3.0, jnp.float32)

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        return state - 1, jnp.ones(1, jnp.float32), action[0], state <= 1


def counting(params: Any, remembered: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    return remembered + observation, params["w"][None] * remembered


COUNTER = Recurrent(lambda: jnp.zeros(1, jnp.float32), counting)


def test_a_memory_goes_from_step_to_step_and_begins_anew_with_every_episode() -> None:
    params = {"w": jnp.asarray([1.0, 10.0], jnp.float32)}
    lengths = jnp.asarray([[4.0, 2.0], [9.0, 1.0]], jnp.float32)
    keys = jax.random.split(jax.random.key(0), (2, 2, 3))
    found = jax.jit(partial(returns, Clock(), COUNTER))(params, None, lengths, keys)
    # n steps pay 0 + 1 + ... + (n - 1), at most 5 of them
    np.testing.assert_array_equal(found.total, np.repeat([[[6], [1]], [[100], [0]]], 3, axis=2))


def test_a_rollout_remembers_as_returns_do() -> None:
    params, length = {"w": jnp.asarray(2.0, jnp.float32)}, jnp.asarray(4.0, jnp.float32)
    trajectory = rollout(Clock(), COUNTER, params, None, length, jax.random.key(0))
    assert trajectory.actions[:4, 0].tolist() == [0, 2, 4, 6]
    assert trajectory.alive.tolist() == [True] * 4 + [False]


def config(network: str, **changes: dict[str, Any]) -> cfg.Config:
    """Return a config of the bandit, with changed sections; an environment takes the task's place."""
    sections: dict[str, Any] = {
        "policy": {"network": network, "hidden": [4], "std": 0, "std_gene": False},
        "inner": {"rounds": 0, "num_tasks": 2, "episodes": 1},
        "stop": {"generations": 1},
        "noise": {"size": 20000},
        **({} if "env" in changes else {"task": {"name": "bandit"}}),
    }
    return cfg.from_mapping(sections | {name: {**sections.get(name, {}), **changes[name]} for name in changes})


@pytest.mark.parametrize(("network", "num_params"), [("gru", 7 * 12 + 4 * 12 + 12 + 25), ("tcn", 2 * 7 * 4 + 4 + 25)])
def test_a_network_with_memory_has_its_own_parameters(network: str, num_params: int) -> None:
    assert problems.make_problem(config(network)).num_params == num_params


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (
            "gru",
            {"inner": {"rounds": 1}, "policy": {"std": 0.5}},
            "inner.rounds=1: expected 0 with policy.network='gru'",
        ),
        ("tcn", {"policy": {"hidden": []}}, "expected at least one layer with policy.network='tcn'"),
        ("gru", {"inner": {"episodes": 2}}, "inner.episodes=2: expected 1 for task 'bandit' with policy.std=0"),
        (
            "nature",
            {"policy": {"hidden": [100, 100]}},
            "policy.network='nature': expected one of mlp, gru, tcn for task 'bandit'",
        ),
        ("gru", {"task": {"name": "sinusoid"}}, "policy.network='gru': expected one of mlp for task 'sinusoid'"),
        (
            "tcn",
            {"env": {"id": "CartPole-v1"}},
            "expected one of mlp, nature, ga-dist for task 'CartPole-v1'",
        ),
    ],
)
def test_what_cannot_work_is_refused(network: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        problems.make_problem(config(network, **changes))


def test_a_policy_with_memory_begins_with_zeros_of_its_sizes() -> None:
    policy = cfg.PolicyConfig(network="tcn", hidden=(3, 2))
    assert [array.shape for array in memory.recurrent(policy, 5).start()] == [(1, 5), (2, 3)]
