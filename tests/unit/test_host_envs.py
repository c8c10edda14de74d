"""Environments by id: each adaptor against the environment stepped by hand, and mistakes in words."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.envs.bridge import BridgeOverdueError
from gamaml.envs.make_env import make
from gamaml.errors import ConfigError, OverdueError
from gamaml.evolution import streams
from gamaml.policies import networks
from gamaml.rollouts.host_rollout import EnvironmentFault
from gamaml.types import EvaluationKey


def config(env: dict[str, Any], **sections: Any) -> cfg.Config:
    mapping: dict[str, Any] = {
        "env": env,
        "policy": {"hidden": [8]},
        "inner": {"rounds": 0, "num_tasks": 1, "episodes": 2},
        "stop": {"generations": 1},
        "noise": {"size": 2_000_000},
    }
    for name, values in sections.items():
        mapping[name] = {**mapping.get(name, {}), **values}
    return cfg.from_mapping(mapping)


def key(seed: int = 1) -> EvaluationKey:
    return EvaluationKey(streams.key(seed, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES))


def params_of(problem: Any, seed: int = 0) -> np.ndarray:
    return problem.initial(np.random.default_rng(seed).standard_normal(problem.num_params, np.float32))


def seeds(number: int) -> list[int]:
    """Return the seeds of the episodes of `key()`, as documented: drawn from the episode's generator."""
    return streams.generator(key().episode).integers(2**31, size=(1, number))[0].tolist()


def by_hand(env: Any, seed: int, action: Any) -> tuple[float, int]:
    """Play one episode with a constant action, or a random one by the environment's own means where it is None."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    total, steps, ended = 0.0, 0, False
    while not ended:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample() if action is None else action)
        total, steps, ended = total + float(reward), steps + 1, terminated or truncated
    return total, steps


@pytest.mark.parametrize(
    ("env_id", "action"), [("CartPole-v1", 1), ("CartPole-v1", None), ("Ant-v5", None), ("HalfCheetah-v5", None)]
)
def test_gymnasium_env_is_the_one_that_gymnasium_makes(env_id: str, action: Any) -> None:
    gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")
    ours, theirs = make(cfg.EnvConfig(id=env_id, max_steps=None)), gymnasium.make(env_id)
    assert [by_hand(ours, seed, action) for seed in (3, 4)] == [by_hand(theirs, seed, action) for seed in (3, 4)]


def test_mujoco_writes_no_log_file_and_its_warnings_are_logged(tmp_path: Path) -> None:
    pytest.importorskip("mujoco", reason="needs mujoco")
    program = """
        import logging
        logging.basicConfig(format="%(name)s %(levelname)s")
        import mujoco
        from gamaml import config
        from gamaml.envs.make_env import make
        env = make(config.EnvConfig(id="HalfCheetah-v5"))
        env.reset(seed=0)
        env.unwrapped.data.qpos[:] = float("nan")
        mujoco.mj_step(env.unwrapped.model, env.unwrapped.data)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "gamaml.envs.make_env WARNING\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("action", [0, None])
def test_gym_env_is_the_one_that_gym_makes(action: Any) -> None:
    pytest.importorskip("gym", reason="needs gym")
    gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")
    ours = make(cfg.EnvConfig(id="gym:CartPole-v1"))
    # The two libraries' CartPole has the same physics and draws its start alike.
    assert by_hand(ours, 5, action)[1] == by_hand(gymnasium.make("CartPole-v1"), 5, action)[1]


def test_gym_env_of_the_api_before_0_26_is_given_the_new_one() -> None:
    gym = pytest.importorskip("gym", reason="needs gym")

    class Old(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (1,))
        action_space = gym.spaces.Discrete(2)

        def seed(self, seed: int) -> None:
            self.value = seed % 7

        def reset(self) -> np.ndarray:
            return np.array([self.value / 7], np.float32)

        def step(self, action: int) -> tuple[np.ndarray, float, bool, dict[str, Any]]:
            return np.zeros(1, np.float32), float(self.value), True, {}

    gym.register("Old-v0", entry_point=Old)
    env = make(cfg.EnvConfig(id="gym:Old-v0"))
    observation, _ = env.reset(seed=10)
    assert observation == np.float32(3 / 7)
    assert env.step(1)[1:4] == (3.0, True, False)


