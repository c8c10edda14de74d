"""roboschool through the bridge, in the environment that `make .venv-roboschool/ready` makes."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.envs.bridge import BridgedEnv
from gamaml.envs.spaces import spaces_of
from gamaml.evolution import streams
from gamaml.tasks.roboschool import RoboschoolAntDirection
from gamaml.types import EvaluationKey

FOLDER = Path(__file__).parents[2] / ".venv-roboschool"
PYTHON = FOLDER / "bin" / "python"
ROBOTS = ("RoboschoolAnt-v1", "RoboschoolHalfCheetah-v1", "RoboschoolHopper-v1", "RoboschoolHumanoid-v1")

pytestmark = [
    pytest.mark.skipif(
        not (FOLDER / "ready").exists(),
        reason="needs roboschool on Python 3.7: make .venv-roboschool/ready (docs/roboschool.md)",
    ),
    pytest.mark.xdist_group("roboschool"),
]


def make(env_id: str) -> BridgedEnv:
    return BridgedEnv(PYTHON, env_id, ["roboschool"], step_seconds=60.0, start_seconds=120.0)


def episode(env: Any, seed: int, steps: int = 80) -> str:
    """Return a digest of an episode's beginning, under actions that follow from the seed."""
    actions = np.random.Generator(np.random.SFC64(seed)).uniform(-1.0, 1.0, (steps, *env.action_space.shape))
    digest = hashlib.sha256(env.reset(seed=seed)[0].tobytes())
    for action in actions.astype(np.float32):
        observation, reward, terminated, truncated, _ = env.step(action)
        digest.update(observation.tobytes() + np.float64(reward).tobytes())
        if terminated or truncated:
            break
    return digest.hexdigest()


@pytest.mark.parametrize("env_id", ROBOTS)
def test_the_seed_decides_the_episode_whatever_was_played_before(env_id: str) -> None:
    with make(env_id) as env:
        first = [episode(env, seed) for seed in (3, 4)]
    with make(env_id) as env:
        for seed, steps in ((7, 33), (8, 5), (9, 61)):
            episode(env, seed, steps)
        assert [episode(env, seed) for seed in (4, 3)] == first[::-1]
    assert first[0] != first[1]


NATIVE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import gym, numpy as np, roboschool
env = gym.make("RoboschoolHopper-v1")
env.seed(3)
trace = [env.reset().tolist()]
for action in json.loads(sys.argv[1]):
    observation, reward, done, _ = env.step(np.array(action, np.float32))
    trace.append(observation.tolist() + [float(reward), bool(done)])
print(json.dumps(trace))
"""


def test_a_bridged_episode_is_the_native_one_on_a_heap_of_zeros() -> None:
    actions = np.random.Generator(np.random.SFC64(3)).uniform(-1.0, 1.0, (60, 3)).astype(np.float32)
    surroundings = {"GLIBC_TUNABLES": "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"}
    command = [PYTHON, "-c", NATIVE, json.dumps(actions.tolist())]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True, timeout=120)
    with make("RoboschoolHopper-v1") as env:
        trace: list[list[Any]] = [env.reset(seed=3)[0].tolist()]
        for action in actions:
            observation, reward, terminated, truncated, _ = env.step(action)
            trace.append([*observation.tolist(), reward, terminated or truncated])
    assert trace == json.loads(done.stdout.splitlines()[-1])


def test_versions_are_told_and_the_one_that_does_not_repeat_itself() -> None:
    with make("RoboschoolAnt-v1") as env:
        assert set(env.library_versions) == {"python", "numpy", "gym", "roboschool"}
        assert env.library_versions["python"].startswith("3.7.")
        assert env.reproducible
    with make("RoboschoolPong-v1") as env:
        assert not env.reproducible


def test_a_policy_can_read_the_spaces() -> None:
    with make("RoboschoolAnt-v1") as env:
        spaces = spaces_of(env, "task")
        assert (spaces.observation_size, spaces.num_outputs) == (28, 8)
        assert env.reset(seed=0)[0].dtype == np.float32


def test_the_directed_ant_is_paid_for_its_velocity_in_the_tasks_direction() -> None:
    task = RoboschoolAntDirection(str(PYTHON), bonus=0.5, terminates=False)
    actions = np.random.default_rng(0).uniform(-1, 1, (60, 8)).astype(np.float32)
    rewards: dict[float, list[float]] = {}
    with make("RoboschoolAnt-v1") as plain:
        plain.reset(seed=3)
        played = [plain.step(action) for action in actions]
    env = task.make_env(None)
    for direction in (1.0, -1.0):
        task.set_task(env, direction)
        env.reset(seed=3)
        rewards[direction] = [env.step(action)[1] for action in actions]
    env.close()
    for action, (seen, *_), forward, backward in zip(actions, played, rewards[1.0], rewards[-1.0], strict=True):
        assert (forward - backward) / 2 == pytest.approx((seen[2] * seen[3] + seen[1] * seen[4]) / 0.3, abs=1e-5)
        assert (forward + backward) / 2 == pytest.approx(0.5 - 0.005 * np.sum(action**2), abs=1e-5)


def test_an_ant_on_the_ground_ends_the_episode_unless_it_need_not() -> None:
    lengths: list[int] = []
    for terminates in (True, False):
        env = RoboschoolAntDirection(str(PYTHON), terminates=terminates).make_env(None)
        env.reset(seed=0)
        # Without torques its legs give way.
        ended = [env.step(np.zeros(8, np.float32))[2] for _ in range(60)]
        env.close()
        lengths.append(ended.index(True) if True in ended else 60)
    assert lengths[0] < 40 and lengths[1] == 60


def test_the_ant_adapts_through_the_bridge() -> None:
    mapping = {"task": {"name": "roboschool_ant_direction", "python": str(PYTHON), "horizon": 10}}
    inner = {"rounds": 2, "num_tasks": 2, "episodes": 2}
    config = cfg.from_mapping({**mapping, "inner": inner, "stop": {"generations": 1}})
    problem = problems.make_problem(config)
    key = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))
    params = problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))
    result = problem.evaluate(params, key)
    assert result.returns.shape == (3,) and np.isfinite(result.returns).all()
    assert problem.evaluate(params, key).returns.tobytes() == result.returns.tobytes()
