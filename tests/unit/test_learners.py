"""The inner learners: advantages by hand, gradients by finite differences, REINFORCE by its closed form."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corridor import Corridor

from gamaml import config as cfg
from gamaml import problems
from gamaml.config import InnerConfig, PolicyConfig
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.inner import advantages, learners
from gamaml.inner.learners import LOSSES, policy_of, settings_of
from gamaml.inner.loop import update
from gamaml.inner.objective import Settings
from gamaml.inner.optimisers import OPTIMISERS
from gamaml.inner.rounds import Learned
from gamaml.inner.start_jax import start_jax
from gamaml.policies import mlp
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import EvaluationKey


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def array(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def batch_of(rewards: Any, alive: Any = None, observations: Any = None, actions: Any = None) -> Trajectory[jax.Array]:
    """Return a batch; observations and actions are of size 1 and 0 where they do not matter."""
    rewards = array(rewards)
    alive = jnp.ones(rewards.shape, bool) if alive is None else jnp.asarray(alive)
    nothing = jnp.zeros((*rewards.shape, 1), jnp.float32)
    return Trajectory(
        nothing if observations is None else array(observations),
        nothing if actions is None else array(actions),
        rewards,
        alive,
    )


def random_batch(seed: int, episodes: int = 4, horizon: int = 6, num_observed: int = 3, num_acted: int = 2) -> Any:
    """Return a batch with episodes of different lengths."""
    random = np.random.default_rng(seed)
    alive = np.arange(horizon) < random.integers(2, horizon + 1, (episodes, 1))

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal((episodes, horizon, *shape), np.float32)

    return batch_of(normal() * alive, alive, normal(num_observed), normal(num_acted))


ABOVE_MEAN = partial(advantages.above_baseline, baseline="mean")


def test_rewards_to_go_are_discounted_sums_of_what_follows() -> None:
    assert advantages.rewards_to_go(array([1, 2, 4]), 0.5).tolist() == [3.0, 4.0, 4.0]
    assert advantages.rewards_to_go(array([1, 2, 4]), 1.0).tolist() == [7.0, 6.0, 4.0]


def test_advantage_is_the_difference_from_the_mean_of_the_living() -> None:
    batch = batch_of([[1, 2], [3, 0], [5, 4]], [[True, True], [True, False], [True, True]])
    # rewards-to-go: [3, 2], [3, dead], [9, 4]; baselines 5 (of three) and 3 (of two)
    assert ABOVE_MEAN(batch, discount=1.0).tolist() == [[-2.0, -1.0], [-2.0, 0.0], [4.0, 1.0]]


def test_normalised_advantages_have_mean_0_and_std_1_over_the_steps_that_happened() -> None:
    batch = random_batch(0)
    alive = np.asarray(batch.alive)
    value = np.asarray(advantages.normalised(ABOVE_MEAN(batch, discount=0.9), batch.alive))
    assert value[alive].mean() == pytest.approx(0, abs=1e-6)
    assert value[alive].std() == pytest.approx(1, rel=1e-5)
    assert np.all(value[~alive] == 0)


def test_equal_episodes_give_zero_advantages_and_no_nan() -> None:
    batch = batch_of([[1, 2], [1, 2]])
    value = advantages.normalised(ABOVE_MEAN(batch, discount=0.9), batch.alive)
    assert value.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_positive_definite_systems_are_solved() -> None:
    root = np.random.default_rng(0).standard_normal((30, 12), np.float32)
    matrix, vector = root.T @ root / 30, np.arange(12, dtype=np.float32)
    found = advantages.solve(array(matrix), array(vector))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, vector), rtol=1e-4)


def test_linear_baseline_is_the_ridge_regression_of_the_living_steps() -> None:
    batch = random_batch(1, episodes=20, horizon=10)
    alive, targets = np.asarray(batch.alive), np.asarray(batch.observations).sum(axis=2) ** 2
    found = advantages.linear_baseline(batch.observations, array(alive), array(targets))
    t = np.broadcast_to(np.arange(10) / 10, alive.shape)[alive]
    observed = np.asarray(batch.observations)[alive]
    features = np.column_stack([observed, observed**2, t, t**2, t**3]).astype(np.float64)
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    y = targets[alive] - targets[alive].mean()
    fitted = x @ np.linalg.solve(x.T @ x / len(x) + 1e-4 * np.eye(x.shape[1]), x.T @ y / len(x))
    np.testing.assert_allclose(np.asarray(found)[alive], fitted + targets[alive].mean(), atol=1e-3)


def test_linear_baseline_explains_what_is_linear_and_ignores_what_never_changes() -> None:
    batch = random_batch(2, episodes=8, horizon=12)
    observations = batch.observations.at[:, :, 1].set(7.0)
    linear = 3 * observations[:, :, 0] - observations[:, :, 2] ** 2 + 5
    found = advantages.linear_baseline(observations, array(batch.alive), linear)
    alive = np.asarray(batch.alive)
    np.testing.assert_allclose(np.asarray(found)[alive], np.asarray(linear)[alive], atol=0.01)


def test_generalised_advantages_are_those_of_the_definition() -> None:
    rewards, values, alive = array([1, 2, 4, 0]), array([0.5, 1, 2, 99]), jnp.asarray([True, True, True, False])
    found = advantages.generalised(rewards, values, alive, 0.5, 0.5)
    # Differences: 1 + 0.5 * 1 - 0.5 = 1; 2 + 0.5 * 2 - 1 = 2; 4 - 2 = 2; each counts a quarter in the one before.
    assert found.tolist() == [1 + 0.25 * 2.5, 2.5, 2.0, 0.0]
    # With lambda 1, the rewards-to-go above the values.
    whole = advantages.generalised(rewards, values, alive, 0.5, 1.0)
    np.testing.assert_allclose(whole[:3], advantages.rewards_to_go(rewards, 0.5)[:3] - values[:3], rtol=1e-6)


POLICY = PolicyConfig(hidden=(5,), activation="tanh")


def params_of(critic: bool, num_observed: int = 3, num_acted: int = 2) -> dict[str, jax.Array]:
    shapes = mlp.shapes(num_observed, 5, num_acted)
    if critic:
        shapes |= mlp.shapes(num_observed, 5, 1, prefix=mlp.CRITIC)
    random = np.random.default_rng(3)
    return {name: array(random.standard_normal(shape, np.float32) / 2) for name, shape in shapes.items()}


def differences(loss: Callable[[Any], jax.Array], params: dict[str, jax.Array], name: str) -> np.ndarray:
    """Return the derivatives by one array, by central differences."""
    loss, step = jax.jit(loss), 1e-2
    found = np.empty(params[name].size)
    for i in range(found.size):
        moved = [
            params | {name: params[name].reshape(-1).at[i].add(d).reshape(params[name].shape)} for d in (step, -step)
        ]
        found[i] = (float(loss(moved[0])) - float(loss(moved[1]))) / (2 * step)
    return found.reshape(params[name].shape)


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("baseline", ["mean", "linear"])
def test_gradient_of_reinforce_is_that_of_finite_differences(discrete: bool, baseline: str) -> None:
    batch, params = random_batch(4), params_of(critic=False)
    if discrete:
        batch = batch._replace(actions=(batch.actions[:, :, :1] > 0).astype(jnp.float32))
    settings = settings_of(InnerConfig(baseline=baseline), array([]))
    policy = policy_of(POLICY, array(0.7), discrete=discrete)

    def loss(params: Any) -> jax.Array:
        return LOSSES["reinforce"](policy, params, batch, settings)

    gradient = jax.grad(loss)(params)
    for name in params:
        np.testing.assert_allclose(gradient[name], differences(loss, params, name), atol=2e-3, err_msg=name)
    assert max(float(jnp.abs(value).max()) for value in gradient.values()) > 0.05


def test_gradients_of_actor_and_critic_are_those_of_finite_differences() -> None:
    batch, params = random_batch(5), params_of(critic=True)
    settings, policy = settings_of(InnerConfig(), array([])), policy_of(POLICY, array(0.7))

    def loss(params: Any) -> jax.Array:
        return LOSSES["actor_critic"](policy, params, batch, settings)

    # The critic's targets are constants to the gradient, so its loss is written down with those of `params`.
    values = jax.vmap(jax.vmap(partial(policy.value, params)))(batch.observations)
    estimate = partial(advantages.generalised, discount=settings.discount, gae_lambda=settings.gae_lambda)
    targets = jax.vmap(estimate)(batch.rewards, values, batch.alive) + values

    def critic_loss(params: Any) -> jax.Array:
        errors = jax.vmap(jax.vmap(partial(policy.value, params)))(batch.observations) - targets
        return 0.5 * jnp.mean(errors**2, where=batch.alive)

    gradient = jax.grad(loss)(params)
    for name in params:
        function = critic_loss if name.startswith(mlp.CRITIC) else loss
        np.testing.assert_allclose(gradient[name], differences(function, params, name), atol=2e-3, err_msg=name)


def bandit(pulls: int, rewards: tuple[float, float], probability: float) -> tuple[Any, Any, Trajectory[jax.Array]]:
    """Return a policy without inputs over two arms, its logits, and a batch with the arms' exact shares of pulls."""
    first = round(pulls * probability)
    actions = [0.0] * first + [1.0] * (pulls - first)
    batch = batch_of(
        [[rewards[int(arm)]] for arm in actions],
        observations=np.zeros((pulls, 1, 1)),
        actions=np.reshape(actions, (pulls, 1, 1)),
    )
    logits = array([np.log(probability), np.log(1 - probability)])
    return policy_of(PolicyConfig(hidden=()), array(1.0), discrete=True), logits, batch


