"""Inner updates on host environments: the JAX tasks' own updates, what is recorded, and how tasks are handed out."""

from __future__ import annotations

import math
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from host_cases import config, key, params_of

from gamaml import problems
from gamaml.envs.spaces import Spaces
from gamaml.errors import ConfigError
from gamaml.inner.host_updates import HostUpdates
from gamaml.inner.learners import LOSSES, rl_learner
from gamaml.inner.loop import update
from gamaml.inner.optimisers import optimiser_of
from gamaml.inner.rounds import Learned
from gamaml.inner.start_jax import start_jax
from gamaml.policies import mlp
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Learning, RoundGenes
from gamaml.problems.host_problem import HostProblem
from gamaml.rollouts.host_rollout import EnvironmentFault
from gamaml.rollouts.trajectory import Trajectory

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


class Corridor:
    """In JAX: the position moves by the action; the reward is minus the squared distance to the task's goal."""

    observation_size, action_size, horizon = 1, 1, 6

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (), jnp.float32, 0.5, 1.0)

    def reset(self, task: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.float32(0), jnp.zeros(1, jnp.float32)

    def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
        position = state + action[0]
        return position, position[None], -((position - task) ** 2), jnp.abs(position - task) < 0.1


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


SPACES = Spaces((1,), 1, None, (1,), floats(-1), floats(1))


@pytest.mark.parametrize(
    ("learner", "optimiser", "decay", "gene", "baseline"),
    [
        ("reinforce", "sgd", 0.5, "layer", "mean"),
        ("reinforce", "adam", 0.5, "parameter", "linear"),
        ("actor_critic", "adam", 1.0, "layer", "mean"),
    ],
)
def test_host_and_jax_tasks_make_the_same_updates_of_the_same_batches(
    learner: str, optimiser: str, decay: float, gene: str, baseline: str
) -> None:
    optimising = {"optimiser": optimiser, "step_size_decay": decay, "step_size_gene": gene}
    run = config(learner=learner, baseline=baseline, episodes=8, genes=["discount"], **optimising)
    critic = mlp.shapes(1, 4, 1, prefix=mlp.CRITIC) if learner == "actor_critic" else {}
    layout = Layout.of(mlp.shapes(1, 4, 1) | critic)
    random = np.random.default_rng(0)
    number = layout.size if gene == "parameter" else len(layout.arrays)
    network = random.standard_normal(layout.size, np.float32)
    genes = RoundGenes(random.uniform(0.05, 0.2, number).astype(np.float32), np.array(0.4, np.float32), floats(0.9))
    learning = Learning(network, *(np.asarray(gene)[None] for gene in genes))
    in_jax = rl_learner(
        Corridor(), LOSSES[learner], run.policy, run.inner, jnp.asarray(genes.std), jnp.asarray(genes.factors)
    )
    params = {name: jnp.asarray(array) for name, array in layout.unflatten(learning.network).items()}
    steps = {
        name: jnp.asarray(array)
        for name, array in (
            layout.unflatten(genes.step_sizes)
            if gene == "parameter"
            else dict(zip(params, genes.step_sizes, strict=True))
        ).items()
    }
    chosen = optimiser_of(run.inner)
    expected = Learned(params, chosen.start(params))
    host = HostUpdates(run, layout, SPACES, Corridor.horizon, derivative_order=0)
    learned = host.start(learning)
    for rounds in range(2):
        batch = in_jax.collect(expected.network, jnp.float32(0.8), jax.random.key(rounds))
        assert not np.asarray(batch.alive).all()
        expected = update(expected, None, batch, loss=in_jax.loss, optimiser=chosen, step_sizes=steps)
        before = learned.network
        learned = host.update(learned, genes, Trajectory(*(np.asarray(array) for array in batch)))
        np.testing.assert_allclose(learned.network, layout.flatten(expected.network), rtol=2e-4, atol=1e-6)
        assert np.abs(learned.network - before).max() > 1e-3


class Space:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Line:
    """The observation is (position, seed's parity); the reward is the action, or 1 for action 0 if it is discrete."""

    observation_space = Space(shape=(2,))

    def __init__(self, task: Any, length: int = 5, discrete: bool = False) -> None:
        self.task, self.length, self.discrete = task, length, discrete
        bounds = {"low": floats(-0.5), "high": floats(0.5)}
        self.action_space = Space(n=2) if discrete else Space(shape=(1,), **bounds)
        self.actions: list[Any] = []
        self.closed = False

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        self.steps, self.parity = 0, seed % 2
        return [0.0, self.parity], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.actions.append(np.copy(action))
        reward = float(action == self.task) if self.discrete else self.task * float(action[0])
        return [self.steps / 10, self.parity], reward, self.steps == self.length + self.parity, False, {}

    def close(self) -> None:
        self.closed = True


class Lines:
    horizon = 8

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments
        self.made: list[Line] = []

    def sample(self, generator: np.random.Generator) -> float:
        return float(generator.integers(2)) if self.arguments.get("discrete") else float(generator.choice((-1, 1)))

    def make_env(self, task: Any) -> Line:
        self.made.append(Line(task, **self.arguments))
        return self.made[-1]


class Kept(Lines):
    """One environment, which is told its task."""

    told: list[float]

    def set_task(self, env: Line, task: float) -> None:
        self.told = [*getattr(self, "told", []), task]
        env.task = task


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("learner", ["reinforce", "actor_critic"])
def test_a_class_with_make_env_and_sample_adapts(discrete: bool, learner: str) -> None:
    run = config(learner=learner, episodes=20, step_size=0.5, num_tasks=4)
    problem = problems.make_problem(run, Lines(discrete=discrete))
    result = problem.evaluate(params_of(problem), key())
    assert (problem.metric, problem.num_rounds, result.returns.shape) == ("return", 2, (3,))
    assert result.fitness == pytest.approx(float(result.returns[-1]))
    assert result.returns[2] > result.returns[0] + 0.3


def test_reinforce_climbs_a_two_armed_bandit_as_its_closed_form_says() -> None:
    class Unseen(Line):
        def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            return [0.0, 0.0], {}

    class Arms(Lines):
        horizon = 1

        def sample(self, generator: np.random.Generator) -> float:
            return 0.0

        def make_env(self, task: Any) -> Line:
            return Unseen(0, length=1, discrete=True)

    policy = {"hidden": []}
    run = config(policy, rounds=1, num_tasks=1, episodes=4000, step_size=2.0, normalise_advantages=False)
    problem = problems.make_problem(run, Arms())
    logit = math.log(0.3 / 0.7)
    params = np.array([0, 0, 0, 0, logit, 0], np.float32)
    returns = problem.evaluate(params, key()).returns
    # The derivatives of p = 0.3 by the logits are +-p (1 - p); the step 2 moves their difference by 4 p (1 - p).
    after = 1 / (1 + math.exp(-(logit + 4 * 0.3 * 0.7)))
    assert returns == pytest.approx([0.3, after], abs=0.03)


def test_what_is_recorded_is_what_the_network_saw_and_drew() -> None:
    problem = problems.make_problem(config({"std": 5.0}, rounds=1, num_tasks=1), Kept())
    problem.evaluate(params_of(problem), key())
    host = problem.wrapped
    assert isinstance(host, HostProblem)
    recording, env = host._loop.batches[0], host._environments._env
    assert recording is not None
    lengths = recording.alive.sum(axis=1)
    parities = recording.observations[:, 0, 1]
    assert lengths.tolist() == (5 + parities).tolist()
    for episode, length in enumerate(lengths):
        assert recording.alive[episode, :length].all()
        np.testing.assert_allclose(recording.observations[episode, :length, 0], np.arange(length) / 10)
        assert not recording.observations[episode, length:].any() and not recording.actions[episode, length:].any()
    drawn = np.concatenate([recording.actions[episode, :length, 0] for episode, length in enumerate(lengths)])
    assert np.abs(drawn).max() > 2.0
    taken = np.array(env.actions[: len(drawn)])[:, 0]
    np.testing.assert_array_equal(taken, np.clip(drawn, -0.5, 0.5))
    rewards = np.concatenate([recording.rewards[episode, :length] for episode, length in enumerate(lengths)])
    np.testing.assert_allclose(rewards, env.task * taken, rtol=1e-6)


def test_an_evaluation_depends_on_parameters_and_key_alone() -> None:
    problem = problems.make_problem(config(step_size_gene="layer"), Lines())
    params = params_of(problem)
    first = problem.evaluate(params, key(1))
    copy = params.copy()
    other = problem.evaluate(params_of(problem, seed=1), key(2))
    again = problem.evaluate(params, key(1))
    assert again.returns.tobytes() == first.returns.tobytes() != other.returns.tobytes()
    assert (again.fitness, again.scalars) == (first.fitness, first.scalars)
    np.testing.assert_array_equal(params, copy)
    fresh = problems.make_problem(config(step_size_gene="layer"), Lines())
    assert fresh.evaluate(params, key(1)).returns.tobytes() == first.returns.tobytes()


@pytest.mark.parametrize("discrete", [False, True])
def test_an_episode_does_not_depend_on_those_played_before_it(discrete: bool) -> None:
    problem = problems.make_problem(config(), Lines(discrete=discrete)).wrapped
    assert isinstance(problem, HostProblem)
    player = problem._player
    player.load(problem._vector.network.unflatten(params_of(problem)[: problem._vector.network.size]))
    seeds = player.draw_seeds(np.random.default_rng(0), (8,))
    together = player.play(Line(1.0, discrete=discrete), seeds, 0.5)
    backwards = player.play(Line(1.0, discrete=discrete), seeds[::-1], 0.5)
    assert together == backwards[::-1] and len(set(together)) > 2


def test_every_step_of_every_round_is_counted() -> None:
    problem = problems.make_problem(config(), Kept(length=20))  # cut at the horizon
    assert problem.evaluate(params_of(problem), key()).steps == 2 * 3 * 3 * Kept.horizon


def test_one_environment_serves_all_tasks_if_it_can_be_told_its_task() -> None:
    kept, made = Kept(), Lines()
    both = [problems.make_problem(config(num_tasks=6), task) for task in (kept, made)]
    params = params_of(both[0])
    found = [problem.evaluate(params, key()) for problem in both]
    assert found[0].returns.tobytes() == found[1].returns.tobytes()
    assert (len(kept.made), kept.made[0].closed) == (1, False)
    assert len(made.made) == 1 + 6 and all(env.closed for env in made.made)
    assert kept.told[-6:] == [env.task for env in made.made[-6:]]


def test_tasks_can_be_drawn_together() -> None:
    class Both(Kept):
        def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
            return [(-1.0) ** index for index in range(number)]

    task = Both()
    problem = problems.make_problem(config(num_tasks=4), task)
    problem.evaluate(params_of(problem), key())
    assert task.told[-4:] == [1, -1, 1, -1]


def test_too_few_tasks_are_refused() -> None:
    class Short(Kept):
        def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
            return [1.0]

    problem = problems.make_problem(config(num_tasks=4), Short())
    with pytest.raises(ConfigError, match=r"expected sample_many\(generator, 4\) to give 4 tasks, got 1"):
        problem.evaluate(params_of(problem), key())


def test_held_out_tasks_of_a_finite_set_come_in_turn_and_training_draws_as_before() -> None:
    class Three(Kept):
        all_tasks = (1.0, -1.0, 0.5)

    task, drawn = Three(), Kept()
    problem, other = (problems.make_problem(config(num_tasks=1), each) for each in (task, drawn))
    params, wrapped = params_of(problem), problem.wrapped
    assert isinstance(wrapped, HostProblem) and isinstance(other.wrapped, HostProblem)
    for index in range(7):
        wrapped.evaluate_held_out(params, key(index), index)
    assert task.told[-7:] == [1.0, -1.0, 0.5, 1.0, -1.0, 0.5, 1.0]
    expected = other.evaluate(params, key())
    assert problem.evaluate(params, key()).returns.tobytes() == expected.returns.tobytes()
    assert other.wrapped.evaluate_held_out(params, key(), 5).returns.tobytes() == expected.returns.tobytes()


def horizon_of(env: dict[str, Any], horizon: int | None, own: int | None) -> int:
    class Limited(Line):
        spec = Space(max_episode_steps=own)

    class Task:
        def make_env(self, task: Any) -> Line:
            return Limited(1.0)

    if horizon is not None:
        Task.horizon = horizon  # pyright: ignore[reportAttributeAccessIssue]
    problem = problems.make_problem(config(env=env), Task()).wrapped
    assert isinstance(problem, HostProblem)
    recording = problem._loop.batches[0]
    assert recording is not None
    return recording.rewards.shape[1]


def test_the_horizon_is_the_configs_or_the_classs_or_the_environments_own() -> None:
    assert horizon_of({"max_steps": 3}, 7, 9) == 3
    assert horizon_of({"max_steps": 30}, 7, 9) == 7
    assert horizon_of({}, None, 9) == 9
    with pytest.raises(ConfigError, match="a limit on the steps of an episode, got none; set env.max_steps, or give"):
        horizon_of({}, None, None)


def test_a_fault_marks_the_child_in_all_rounds() -> None:
    class Breaks(Line):
        def step(self, action: Any) -> Any:
            if len(self.actions) == 20:
                raise RuntimeError("the joint broke")
            return super().step(action)

    class Task(Kept):
        def make_env(self, task: Any) -> Line:
            return Breaks(task)

    problem = problems.make_problem(config(env={"on_fault": "mark"}), Task())
    found = problem.evaluate(params_of(problem), key())
    assert found.fault and np.isnan(found.returns).tolist() == [True] * 3
    problem = problems.make_problem(config(), Task())
    with pytest.raises(EnvironmentFault, match="the joint broke"):
        problem.evaluate(params_of(problem), key())


def test_convolutional_networks_have_no_inner_updates() -> None:
    with pytest.raises(ConfigError, match="policy.network='nature': expected \"mlp\" with inner.rounds=2"):
        problems.make_problem(config({"network": "nature", "hidden": [100, 100]}), Lines())


def test_the_nan_of_one_child_stays_its_own() -> None:
    problem = problems.make_problem(config(), Lines())
    params = params_of(problem)
    expected = problem.evaluate(params, key()).returns.tobytes()
    broken = params.copy()
    broken[:4] = np.nan
    assert np.isnan(problem.evaluate(broken, key()).fitness)
    assert problem.evaluate(params, key()).returns.tobytes() == expected
    # A step of 1e9 ends the task before an environment meets the outcome.
    diverged = problems.make_problem(config(step_size=1e9), Lines()).evaluate(params, key())
    assert np.isfinite(diverged.returns).tolist() == [True, False, False] and not diverged.fault


CUSTOM_ENV = ROOT / "examples" / "custom_env.py"


def test_the_custom_environment_is_under_25_lines_and_adapts() -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    text = CUSTOM_ENV.read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) < 25
    task = runpy.run_path(str(CUSTOM_ENV))["Swapped"]()
    run = config({"hidden": [16]}, rounds=1, episodes=20, step_size=1.0, optimiser="adam")
    problem = problems.make_problem(run, task)
    result = problem.evaluate(params_of(problem), key())
    assert result.returns[0] > 9 and np.isfinite(result.returns).all()
    assert result.steps < 2 * 2 * 20 * task.horizon


def test_the_page_shows_the_custom_environment_as_it_is() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "meta-rl.md").read_text(), flags=re.DOTALL)
    assert CUSTOM_ENV.read_text() in blocks