def test_fitness_is_the_mean_return_of_the_keys_episodes() -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    problem = problems.make_problem(config({"id": "CartPole-v1"}, policy={"hidden": []}))
    constant = np.zeros(problem.num_params, np.float32)
    constant[-1] = 1.0  # the bias of action 1
    played = [by_hand(make(cfg.EnvConfig(id="CartPole-v1")), seed, 1) for seed in seeds(2)]
    found = problem.evaluate(constant, key())
    assert found.fitness == np.mean([total for total, _ in played])
    assert found.steps == sum(steps for _, steps in played)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"id": "CartPoll-v1"}, r"env.id='CartPoll-v1': unknown environment; did you mean 'CartPole-v1'"),
        ({"id": "ALE/Frostbit-v5"}, "did you mean 'Frostbite'"),
        ({"id": "ALE/Frostbite"}, 'expected a game such as "ALE/Frostbite-v5"'),
        ({"id": "ALE/Frostbite-v5", "settings": {"sticky": 1}}, "env.settings: expected those of an Atari game"),
        ({"id": "CartPole-v1", "settings": {"gravity_of": 9}}, "expected settings that it takes, got: .*gravity_of"),
        ({"id": "gym:CartPole-v9"}, "env.id='gym:CartPole-v9': unknown environment"),
        ({"id": "roboschool:RoboschoolAnt-v1"}, "expected env.python with it"),
        ({"id": "no_such_module:Env-v0"}, "expected its module, got: .*no_such_module"),
    ],
    ids=lambda value: value["id"] if isinstance(value, dict) else "",
)
def test_a_mistaken_environment_is_told_in_one_line(env: dict[str, Any], message: str) -> None:
    for library in ("gymnasium", "gym", "ale_py"):
        pytest.importorskip(library, reason=f"needs {library}")
    with pytest.raises(ConfigError, match=message) as raised:
        problems.make_problem(config(env))
    assert "\n" not in str(raised.value)


def test_a_missing_extra_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ConfigError, match=r"pip install 'gamaml\[gymnasium\]'"):
        problems.make_problem(config({"id": "CartPole-v1"}))


def test_gaussian_actions_follow_from_the_key() -> None:
    pytest.importorskip("mujoco", reason="needs mujoco")
    mapping = {"id": "HalfCheetah-v5", "max_steps": 20}
    drawn = problems.make_problem(config(mapping, policy={"sampled": True, "std": 0.3}))
    still = problems.make_problem(config(mapping))
    assert drawn.num_params == still.num_params + 1  # the evolved log std
    params = params_of(drawn)
    assert drawn.evaluate(params, key(1)).fitness == drawn.evaluate(params, key(1)).fitness
    assert drawn.evaluate(params, key(1)).fitness != drawn.evaluate(params, key(2)).fitness
    assert drawn.evaluate(params, key(1)).steps == 40


def test_normalised_observations_have_the_constants_of_the_run() -> None:
    pytest.importorskip("mujoco", reason="needs mujoco")
    problem = problems.make_problem(config({"id": "HalfCheetah-v5", "max_steps": 5, "normalise_steps": 300}))
    constants = problem.measure_constants()
    assert {name: array.dtype for name, array in constants.items()} == dict.fromkeys(
        ("observation_mean", "observation_std"), np.dtype(np.float32)
    )
    again = problem.measure_constants()
    assert all(np.array_equal(constants[name], again[name]) for name in constants)
    problem.use_constants(constants)
    params = params_of(problem)
    first = problem.evaluate(params, key()).fitness
    problem.use_constants({**constants, "observation_mean": constants["observation_mean"] + 1})
    assert problem.evaluate(params, key()).fitness != first


def test_pictures_are_not_normalised() -> None:
    class Seen(Faulty):
        observation_space = Space(shape=(4, 84, 84))

    class Sees(Task):
        def make_env(self, task: Any) -> Faulty:
            return Seen(self.way)

    mapping = {"task": {"name": "m:Task"}, "inner": {"rounds": 0}, "stop": {"generations": 1}}
    mapping |= {"env": {"normalise_steps": 10}, "policy": {"network": "nature"}}
    with pytest.raises(ConfigError, match=r"^env.normalise_steps=10: expected observations that are no pictures, got "):
        problems.make_problem(cfg.from_mapping(mapping), Sees(""))


class Space:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Faulty:
    """An environment of ten steps that fails in the way and at the step that it is told to."""

    observation_space, action_space = Space(shape=(1,)), Space(n=2)

    def __init__(self, way: str) -> None:
        self.way = way

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        return [0.0], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        wrong = self.steps == 4
        if wrong and self.way == "raises":
            raise RuntimeError("the joint broke")
        if self.way == "slow":
            __import__("time").sleep(0.02)
        reward = float("nan") if wrong and self.way == "reward" else 1.0
        observation = float("inf") if wrong and self.way == "observation" else 0.0
        return [observation], reward, self.steps == 10 and self.way != "endless", False, {}


class Task:
    def __init__(self, way: str) -> None:
        self.way, self.made = way, 0

    def make_env(self, task: Any) -> Faulty:
        self.made += 1
        return Faulty(self.way)


def faulty(way: str, **env: Any) -> tuple[Any, Task]:
    task = Task(way)
    mapping = {"task": {"name": "m:Task"}, "env": env, "inner": {"rounds": 0, "num_tasks": 1, "episodes": 1}}
    return problems.make_problem(cfg.from_mapping({**mapping, "stop": {"generations": 1}}), task), task


ENDLESS = {"max_steps": 4, "cut_is_fault": True}