def test_reinforce_on_a_two_armed_bandit_is_the_closed_form() -> None:
    policy, logits, batch = bandit(pulls=40, rewards=(3.0, 1.0), probability=0.75)
    params = {"w0": jnp.zeros((1, 2), jnp.float32), "b0": logits}

    def loss(params: Any) -> jax.Array:
        return LOSSES["reinforce"](policy, params, batch, Settings(1.0, 1.0, False, "mean"))

    # The expected reward p r0 + (1 - p) r1 has the derivatives +-p (1 - p) (r0 - r1) by the logits.
    expected = 0.75 * 0.25 * (3.0 - 1.0)
    np.testing.assert_allclose(jax.grad(loss)(params)["b0"], [-expected, expected], rtol=1e-5)


def test_gradient_is_minus_advantage_times_score_per_step() -> None:
    # Two one-step episodes, actions 1 and -1 at observation 1, rewards 1 and 0: advantages +-1/2.
    batch = batch_of([[1.0], [0.0]], observations=[[[1.0]], [[1.0]]], actions=[[[1.0]], [[-1.0]]])
    params = {"w0": jnp.zeros((1, 1), jnp.float32), "b0": array([0.0])}

    def loss(params: Any) -> jax.Array:
        return LOSSES["reinforce"](policy_of(PolicyConfig(hidden=()), array(1.0)), params, batch, settings)

    settings = Settings(1.0, 1.0, False, "mean")
    # With mean w and std 1, d log p / dw = action - w; at w = 0: 1 and -1. Sum of products 1, over 2 steps.
    assert float(jax.grad(loss)(params)["w0"][0, 0]) == pytest.approx(-0.5)


