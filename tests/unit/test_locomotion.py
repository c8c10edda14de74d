"""The ready-made tasks on MuJoCo models: rewards by hand, observations, ends, and how tasks are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.envs import runners
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.tasks import locomotion
from gamaml.types import EvaluationKey

gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")
pytest.importorskip("mujoco", reason="needs mujoco")


def beside_gymnasium(task: Any, chosen: Any, env: Any, steps: int = 30) -> list[tuple[float, Any, Any, dict[str, Any]]]:
    """Step our environment and Gymnasium's alike; return (reward, observation, action, their info) of each step."""
    ours, num_velocities = task.make_env(chosen), env.unwrapped.model.nv
    task.set_task(ours, chosen)
    first = ours.reset(seed=3)[0]
    assert first.shape == ours.observation_space.shape
    env.reset(seed=3)
    random, found = np.random.default_rng(0), list[tuple[float, Any, Any, dict[str, Any]]]()
    for _ in range(steps):
        action = random.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, _ = ours.step(action)
        theirs, _, _, _, info = env.step(action)
        scaled = theirs.copy()
        scaled[-num_velocities:] *= 0.2
        np.testing.assert_array_equal(observation, scaled)
        assert not terminated and not truncated
        found.append((reward, observation, action, info))
    return found


CHEETAH = "HalfCheetah-v5"


@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_cheetah_direction_pays_the_velocity_in_the_tasks_direction(direction: float) -> None:
    for reward, _, action, info in beside_gymnasium(locomotion.CheetahDirection(), direction, gymnasium.make(CHEETAH)):
        assert reward == pytest.approx(direction * info["x_velocity"] - 0.05 * np.sum(action**2), rel=1e-5)


def test_cheetah_velocity_costs_the_distance_from_the_goal_velocity() -> None:
    for reward, _, action, info in beside_gymnasium(locomotion.CheetahVelocity(), 1.5, gymnasium.make(CHEETAH)):
        assert reward == pytest.approx(-abs(info["x_velocity"] - 1.5) - 0.05 * np.sum(action**2), rel=1e-5)


def ant(**settings: Any) -> Any:
    settings = {"include_cfrc_ext_in_observation": False, "healthy_z_range": (0.0, 9.0), **settings}
    return gymnasium.make("Ant-v5", **settings)


def test_ant_rewards_are_direction_velocity_and_goal_with_bonus_and_control_cost() -> None:
    for reward, _, action, info in beside_gymnasium(locomotion.AntDirection(), -1.0, ant(), steps=10):
        assert reward == pytest.approx(-info["x_velocity"] - 0.005 * np.sum(action**2) + 0.05, rel=1e-5)
    for reward, _, action, info in beside_gymnasium(locomotion.AntVelocity(), 2.0, ant(), steps=10):
        expected = -abs(info["x_velocity"] - 2.0) - 0.005 * np.sum(action**2) + 1.05
        assert reward == pytest.approx(expected, rel=1e-5)
    with_position = ant(exclude_current_positions_from_observation=False)
    goal = np.array([1.0, -2.0])
    for reward, seen, action, info in beside_gymnasium(locomotion.AntGoal(), goal, with_position, steps=10):
        distance = abs(info["x_position"] - 1.0) + abs(info["y_position"] + 2.0)
        assert reward == pytest.approx(-distance - 0.005 * np.sum(action**2) + 4.05, rel=1e-5)
        np.testing.assert_allclose(seen[:2], [info["x_position"], info["y_position"]])


@pytest.mark.parametrize("terminates", [True, False])
def test_an_ant_that_jumps_ends_the_episode_unless_told_otherwise(terminates: bool) -> None:
    task = locomotion.AntDirection(terminates=terminates)
    env = task.make_env(1.0)
    task.set_task(env, 1.0)
    env.reset(seed=0)
    assert not env.step(np.zeros(8, np.float32))[2]
    env._alone._states[0, 2] = 2.0  # its height
    assert env.step(np.zeros(8, np.float32))[2] is terminates


@pytest.mark.parametrize("model", [runners.CHEETAH, runners.ANT, runners.ANT_WITH_POSITION])
def test_a_step_has_the_bits_of_gymnasiums_own(model: cfg.EnvConfig) -> None:
    ant, random = model.id == runners.ANT.id, np.random.default_rng(0)
    theirs = gymnasium.make(model.id, **model.settings).unwrapped
    alone = runners.Runners(model, velocity_only, 1, velocity_scale=1.0, bonus=0.0, terminates=ant)
    ours, ended = runners.Runner(alone), 0
    low, high = theirs.action_space.low, theirs.action_space.high
    for seed in range(6):
        first = theirs.reset(seed=seed)[0]
        np.testing.assert_array_equal(ours.reset(seed=seed)[0], first, strict=True)
        for _ in range(100):
            action = random.uniform(low, high).astype(np.float32)
            expected, _, terminated, _, info = theirs.step(action)
            observation, reward, done, truncated, _ = ours.step(action)
            assert observation.tobytes() == expected.tobytes()
            assert reward == info["x_velocity"] - runners.CONTROL_COST[model.id] * float(action @ action)
            assert (done, truncated) == (terminated, False)
            ended += done
            if done:
                break
    assert (ended > 0) is ant


def velocity_only(task: Any, velocities: Any, observations: Any) -> Any:
    return velocities


def test_directions_are_balanced_and_begin_with_either() -> None:
    draws = [locomotion.CheetahDirection().sample_many(np.random.default_rng(seed), 4) for seed in range(20)]
    assert all(sum(draw) == 0 for draw in draws)
    assert {draw[0] for draw in draws} == {-1.0, 1.0}


def test_velocities_and_goals_are_in_the_papers_ranges() -> None:
    random = np.random.default_rng(0)
    for task, largest in ((locomotion.CheetahVelocity(), 2), (locomotion.AntVelocity(), 3)):
        drawn = [task.sample(random) for _ in range(300)]
        assert 0 <= min(drawn) < 0.05 and largest - 0.05 < max(drawn) <= largest
    goals = np.array([locomotion.AntGoal().sample(random) for _ in range(2000)])
    radii = np.hypot(*goals.T)
    assert radii.max() <= 3 and np.mean(radii < 3 / np.sqrt(2)) == pytest.approx(0.5, abs=0.04)


def test_a_horizon_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="horizon=0: expected at least 1"):
        problems.make_problem(
            cfg.from_mapping({"task": {"name": "cheetah_direction", "horizon": 0}, "stop": {"generations": 1}})
        )


@pytest.mark.parametrize("example", ["cheetah_direction", "cheetah_direction_overnight", "ant_direction"])
def test_the_examples_evaluate(example: str) -> None:
    path = Path(__file__).parents[2] / "examples" / f"{example}.toml"
    config = cfg.load(path, ["task.horizon=10", "inner.episodes=2", "inner.rounds=1"])
    problem = problems.make_problem(config)
    key = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))
    params = problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))
    result = problem.evaluate(params, key)
    assert np.isfinite(result.returns).all() and result.returns.shape == (2,)
    assert result.steps == config.inner.num_tasks * 2 * 2 * 10
    assert problem.evaluate(params, key).returns.tobytes() == result.returns.tobytes()