@pytest.mark.parametrize(
    ("way", "env", "message"),
    [
        ("raises", {}, "step raised RuntimeError: the joint broke"),
        ("reward", {}, "reward of nan"),
        ("observation", {}, "observation that is not finite"),
        ("endless", ENDLESS, "expected its end within env.max_steps=4"),
    ],
)
def test_a_fault_stops_or_marks_the_child_and_its_environment_is_not_used_again(
    way: str, env: dict[str, Any], message: str
) -> None:
    problem, _ = faulty(way, **env)
    with pytest.raises(EnvironmentFault, match=message):
        problem.evaluate(params_of(problem), key())
    problem, task = faulty(way, on_fault="mark", **env)
    found = problem.evaluate(params_of(problem), key())
    assert np.isnan(found.fitness) and found.fault
    made = task.made
    problem.evaluate(params_of(problem), key())
    assert task.made == made + 1


@pytest.mark.parametrize("shape", [(3,), (100,), (2, 3)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_entry_that_is_not_finite_is_found_and_large_ones_are_not(shape: tuple[int, ...], bad: float) -> None:
    class Fixed(Faulty):
        observation_space = Space(shape=shape)

        def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
            return observation, {}

        def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return observation, 1.0, True, False, {}

    class Fixes:
        def make_env(self, task: Any) -> Fixed:
            return Fixed("")

    mapping = {"task": {"name": "m:Fixes"}, "inner": {"rounds": 0}, "stop": {"generations": 1}}
    problem = problems.make_problem(cfg.from_mapping(mapping), Fixes())
    observation = np.full(shape, 1e38, np.float32)
    problem.evaluate(np.zeros(problem.num_params, np.float32), key())
    observation[..., -1] = bad
    with pytest.raises(EnvironmentFault, match="observation that is not finite"):
        problem.evaluate(params_of(problem), key())


def test_observations_of_another_size_than_declared_are_not_stretched() -> None:
    network = networks.make(cfg.PolicyConfig(hidden=(4,)), (3,), 2)
    network.load({name: np.ones(shape, np.float32) for name, shape in network.shapes.items()})
    assert network(np.ones((3, 1))).tolist() == network([1, 1, 1]).tolist() == [17.0, 17.0]
    with pytest.raises(ValueError, match="cannot reshape"):
        network(np.ones(1))


def test_a_problem_reports_the_properties_of_its_environments() -> None:
    class Told(Faulty):
        reproducible = False
        library_versions = {"simulator": "1.2"}  # noqa: RUF012 - as a user's class has it

    class Tells(Task):
        def make_env(self, task: Any) -> Faulty:
            return Told(self.way)

    mapping = {"task": {"name": "m:Task"}, "inner": {"rounds": 0}, "stop": {"generations": 1}}
    silent, telling = (problems.make_problem(cfg.from_mapping(mapping), task("")) for task in (Task, Tells))
    assert (silent.reproducible, silent.environment_versions) == (True, {})
    assert (telling.reproducible, telling.environment_versions) == (False, {"env.simulator": "1.2"})


def test_an_episode_is_cut_at_max_steps() -> None:
    problem, _ = faulty("endless", max_steps=7)
    found = problem.evaluate(params_of(problem), key())
    assert (found.fitness, found.steps, found.fault) == (7.0, 7, False)


def test_an_episode_that_takes_too_long_is_never_marked() -> None:
    problem, _ = faulty("slow", max_seconds=0.05, on_fault="mark")
    with pytest.raises(OverdueError, match="expected its end within env.max_seconds=0.05"):
        problem.evaluate(params_of(problem), key())


def test_an_isolated_environment_is_the_same_and_its_crash_is_marked(tmp_path: Path) -> None:
    module = """
        import os

        class Space:
            def __init__(self, **attributes): self.__dict__.update(attributes)

        class Env:
            observation_space, action_space = Space(shape=(1,), dtype="float32"), Space(n=2)
            def reset(self, *, seed):
                self.seed = seed
                return [0.5], {}
            def step(self, action):
                if CRASH: os.abort()
                return [0.5], float(self.seed % 5), True, False, {}
    """
    for name, crash in (("sound", False), ("broken", True)):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(module).replace("CRASH", str(crash)))
    program = """
        import numpy as np
        from gamaml import config as cfg, problems
        from gamaml.evolution import streams
        from gamaml.types import EvaluationKey
        key = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))
        for name in ("sound", "broken"):
            mapping = {"env": {"id": f"{name}:Env", "isolate": True, "on_fault": "mark"},
                       "inner": {"rounds": 0, "num_tasks": 1, "episodes": 1}, "stop": {"generations": 1}}
            problem = problems.make_problem(cfg.from_mapping(mapping))
            found = problem.evaluate(np.zeros(problem.num_params, np.float32), key)
            print(name, found.fitness, found.fault)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"sound {float(seeds(1)[0] % 5)} False", "broken nan True"]


def test_an_environment_that_hangs_in_its_own_process_is_never_marked() -> None:
    class Hung(Faulty):
        def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            raise BridgeOverdueError("no answer to step")

    class Hangs:
        def make_env(self, task: Any) -> Hung:
            return Hung("hangs")

    mapping = {"task": {"name": "m:Hangs"}, "env": {"on_fault": "mark"}, "inner": {"rounds": 0}}
    problem = problems.make_problem(cfg.from_mapping({**mapping, "stop": {"generations": 1}}), Hangs())
    with pytest.raises(OverdueError, match="no answer to step"):
        problem.evaluate(params_of(problem), key())