def test_what_happens_after_the_end_reaches_no_gradient() -> None:
    batch, params = random_batch(6), params_of(critic=True)
    changed = batch._replace(
        observations=jnp.where(batch.alive[:, :, None], batch.observations, 5.0),
        actions=jnp.where(batch.alive[:, :, None], batch.actions, -3.0),
    )
    policy = policy_of(POLICY, array(0.7))
    for name, baseline in (("reinforce", "mean"), ("reinforce", "linear"), ("actor_critic", "mean")):
        settings = settings_of(InnerConfig(baseline=baseline), array([]))
        gradients = [jax.grad(LOSSES[name], argnums=1)(policy, params, one, settings) for one in (batch, changed)]
        for array_name in params:
            np.testing.assert_allclose(gradients[0][array_name], gradients[1][array_name], atol=1e-6)


def test_two_steps_of_adam_are_those_of_the_paper() -> None:
    params, gradients = {"w": array([1.0, 2.0])}, ([0.5, -4.0], [0.25, 4.0])
    adam = OPTIMISERS["adam"]
    expected, mean, square = np.array([1.0, 2.0]), np.zeros(2), np.zeros(2)
    learned = Learned(params, adam.start(params))
    for t, gradient in enumerate(np.array(gradients), start=1):
        learned = update(
            learned,
            None,
            array(gradient),
            loss=lambda params, task, data: jnp.sum(params["w"] * data),
            optimiser=adam,
            step_sizes={"w": array(0.1)},
        )
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        expected = expected - 0.1 * (mean / (1 - 0.9**t)) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
    np.testing.assert_allclose(learned.network["w"], expected, rtol=1e-5)


class Bowl:
    shapes: Any = {"w": (2,), "b": ()}

    def sample(self, key: jax.Array) -> jax.Array:
        return array(3.0)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum((params["w"] - task) ** 2) + 0.5 * params["b"] ** 2


def config(**inner: Any) -> cfg.Config:
    mapping: dict[str, Any] = {"task": {"name": "m:T"}, "policy": {"hidden": [4]}, "stop": {"generations": 1}}
    return cfg.from_mapping(mapping | {"inner": {"rounds": 2, "num_tasks": 3, "episodes": 16, **inner}})


KEY = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))


