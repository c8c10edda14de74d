"""Episodes side by side: the bits of those played one by one, what is recorded, and how faults and limits are met."""

from __future__ import annotations

import math
from typing import Any, cast

import host_cases
import numpy as np
import pytest
from host_cases import key, params_of

from gamaml import config as cfg
from gamaml import problems
from gamaml.errors import ConfigError, OverdueError
from gamaml.policies import mlp
from gamaml.problems import factory
from gamaml.problems.host_problem import HostProblem
from gamaml.problems.task_kinds import CompleteHostTask, complete_task
from gamaml.rollouts.host_rollout import EnvironmentFault, Player
from gamaml.rollouts.lockstep_rollout import LockstepPlayer
from gamaml.types import Evaluation

LENGTH = 12


class Space:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def bounds(size: int, bound: float) -> dict[str, Any]:
    return {"low": np.full(size, -bound, np.float32), "high": np.full(size, bound, np.float32)}


class Drifts:
    """A user's own simulator in plain NumPy: points drift away, until they are too far from where they began."""

    observation_space = Space(shape=(3,))

    def __init__(self, task: float, number: int, discrete: bool) -> None:
        self.task, self.number, self.discrete = task, number, discrete
        self.action_space = Space(n=3, start=-1) if discrete else Space(shape=(1,), **bounds(1, 0.5))
        self.places, self.speeds, self.closed = np.zeros(number), np.zeros(number), False
        self.asked: list[list[bool]] = []

    def reset(self, seeds: list[int]) -> np.ndarray:
        self.asked = []
        self.speeds = np.array([np.random.default_rng(seed).normal(0, 0.3) for seed in seeds])
        self.places = np.zeros(self.number)
        return self._observations()

    def step(self, actions: Any, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        assert len(actions) == self.number
        self.asked.append(running.tolist())
        pushes = actions if self.discrete else actions[:, 0]
        self.places = np.where(running, self.places + self.speeds + 0.3 * pushes, math.nan)  # nobody may read the rest
        return self._observations(), self.task * self.places, abs(self.places) > 1.5

    def close(self) -> None:
        self.closed = True

    def _observations(self) -> np.ndarray:
        return np.stack([self.places, self.speeds, np.cos(3 * self.places)], axis=1)


class Drift:
    """One of them."""

    def __init__(self, alone: Drifts) -> None:
        self.alone = alone
        self.observation_space, self.action_space = alone.observation_space, alone.action_space

    def reset(self, *, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        return self.alone.reset([seed])[0], {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        observations, rewards, ended = self.alone.step(np.array([action]), np.ones(1, np.bool_))
        return observations[0], float(rewards[0]), bool(ended[0]), False, {}


class OneByOne:
    horizon = LENGTH

    def __init__(self, discrete: bool = False) -> None:
        self.discrete, self.made = discrete, list[Drifts]()

    def sample(self, generator: np.random.Generator) -> float:
        return float(generator.choice((-1, 1)))

    def make_env(self, task: float) -> Any:
        return Drift(Drifts(task, 1, self.discrete))


class SideBySide(OneByOne):
    def make_envs(self, task: float, number: int) -> Any:
        self.made.append(Drifts(task, number, self.discrete))
        return self.made[-1]


class Kept(SideBySide):
    def set_task(self, env: Any, task: float) -> None:
        (env.alone if isinstance(env, Drift) else env).task = task


def config(policy: dict[str, Any] | None = None, env: dict[str, Any] | None = None, **inner: Any) -> cfg.Config:
    return host_cases.config({"std": 0.8, **(policy or {})}, env, **{"episodes": 5, **inner})


def host(problem: Any) -> HostProblem:
    assert isinstance(problem.wrapped, HostProblem)
    return problem.wrapped


def recorded(problem: Any) -> bytes:
    return b"".join(array.tobytes() for batch in host(problem)._loop.batches if batch is not None for array in batch)


def same(one: Evaluation, other: Evaluation) -> bool:
    return (one.returns.tobytes(), one.steps, one.fault) == (other.returns.tobytes(), other.steps, other.fault)


POLICIES = {
    "deterministic": ({}, {"rounds": 0}),
    "sampled": ({"sampled": True}, {"rounds": 0}),
    "adapted": ({"activation": "tanh"}, {"rounds": 2}),
    "linear": ({"hidden": []}, {"rounds": 1}),
}


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("kind", POLICIES)
@pytest.mark.parametrize("task", [SideBySide, Kept])
def test_a_users_batch_environment_gives_the_bits_of_single_ones(kind: str, discrete: bool, task: Any) -> None:
    policy, inner = POLICIES[kind]
    run = config(policy, **inner)
    alone, together = (problems.make_problem(run, made(discrete)) for made in (OneByOne, task))
    assert (type(host(alone)._player), type(host(together)._player)) == (Player, LockstepPlayer)
    lengths = set[int]()
    for seed in range(4):
        params = 2 * params_of(alone, seed)
        first, second = alone.evaluate(params, key(seed)), together.evaluate(params, key(seed))
        assert same(first, second) and np.isfinite(first.fitness)
        assert recorded(alone) == recorded(together)
        lengths.add(first.steps)
    assert len(lengths) > 1  # some episodes ended before the horizon


def test_normalised_observations_have_the_same_bits_side_by_side() -> None:
    run = config(env={"normalise_steps": 50})
    made = [problems.make_problem(run, task()) for task in (OneByOne, SideBySide)]
    constants = [problem.measure_constants() for problem in made]
    for problem in made:
        problem.use_constants(constants[0])
    assert all(constants[0][name].tobytes() == constants[1][name].tobytes() for name in constants[0])
    assert same(*(problem.evaluate(params_of(problem), key()) for problem in made))
    assert recorded(made[0]) == recorded(made[1])


def test_episodes_that_have_ended_are_not_stepped() -> None:
    task = Kept()
    problem = problems.make_problem(config(rounds=0, num_tasks=1), task)
    found = problem.evaluate(3 * params_of(problem), key(2))
    asked = np.array(task.made[-1].asked)
    assert asked.sum() == found.steps < asked.size and asked[0].all()
    assert (asked[1:] <= asked[:-1]).all()  # none runs again


def test_one_episode_does_not_depend_on_those_beside_it() -> None:
    pair, many = (problems.make_problem(config(rounds=0, episodes=number), Kept()) for number in (2, 9))
    seeds = host(many)._player.draw_seeds(np.random.default_rng(0), (9,))
    totals = list[list[float]]()
    for problem, chosen in ((many, seeds), (pair, seeds[[7, 0]])):
        host(problem)._player.load(problem.arrays(params_of(problem)))
        totals.append(host(problem)._player.play(host(problem)._played.open(1.0), chosen, 0.5))
    assert totals[1] == [totals[0][7], totals[0][0]]


def test_batches_are_made_where_there_are_episodes_to_play_together() -> None:
    class Endless(SideBySide):
        horizon = None

    def player(task: Any, **inner: Any) -> type[Player]:
        return type(host(problems.make_problem(config({}, **inner), task))._player)

    assert player(SideBySide()) is LockstepPlayer
    assert player(SideBySide(), episodes=1) is Player
    assert player(Endless(), rounds=0) is Player


def test_a_film_shows_one_episode_after_another() -> None:
    task = complete_task(SideBySide(), "m:Task")
    assert isinstance(task, CompleteHostTask) and task.make_envs is not None
    filmed = factory._filmed(task, config(), cast(Any, None))
    assert isinstance(filmed, CompleteHostTask) and filmed.make_envs is None


def test_a_batch_is_made_and_closed_per_task_unless_it_is_told_its_task() -> None:
    kept, made = Kept(), SideBySide()
    both = [problems.make_problem(config(num_tasks=3), task) for task in (kept, made)]
    assert same(*(problem.evaluate(params_of(problem), key()) for problem in both))
    assert (len(kept.made), kept.made[0].closed) == (1, False)
    assert len(made.made) == 1 + 3 and all(envs.closed for envs in made.made)


class Broken(Kept):
    """Its batches fail in the way that they are told to, at the fourth step."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def make_envs(self, task: float, number: int) -> Any:
        envs = super().make_envs(task, number)
        step, way = envs.step, self.way

        def fails(actions: Any, running: np.ndarray) -> Any:
            observations, rewards, ended = step(actions * 0, running)
            ended[:] = False
            if way == "slow":
                __import__("time").sleep(0.05)
            if len(envs.asked) == 4:
                if way == "raises":
                    raise RuntimeError("the joint broke")
                rewards[1] = math.inf if way == "reward" else rewards[1]
                observations[2, 0] = math.nan if way == "observation" else observations[2, 0]
                rewards = rewards[0] if way == "one reward" else rewards
                observations = observations.T if way == "transposed" else observations
            return observations, rewards, ended

        envs.step = fails
        return envs


@pytest.mark.parametrize(
    ("way", "env", "message"),
    [
        ("raises", {}, "the environment's step raised RuntimeError: the joint broke"),
        ("reward", {}, "reward of inf"),
        ("observation", {}, "observation that is not finite"),
        ("endless", {"max_steps": 6, "cut_is_fault": True}, r"episode of seed \d+: expected its end within env.max_st"),
    ],
)
def test_a_fault_of_one_episode_stops_or_marks_the_child(way: str, env: dict[str, Any], message: str) -> None:
    problem = problems.make_problem(config(env=env), Broken(way))
    with pytest.raises(EnvironmentFault, match=message):
        problem.evaluate(params_of(problem), key())
    task = Broken(way)
    problem = problems.make_problem(config(env={"on_fault": "mark", **env}), task)
    found = problem.evaluate(params_of(problem), key())
    assert np.isnan(found.returns).all() and found.fault and found.steps == 0
    assert task.made[-1].closed
    problem.evaluate(params_of(problem), key())
    assert len(task.made) == 2


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("one reward", r"batch environment of 5 episodes: expected rewards with 5 rows, one per episode, got .* \(\);"),
        ("transposed", r"expected observations with 5 rows, one per episode, got the shape \(3, 5\); correct what"),
    ],
)
def test_results_of_another_shape_are_never_marked(way: str, message: str) -> None:
    problem = problems.make_problem(config(env={"on_fault": "mark"}), Broken(way))
    with pytest.raises(ConfigError, match=message):
        problem.evaluate(params_of(problem), key())


def test_a_batch_may_take_the_time_of_all_its_episodes() -> None:
    problem = problems.make_problem(config(env={"max_seconds": 0.2}, rounds=0), Broken("slow"))
    problem.evaluate(params_of(problem), key())
    problem = problems.make_problem(config(env={"max_seconds": 0.02, "on_fault": "mark"}), Broken("slow"))
    with pytest.raises(OverdueError, match="expected their end within 0.1 s, env.max_seconds=0.02 for each, got 2 st"):
        problem.evaluate(params_of(problem), key())


def test_a_batch_of_another_form_is_refused_before_the_run() -> None:
    class Other(SideBySide):
        def make_envs(self, task: float, number: int) -> Any:
            envs = super().make_envs(task, number)
            envs.observation_space = Space(shape=(number, 3))
            return envs

    class Nothing(SideBySide):
        def make_envs(self, task: float, number: int) -> Any:
            return []

    class Misspelt(OneByOne):
        def make_env_s(self, task: float, number: int) -> Any:
            return []

    for task, message in (
        (Other, r"expected make_envs\(task, 5\) to give the spaces of a single episode, as make_env\(task\) does"),
        (Nothing, r"expected make_envs\(task, 5\) to give a Gymnasium-like environment, got list without 'reset'"),
        (Misspelt, "unknown member 'make_env_s'; did you mean 'make_envs'"),
    ):
        with pytest.raises(ConfigError, match=message):
            problems.make_problem(config(), task())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (1,), (7,), (16, 33), (64, 64)])
def test_a_row_of_a_forward_pass_has_the_bits_that_it_has_alone(hidden: tuple[int, ...], activation: str) -> None:
    random = np.random.default_rng(0)
    for num_inputs in (1, 3, 17, 29, 111):
        for num_outputs in (1, 2, 6, 8):
            sizes = num_inputs, *hidden, num_outputs
            shapes = mlp.shapes(*sizes)
            arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
            alone = mlp.Forward(sizes, activation)
            alone.load(arrays)
            for rows in (1, 2, 5, 20):
                together = mlp.Forward(sizes, activation, rows)
                together.load(arrays)
                x = random.standard_normal((rows, num_inputs))
                assert together(x).tobytes() == b"".join(alone(row).tobytes() for row in x)


@pytest.mark.parametrize("name", ["cheetah_direction", "cheetah_velocity", "ant_direction", "ant_velocity", "ant_goal"])
@pytest.mark.parametrize("rounds", [0, 1])
def test_ready_made_tasks_have_the_bits_of_episodes_played_one_by_one(
    name: str, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    pytest.importorskip("mujoco", reason="needs mujoco")
    mapping: dict[str, Any] = {
        "task": {"name": name, "horizon": 40},
        "policy": {"hidden": [16], "activation": "tanh", "std": 1.0, "sampled": True},
        "inner": {"rounds": rounds, "num_tasks": 2, "episodes": 4},
        "stop": {"generations": 1},
        "noise": {"size": 100_000},
    }
    together = problems.make_problem(cfg.from_mapping(mapping))
    assert isinstance(host(together)._player, LockstepPlayer)
    monkeypatch.setattr("gamaml.problems.host_problem._side_by_side", lambda *_: None)
    alone = problems.make_problem(cfg.from_mapping(mapping))
    ended = False
    for seed in range(2):
        params = 2 * params_of(alone, seed)
        first, second = alone.evaluate(params, key(seed)), together.evaluate(params, key(seed))
        assert same(first, second) and recorded(alone) == recorded(together)
        ended |= first.steps < 2 * (rounds + 1) * 4 * 40
    assert ended is name.startswith("ant")
