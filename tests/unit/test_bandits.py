"""The meta-bandit and the tabular MDP: their randomness, what a policy sees, and the best possible score."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.engine.evaluation import child_key, reevaluation_key
from gamaml.inner.start_jax import start_jax
from gamaml.tasks.bandit import Arms, Bandit, bayes_optimal, num_states
from gamaml.tasks.mdp import Process, TabularMDP

KEY: Any = np.zeros(2, np.uint32)


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def action(chosen: int, number: int = 5) -> jax.Array:
    return jax.nn.one_hot(chosen, number, dtype=jnp.float32)


@pytest.mark.parametrize(
    ("pulls", "arms", "expected"),
    # Two pulls: 1/2, then the same arm after a success (2/3), another after a failure (1/2).
    [(1, 3, 0.5), (7, 1, 3.5), (2, 2, 13 / 12), (2, 9, 13 / 12), (10, 2, 6.0218), (10, 5, 6.66), (10, 10, 6.714)],
)
def test_best_possible_return_of_the_bandit(pulls: int, arms: int, expected: float) -> None:
    assert bayes_optimal(pulls, arms) == pytest.approx(expected, abs=5e-5)


def test_best_possible_return_is_that_of_trying_every_policy() -> None:
    # Every deterministic policy of 3 pulls on 2 arms: an arm for each of the 1 + 2 + 4 histories of rewards.
    grid = (np.arange(400) + 0.5) / 400
    p = np.stack(np.meshgrid(grid, grid), axis=-1)
    best = 0.0
    for bits in range(2**7):
        choice = [(bits >> place) & 1 for place in range(7)]
        total = np.zeros(p.shape[:2])
        first = p[..., choice[0]]
        for one in (0, 1):
            weight_one = first if one else 1 - first
            second = p[..., choice[1 + one]]
            for two in (0, 1):
                weight_two = weight_one * (second if two else 1 - second)
                total += weight_two * (one + two + p[..., choice[3 + 2 * one + two]])
        best = max(best, float(total.mean()))
    assert bayes_optimal(3, 2) == pytest.approx(best, abs=1e-4)


def test_states_of_knowledge_are_counted_and_too_many_give_no_value() -> None:
    assert num_states(1, 5) == 1
    assert num_states(2, 2) == 3  # nothing, one success, one failure
    assert num_states(3, 1) == 1 + 2 + 3
    assert num_states(3, 2) == 1 + 2 + 3 + 3  # the last: two arms pulled once each
    assert math.isnan(Bandit(100, 5).optimal_return)
    assert Bandit(10, 5).optimal_return == bayes_optimal(10, 5)
    assert bayes_optimal(400, 1) == pytest.approx(200)


def test_the_first_action_is_encoded_like_any_other() -> None:
    # ga-dist asked `if action:`, and so never showed that action 0 had been taken.
    bandit = Bandit(10, 3)
    arms = Arms(jnp.asarray([1.0, 0.0, 1.0], jnp.float32), jnp.full(10, 0.5, jnp.float32))
    state, start = bandit.reset(arms, KEY)
    assert start.tolist() == [0, 0, 0, 0, 0]
    seen = [bandit.step(state, action(k, 3), arms, KEY)[1].tolist() for k in range(3)]
    assert seen == [[1, 0, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 1, 1, 1]]
    mdp = TabularMDP()
    process = mdp.sample(KEY)
    now, first = mdp.reset(process, KEY)
    assert first.tolist() == [1.0] + [0.0] * 16
    for k in range(5):
        assert mdp.step(now, action(k), process, KEY)[1][10:15].tolist() == action(k).tolist()


def test_an_arm_pays_when_the_luck_of_the_pull_lies_below_its_probability() -> None:
    bandit = Bandit(4, 2)
    arms = Arms(jnp.asarray([0.3, 0.8], jnp.float32), jnp.asarray([0.1, 0.5, 0.9, 0.0], jnp.float32))
    for arm, expected in ((0, [1, 0, 0, 1]), (1, [1, 1, 0, 1])):
        state, _ = bandit.reset(arms, KEY)
        rewards: list[float] = []
        for _ in range(4):
            state, _, reward, done = bandit.step(state, action(arm, 2), arms, KEY)
            rewards.append(float(reward))
            assert not done
        assert rewards == expected


def test_probabilities_and_luck_are_uniform_and_independent() -> None:
    arms = jax.vmap(Bandit(10, 3).sample)(jax.random.split(KEY, 4000))
    numbers = np.concatenate([arms.probability, arms.luck], axis=1)
    np.testing.assert_allclose(numbers.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(numbers.var(axis=0), 1 / 12, atol=0.005)
    correlation = np.corrcoef(numbers.T) - np.eye(13)
    assert np.abs(correlation).max() < 0.07


def problem(task: str = "bandit", **inner: Any) -> tuple[cfg.Config, Any]:
    config = cfg.from_mapping(
        {
            "task": {"name": task},
            "policy": {"network": "gru", "hidden": [4], "std": 0, "std_gene": False, "activation": "tanh"},
            "inner": {"rounds": 0, "num_tasks": 20, "episodes": 1, **inner},
            "stop": {"generations": 1},
            "noise": {"size": 1000},
        }
    )
    return config, problems.make_problem(config)


@pytest.mark.parametrize("task", ["bandit", "mdp"])
def test_every_generation_re_evaluation_and_child_has_luck_of_its_own(task: str) -> None:
    # ga-dist's workers all drew from one stream, and so met the same luck over and over.
    config, made = problem(task, share_tasks=False)
    params = made.initial(np.random.Generator(np.random.SFC64(3)).standard_normal(made.num_params, np.float32))

    def fitness(keys: list[Any]) -> list[float]:
        return [made.evaluate(params, key).fitness for key in keys]

    children = fitness([child_key(config.seed, 0, task=index, episode=index) for index in range(12)])
    generations = fitness([child_key(config.seed, generation, task=0, episode=0) for generation in range(12)])
    again = fitness([reevaluation_key(config.seed, 0, episode) for episode in range(12)])
    for found in (children, generations, again):
        assert len(set(found)) > 6
    assert fitness([child_key(config.seed, 0, task=index, episode=index) for index in range(12)]) == children


def test_children_who_share_tasks_share_their_luck() -> None:
    config, made = problem()
    params = made.initial(np.random.Generator(np.random.SFC64(3)).standard_normal(made.num_params, np.float32))
    assert (
        len({made.evaluate(params, child_key(config.seed, 0, task=0, episode=index)).fitness for index in range(5)})
        == 1
    )
    assert made.optimal_return == pytest.approx(6.66, abs=5e-5)


def test_a_policy_that_learns_nothing_gets_half_of_the_pulls() -> None:
    config, made = problem(num_tasks=4000)
    found = made.evaluate(np.zeros(made.num_params, np.float32), child_key(config.seed, 0, task=0, episode=0))
    assert found.steps == 40_000
    assert found.fitness == pytest.approx(5, abs=3 * math.sqrt(10 * 11 / 12 / 4000) * 1.1)


def small_process(luck: float = 0.5) -> Process:
    return Process(
        jnp.asarray([[1.0, 2.0], [3.0, 4.0]], jnp.float32),
        jnp.asarray([[[0.4, 1.0], [1.0, 1.0]], [[0.0, 1.0], [0.6, 1.0]]], jnp.float32),
        jnp.asarray([0.0, 10.0, 20.0, 30.0], jnp.float32),
        jnp.full(4, luck, jnp.float32),
    )


def test_mdp_pays_and_moves_by_state_and_action_and_begins_anew_with_every_episode() -> None:
    mdp, process = TabularMDP(2, 2, episode_length=2, episodes=2), small_process()
    assert mdp.horizon == 4
    now, _ = mdp.reset(process, KEY)
    told: list[Any] = []
    for chosen in (0, 1, 1, 0):
        now, seen, reward, done = mdp.step(now, action(chosen, 2), process, KEY)
        told.append((float(reward), seen.tolist()))
        assert not done
    assert told == [
        (1.0, [0, 1, 1, 0, 1.0, 0]),  # luck 0.5 lies above 0.4: on to state 1
        (14.0, [1, 0, 0, 1, 14.0, 1]),  # the episode ends, back in state 0
        (22.0, [1, 0, 0, 1, 22.0, 0]),  # action 1 stays in state 0
        (31.0, [1, 0, 1, 0, 31.0, 1]),
    ]


def test_mdp_draws_rewards_and_transitions_as_the_paper_says() -> None:
    process = jax.vmap(TabularMDP().sample)(jax.random.split(KEY, 500))
    assert process.reward.mean() == pytest.approx(1, abs=0.03)
    assert process.reward.std() == pytest.approx(1, abs=0.03)
    chances = np.diff(np.asarray(process.thresholds), axis=-1, prepend=0)
    np.testing.assert_allclose(process.thresholds[..., -1], 1)
    np.testing.assert_allclose(chances.mean(axis=(0, 1, 2)), 0.1, atol=0.005)
    np.testing.assert_allclose(chances.var(axis=(0, 1, 2)), 9 / (100 * 11), atol=0.0005)


@pytest.mark.parametrize(
    ("task", "settings"), [(Bandit, {"pulls": 0}), (Bandit, {"arms": 0}), (TabularMDP, {"states": 0})]
)
def test_sizes_below_one_are_refused(task: Any, settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="=0: expected at least 1"):
        task(**settings)