def test_adam_runs_through_the_inner_loop() -> None:
    problem = problems.make_problem(config(optimiser="adam", step_size=0.1), Bowl())
    returns = problem.evaluate(np.zeros(3, np.float32), KEY).returns
    # The first two steps are 0.1 in the direction of the sign, nearly.
    np.testing.assert_allclose(returns, [9.0, 2.9**2, 2.8**2], rtol=1e-3)


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_steps_become_smaller_from_update_to_update(optimiser: str) -> None:
    inner = config(rounds=3, optimiser=optimiser, step_size=0.2, step_size_decay=0.5)
    returns = problems.make_problem(inner, Bowl()).evaluate(np.zeros(3, np.float32), KEY).returns
    distances = [3.0]
    for step_size in (0.2, 0.1, 0.05):
        # Adam's first steps are its step size in the direction of the sign, nearly.
        distances.append(distances[-1] - step_size * (distances[-1] if optimiser == "sgd" else 1))
    np.testing.assert_allclose(returns, np.square(distances), rtol=1e-5 if optimiser == "sgd" else 1e-3)


def test_each_parameter_has_its_own_step_size() -> None:
    problem = problems.make_problem(config(rounds=1, step_size_gene="parameter", step_size=0.5), Bowl())
    assert problem.num_params == 3 + 3
    start = problem.initial(np.ones(6, np.float32))
    assert start[3:].tolist() == [np.float32(np.log(0.5))] * 3
    params = np.array([0.0, 0.0, 2.0, *np.log([1.0, 0.5, 0.25])], np.float32)
    result = problem.evaluate(params, KEY)
    np.testing.assert_allclose(result.returns, [9 + 2, 0.5 * 1.5**2 + 0.5 * 1.5**2], rtol=1e-5)
    assert result.scalars == (pytest.approx((1 + 0.5 + 0.25) / 3),)


@pytest.mark.parametrize("learner", ["reinforce", "actor_critic"])
def test_adaptation_improves_the_return(learner: str) -> None:
    problem = problems.make_problem(config(learner=learner, step_size=0.1), Corridor())
    params = problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))
    result = problem.evaluate(params, KEY)
    assert result.returns[-1] > result.returns[0] + 0.2


def test_the_critic_is_a_network_of_its_own_which_starts_near_zero() -> None:
    problem = problems.make_problem(config(learner="actor_critic"), Corridor())
    assert problem.num_params == 2 * (4 + 4 + 4 + 1) + 1
    start = problem.initial(np.ones(problem.num_params, np.float32))
    assert start[8] == pytest.approx(0.01 * np.sqrt(2 / 4)) and start[13 + 8] == start[8]
    assert problems.make_problem(config(learner="actor_critic", rounds=0), Corridor()).num_params == 13 + 1


def test_evolved_factors_start_at_the_configs_values_and_count() -> None:
    fixed = config(learner="actor_critic", discount=0.9, gae_lambda=0.5)
    evolved = config(learner="actor_critic", discount=0.9, gae_lambda=0.5, genes=["gae_lambda", "discount"])
    both = [problems.make_problem(one, Corridor()) for one in (fixed, evolved)]
    noise = np.random.default_rng(0).standard_normal(both[1].num_params, np.float32)
    params = [problem.initial(noise[: problem.num_params]) for problem in both]
    assert len(params[1]) == len(params[0]) + 2
    results = [problem.evaluate(one, KEY) for problem, one in zip(both, params, strict=True)]
    np.testing.assert_allclose(results[1].returns, results[0].returns, rtol=1e-3)
    assert both[1].scalars == ("gae_lambda", "discount")
    assert results[1].scalars == (pytest.approx(0.5), pytest.approx(0.9))
    other = params[1].copy()
    other[-1] = -5.0  # a discount of almost 0
    assert both[1].evaluate(other, KEY).returns[1] != results[1].returns[1]


