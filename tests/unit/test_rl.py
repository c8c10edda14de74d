"""Rollouts, returns and the policy gradient; episodes on the host."""

import subprocess
import sys
import textwrap
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
from gamaml.evolution import streams
from gamaml.inner.start_jax import start_jax
from gamaml.policies import gaussian
from gamaml.problems import CompleteProblem
from gamaml.rollouts.jax_rollout import returns, rollout
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import EvaluationKey


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def array(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


class Countdown:
    """Ends after `task` steps, pays 1 per step, and turns to NaN after its end."""

    observation_size, action_size, horizon = 1, 1, 5

    def sample(self, key: jax.Array) -> jax.Array:
        return array(3.0)

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return task, task[None]

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        left = jnp.where(state > 0, state - 1, jnp.nan)
        return left, left[None], jnp.where(state > 0, 1.0, jnp.nan), left == 0


def constant_network(params: Any, observation: jax.Array) -> jax.Array:
    return observation * jnp.broadcast_to(params["w"], observation.shape)


def params() -> dict[str, jax.Array]:
    return {"w": array(2.0)}


def play(length: float) -> Trajectory[jax.Array]:
    return rollout(Countdown(), constant_network, params(), array(0.5), array(length), jax.random.key(0))


class Lengths(Countdown):
    """A countdown whose length belongs to the episode."""

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        length = 1 + jax.random.randint(key, (), 0, 4).astype(jnp.float32)
        return length, length[None]


def many(definition: Any, std: jax.Array | None, lengths: list[list[float]], episodes: int = 2) -> Any:
    tasks = array(lengths)
    keys = jax.random.split(jax.random.key(0), (*tasks.shape, episodes))
    weights = {"w": array([2.0, -1.0])}
    play = jax.jit(partial(returns, definition, constant_network))
    return play(weights, std, tasks, keys), weights, std, tasks, keys


@pytest.mark.parametrize("noisy", [False, True])
def test_returns_are_those_of_the_rollouts_with_the_same_keys(noisy: bool) -> None:
    class Paid(Lengths):
        def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
            left, seen, reward, done = super().step(state, action, task, key)
            return left, seen, reward * action[0] + task + jax.random.uniform(key, (), jnp.float32), done

    std = array([0.5, 2.0]) if noisy else None
    found, *arguments = many(Paid(), std, [[3.0, 1.0, 7.0], [2.0, 5.0, 0.0]])
    one_by_one = partial(rollout, Paid(), constant_network)
    for axes in ((None, None, None, 0), (None, None, 0, 0), (0, 0, 0, 0)):
        one_by_one = jax.vmap(one_by_one, in_axes=axes)
    expected = jax.jit(one_by_one)(*arguments)
    assert found.total.shape == (2, 3, 2)
    np.testing.assert_allclose(found.total, expected.rewards.sum(axis=3), rtol=1e-5)
    np.testing.assert_array_equal(found.steps, expected.alive.sum(axis=3))


def test_returns_count_no_step_after_the_end_and_none_after_the_horizon() -> None:
    found = many(Countdown(), None, [[3.0, 1.0], [2.0, 100.0]])[0]
    assert found.steps.tolist() == [[[3, 3], [1, 1]], [[2, 2], [5, 5]]]
    assert found.total.tolist() == found.steps.tolist()


def test_nothing_is_stepped_once_every_episode_has_ended() -> None:
    calls: list[int] = []

    class Counted(Countdown):
        def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
            jax.debug.callback(lambda: calls.append(1))
            return super().step(state, action, task, key)

    many(Counted(), None, [[3.0, 1.0], [2.0, 2.0]], episodes=1)
    jax.effects_barrier()
    assert len(calls) == 3  # the longest episode


def test_without_a_std_the_action_is_the_mean() -> None:
    trajectory = rollout(Countdown(), constant_network, params(), None, array(3.0), jax.random.key(0))
    assert trajectory.actions[:3, 0].tolist() == [6.0, 4.0, 2.0]


def test_rollout_stops_counting_at_the_end_of_the_episode() -> None:
    trajectory = play(3.0)
    assert trajectory.alive.tolist() == [True, True, True, False, False]
    assert trajectory.rewards.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert trajectory.observations[:4, 0].tolist() == [3.0, 2.0, 1.0, 0.0]


def test_an_episode_without_end_is_cut_at_the_horizon() -> None:
    assert play(100.0).alive.tolist() == [True] * 5


def test_reward_of_another_shape_is_refused_with_its_name() -> None:
    class Wrong(Countdown):
        def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
            return state, state[None], action, state == 0

    with pytest.raises(TypeError, match=r"task.step: reward: expected float32\[\], got float32 of shape \(1,\)"):
        rollout(Wrong(), constant_network, params(), array(0.5), array(3.0), jax.random.key(0))


def test_sampled_actions_have_the_mean_and_std_of_the_policy() -> None:
    noise = jax.random.normal(jax.random.key(0), (4000, 1), jnp.float32)
    actions = jax.vmap(lambda one: gaussian.action(array([3.0]), array(0.5), one))(noise)
    assert float(actions.mean()) == pytest.approx(3.0, abs=0.03)
    assert float(actions.std()) == pytest.approx(0.5, abs=0.03)


class Space:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Walk:
    """Pays the action; the first observation is the seed's parity; ends after `length` steps."""

    observation_space = Space(shape=(1, 2))

    def __init__(self, length: int, action_space: Space, truncate: bool = False) -> None:
        self.length, self.action_space, self.truncate = length, action_space, truncate
        self.steps, self.closed = 0, False

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return np.array([[seed % 2, 1]]), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps == self.length
        reward = float(np.sum(action))
        return np.array([[0, 1]]), reward, over and not self.truncate, over and self.truncate, {}

    def close(self) -> None:
        self.closed = True


class HostWalk:
    def __init__(self, **arguments: Any) -> None:
        self.arguments = {"length": 4, "action_space": Space(n=3), **arguments}
        self.made: list[Walk] = []

    def make_env(self, task: Any) -> Walk:
        self.made.append(Walk(**self.arguments))
        return self.made[-1]


CONFIG = cfg.from_mapping(
    {
        "task": {"name": "walk:HostWalk"},
        "policy": {"hidden": []},
        "inner": {"rounds": 0, "num_tasks": 2, "episodes": 3},
        "stop": {"generations": 1},
    }
)


def key(seed: int = 1) -> EvaluationKey:
    return EvaluationKey(
        streams.key(seed, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES, index=seed)
    )


def biased(problem: CompleteProblem, *biases: float) -> np.ndarray:
    params = np.zeros(problem.num_params, np.float32)
    params[-len(biases) :] = biases
    return params


def test_discrete_action_is_the_largest_output_action_0_included() -> None:
    problem = problems.make_problem(CONFIG, HostWalk())
    assert problem.num_params == 2 * 3 + 3
    assert problem.evaluate(biased(problem, 0, 0, 1), key()).fitness == 4 * 2
    assert problem.evaluate(biased(problem, 1, 0, 0), key()).fitness == 0.0


def test_continuous_action_is_clipped_to_the_bounds() -> None:
    low, high = np.array([-1.0, -1.0], np.float32), np.array([1.0, 0.5], np.float32)
    problem = problems.make_problem(CONFIG, HostWalk(action_space=Space(shape=(2,), low=low, high=high)))
    assert problem.evaluate(biased(problem, 9, 9), key()).fitness == 4 * 1.5


@pytest.mark.parametrize("truncate", [False, True])
def test_host_episodes_end_by_termination_and_by_truncation(truncate: bool) -> None:
    result = problems.make_problem(CONFIG, HostWalk(truncate=truncate)).evaluate(np.zeros(9, np.float32), key())
    assert result.steps == 2 * 3 * 4
    assert result.returns.tolist() == [result.fitness]


def test_host_evaluation_depends_on_the_key_alone() -> None:
    problem = problems.make_problem(CONFIG, HostWalk())
    params = problem.initial(np.random.default_rng(3).standard_normal(9, np.float32))
    first = problem.evaluate(params, key(1))
    problem.evaluate(params, key(2))
    assert problem.evaluate(params, key(1)).fitness == first.fitness


def test_one_environment_serves_all_episodes_of_a_task_without_sample() -> None:
    task = HostWalk()
    problems.make_problem(CONFIG, task).evaluate(np.zeros(9, np.float32), key())
    assert len(task.made) == 1


def test_sampled_tasks_get_an_environment_each_which_is_closed() -> None:
    class Sampled(HostWalk):
        def sample(self, generator: np.random.Generator) -> int:
            return int(generator.integers(10))

    task = Sampled()
    problems.make_problem(CONFIG, task).evaluate(np.zeros(9, np.float32), key())
    assert len(task.made) == 1 + 2 and all(env.closed for env in task.made)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"action_space": Space(shape=(2,))}, "expected action_space with n"),
        ({"observation_space": Space()}, "expected observation_space to have a shape"),
        ({"step": None}, "got Broken without 'step'"),
    ],
)
def test_an_environment_of_another_form_is_refused(attributes: dict[str, Any], message: str) -> None:
    class Broken:
        observation_space = Space(shape=(1,))
        action_space = Space(n=2)
        reset = step = None

    env = Broken()
    env.__dict__.update({name: value for name, value in attributes.items() if value is not None})
    for name in [name for name, value in attributes.items() if value is None]:
        delattr(Broken, name)

    class Task:
        def make_env(self, task: Any) -> Any:
            return env

    with pytest.raises(ConfigError, match=message):
        problems.make_problem(CONFIG, Task())


def test_a_host_problem_never_imports_jax() -> None:
    program = """
        import sys
        import numpy as np
        from gamaml import config, problems
        from gamaml.evolution import streams
        from gamaml.types import EvaluationKey

        class Space: pass

        class Env:
            observation_space, action_space = Space(), Space()
            observation_space.shape, action_space.n = (1,), 2
            def reset(self, *, seed): return [0.0], {}
            def step(self, action): return [0.0], 1.0, True, False, {}

        class Task:
            def make_env(self, task): return Env()

        mapping = {"task": {"name": "m:Task"}, "inner": {"rounds": 0}, "stop": {"generations": 1}}
        problem = problems.make_problem(config.from_mapping(mapping), task=Task())
        key = streams.key(1, streams.Purpose.TASKS)
        params = problem.initial(np.ones(problem.num_params, np.float32))
        assert problem.evaluate(params, EvaluationKey(key, key)).fitness == 1.0
        assert "jax" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