OWN_LOSS = """
    import jax
    import jax.numpy as jnp

    def climb(policy, params, batch, settings):
        weights = jnp.sum(batch.rewards, axis=1)
        weights = (weights - weights.mean())[:, None] * batch.alive.astype(jnp.float32)
        return -jnp.mean(policy.log_prob(params, batch.observations, batch.actions) * weights)

    def climb_step_by_step(policy, params, batch, settings):
        weights = jnp.sum(batch.rewards, axis=1)
        weights = (weights - weights.mean())[:, None] * batch.alive.astype(jnp.float32)
        one = lambda observation, action: policy.log_prob(params, observation, action)
        return -jnp.mean(jax.vmap(jax.vmap(one))(batch.observations, batch.actions) * weights)

    def valued(policy, params, batch, settings):
        return climb(policy, params, batch, settings) + policy.value(params, batch.observations[0, 0]) ** 2
    valued.critic = True

    def of_another_form(params): pass

    def no_scalar(policy, params, batch, settings):
        return params["b0"]
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_losses.py").write_text(textwrap.dedent(OWN_LOSS))
    monkeypatch.syspath_prepend(tmp_path)
    return "own_losses"


def test_a_learner_of_the_users_own_is_one_function(own_module: str) -> None:
    problem = problems.make_problem(config(learner=f"{own_module}:climb", step_size=0.02), Corridor())
    params = problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))
    returns = problem.evaluate(params, KEY).returns
    assert returns[-1] > returns[0] + 0.2


def test_a_policy_takes_one_step_or_a_whole_batch(own_module: str) -> None:
    whole, by_steps = (
        problems.make_problem(config(learner=f"{own_module}:{name}", step_size=0.02), Corridor())
        for name in ("climb", "climb_step_by_step")
    )
    params = whole.initial(np.random.default_rng(0).standard_normal(whole.num_params, np.float32))
    expected = whole.evaluate(params, KEY).returns
    np.testing.assert_allclose(by_steps.evaluate(params, KEY).returns, expected, rtol=1e-3)


def test_a_learner_of_the_users_own_has_a_critic_if_it_says_so(own_module: str) -> None:
    problem = problems.make_problem(config(learner=f"{own_module}:valued"), Corridor())
    assert problem.num_params == 2 * 13 + 1
    assert np.isfinite(problem.evaluate(np.zeros(27, np.float32), KEY).returns).all()


def test_the_learner_on_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "meta-rl.md").read_text()
    (block,) = (
        text for text in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "def whole_return" in text
    )
    (tmp_path / "learner_of_the_page.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    problem = problems.make_problem(config(learner="learner_of_the_page:whole_return", step_size=0.02), Corridor())
    params = problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))
    returns = problem.evaluate(params, KEY).returns
    assert returns[-1] > returns[0] + 0.2


@pytest.mark.parametrize(
    ("learner", "message"),
    [
        ("own_losses:clim", "expected a function 'clim' in module 'own_losses', got none; did you mean 'climb'"),
        ("no_such_losses:climb", "expected an importable module 'no_such_losses'"),
        ("own_losses:of_another_form", r"expected a function \(policy, params, batch, settings\), got \(params\)"),
    ],
)
def test_a_mistaken_learner_is_told_in_one_line(own_module: str, learner: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"inner.learner='{learner}': {message}"):
        problems.make_problem(config(learner=learner), Corridor())


def test_a_loss_that_is_no_scalar_is_refused_by_name(own_module: str) -> None:
    problem: Any = problems.make_problem(config(learner=f"{own_module}:no_scalar"), Corridor())
    with pytest.raises(TypeError, match=r"inner.learner=own_losses:no_scalar: expected float32\[\], got float32 of"):
        problem.warm_up()


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"learner": "reinforse"}, "inner.learner='reinforse': unknown; did you mean 'reinforce'"),
        ({"optimiser": "momentum"}, "inner.optimiser='momentum': unknown"),
        ({"step_size_decay": 0.0}, "inner.step_size_decay=0.0: expected a number above 0 and at most 1"),
        ({"step_size_decay": 1.1}, "inner.step_size_decay=1.1: expected a number above 0 and at most 1"),
        ({"baseline": "median"}, "inner.baseline='median': unknown"),
        ({"gae_lambda": 1.5}, "inner.gae_lambda=1.5: expected at least 0 and at most 1"),
        ({"genes": ["discont"]}, r"inner.genes\[0\]='discont': unknown; did you mean 'discount'"),
        ({"genes": ["discount"], "discount": 1.0}, "inner.discount=1.0: expected a number between 0 and 1"),
        ({"genes": ["gae_lambda"]}, "inner.genes: expected 'gae_lambda' with learner"),
        ({"learner": "actor_critic", "baseline": "linear"}, "inner.baseline='linear': expected none with"),
    ],
)
def test_mistakes_in_the_inner_loop_are_told_in_one_line(inner: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        config(**inner)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("inner", "name"), [({"learner": "actor_critic"}, "learner"), ({"genes": ["discount"]}, "genes")]
)
def test_a_supervised_task_takes_no_learner(inner: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"inner.{name}=.*whose loss|inner.{name}=.*its own loss"):
        problems.make_problem(config(**inner), Bowl())


def test_the_networks_of_actor_and_critic_are_told_apart() -> None:
    params = params_of(critic=True)
    actor = {name: value for name, value in params.items() if not name.startswith(mlp.CRITIC)}
    x = array([0.1, 0.2, 0.3])
    assert learners.network(POLICY, params, x).tolist() == learners.network(POLICY, actor, x).tolist()
