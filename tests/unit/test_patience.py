"""`env.patience`: the step that ends an episode, what resets the count, what is recorded, and what stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import host_cases
import numpy as np
import pytest
from host_cases import key, params_of
from toy_env import Payday

from gamaml import config as cfg
from gamaml import problems
from gamaml.errors import ConfigError
from gamaml.problems.host_problem import HostProblem
from gamaml.rollouts.host_rollout import EnvironmentFault, Player
from gamaml.rollouts.lockstep_rollout import LockstepPlayer

HERE = Path(__file__).parent
HORIZON = 40


class Task:
    """Paydays one by one; a task of number n pays at the steps of `pays[n]`."""

    horizon = HORIZON

    def __init__(self, *pays: tuple[int, ...], length: int = 0, amount: float = 1.0) -> None:
        self.pays, self.length, self.amount = pays or ((),), length, amount

    def sample_many(self, generator: np.random.Generator, number: int) -> list[int]:
        return [index % len(self.pays) for index in range(number)]

    def make_env(self, task: int) -> Payday:
        return Payday(self.pays[task], self.length, self.amount)


class Paydays:
    """Several of them side by side; after its end one goes on with rewards that nobody may count."""

    def __init__(self, alone: list[Payday]) -> None:
        self.alone = alone
        self.observation_space, self.action_space = alone[0].observation_space, alone[0].action_space

    def reset(self, seeds: list[int]) -> np.ndarray:
        return np.stack([env.reset(seed=seed)[0] for env, seed in zip(self.alone, seeds, strict=True)])

    def step(self, actions: Any, running: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = [env.step(action) for env, action in zip(self.alone, actions, strict=True)]
        rewards = np.where(running, [step[1] for step in found], 7.0)
        return np.stack([step[0] for step in found]), rewards, np.array([step[2] for step in found])

    def close(self) -> None:
        pass


class SideBySide(Task):
    def make_envs(self, task: int, number: int) -> Paydays:
        return Paydays([self.make_env(task) for _ in range(number)])


KINDS = (Task, SideBySide)


def made(task: Task, env: dict[str, Any], **inner: Any) -> Any:
    inner = {"rounds": 0, "num_tasks": 1, "episodes": 2, **inner}
    problem = problems.make_problem(host_cases.config({}, env, **inner), task)
    assert isinstance(problem.wrapped, HostProblem)
    player = LockstepPlayer if isinstance(task, SideBySide) else Player
    assert type(problem.wrapped._player) is player
    return problem


def played(problem: Any, seed: int = 0) -> tuple[bytes, int, bool]:
    found = problem.evaluate(params_of(problem, seed), key(seed))
    return found.returns.tobytes(), found.steps, found.fault


def recorded(problem: Any) -> bytes:
    return b"".join(array.tobytes() for batch in batches(problem) for array in batch)


def batches(problem: Any) -> list[Any]:
    """Return the recorded rounds; nothing learns from the last one."""
    return [batch for batch in problem.wrapped._loop.batches if batch is not None]


CASES = {
    "no reward at all": ((), 0, 5, 5, 1),
    "a reward starts the count again": ((3,), 0, 5, 8, 1),
    "a reward at the last moment": ((5,), 0, 5, 10, 1),
    "a reward one step late": ((6,), 0, 5, 5, 1),
    "rewards often enough": ((3, 7, 11), 12, 5, 12, 0),
    "the environment ends at that step itself": ((), 5, 5, 5, 0),
    "the cut is at that step too": ((), 0, HORIZON, HORIZON, 1),
    "the cut comes before": ((), 0, HORIZON + 1, HORIZON, 0),
    "one step": ((), 0, 1, 1, 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("amount", [1.0, -0.25])
def test_an_episode_ends_after_so_many_steps_without_reward(case: str, kind: type[Task], amount: float) -> None:
    pays, length, patience, steps, impatient = CASES[case]
    found = made(kind(pays, length=length, amount=amount), {"patience": patience})
    result = found.evaluate(np.zeros(found.num_params, np.float32), key())
    assert result.steps == 2 * steps
    assert result.scalars == (2 * impatient,)
    assert result.fitness == amount * sum(step <= steps for step in pays)
    assert not result.fault


@pytest.mark.parametrize("kind", KINDS)
def test_without_patience_an_episode_goes_on_and_nothing_is_recorded_of_it(kind: type[Task]) -> None:
    problem = made(kind(), {})
    assert problem.scalars == ()
    result = problem.evaluate(params_of(problem), key())
    assert (result.steps, result.scalars) == (2 * HORIZON, ())


@pytest.mark.parametrize("rounds", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_patience_beyond_every_episode_changes_no_bit(kind: type[Task], rounds: int) -> None:
    task, inner = kind((1, 5), (9,), length=11), {"rounds": rounds, "num_tasks": 2, "episodes": 3, "step_size": 0.5}
    usual, patient = made(task, {}, **inner), made(task, {"patience": 12}, **inner)
    for seed in range(3):
        assert played(usual, seed) == played(patient, seed)
        assert recorded(usual) == recorded(patient)
        assert patient.evaluate(params_of(patient, seed), key(seed)).scalars == (0,)


def test_inner_rounds_learn_from_the_steps_before_patience_ran_out() -> None:
    inner = {"rounds": 2, "num_tasks": 2, "episodes": 3, "step_size": 0.5}
    alone, together = (made(kind((2, 4), (30,)), {"patience": 6}, **inner) for kind in KINDS)
    for seed in range(3):
        assert played(alone, seed) == played(together, seed) and recorded(alone) == recorded(together)
        result = alone.evaluate(params_of(alone, seed), key(seed))
        assert result.steps == 3 * 3 * (10 + 6)  # rounds and their measurement, episodes, both tasks
        assert result.scalars == together.evaluate(params_of(together, seed), key(seed)).scalars == (2 * 3 * 3,)
        assert len(np.unique(result.returns)) > 1  # the updates change the policy
    for batch in batches(alone):  # of the last task
        assert batch.alive.sum(axis=1).tolist() == [6, 6, 6] and not batch.observations[:, 6:].any()


def test_every_episode_of_a_batch_has_a_patience_of_its_own() -> None:
    class Lucky(SideBySide):
        def make_envs(self, task: int, number: int) -> Paydays:
            return Paydays([Payday((4, 8)), Payday(()), Payday((), length=3)])

    problem = made(Lucky(), {"patience": 5}, episodes=3)
    result = problem.evaluate(np.zeros(problem.num_params, np.float32), key())
    assert (result.steps, result.scalars) == (13 + 5 + 3, (2,))


@pytest.mark.parametrize("kind", KINDS)
def test_running_out_of_patience_is_no_fault_and_the_cut_still_is(kind: type[Task]) -> None:
    limits = {"max_steps": 20, "cut_is_fault": True}
    ended = made(kind(), {"patience": 20, **limits})
    assert ended.evaluate(params_of(ended), key()).scalars == (2,)
    cut = made(kind(), {"patience": 21, **limits})
    with pytest.raises(EnvironmentFault, match="expected its end within env.max_steps=20"):
        cut.evaluate(params_of(cut), key())


def test_a_fault_leaves_the_episodes_of_finished_rounds_counted() -> None:
    class Breaks(Task):
        def make_env(self, task: int) -> Payday:
            env = super().make_env(task)
            if task == 1:
                env.step = lambda action: 1 / 0  # pyright: ignore[reportAttributeAccessIssue]
            return env

    problem = made(Breaks((), ()), {"patience": 5, "on_fault": "mark"}, num_tasks=2)
    result = problem.evaluate(params_of(problem), key())
    assert (result.fault, result.steps, result.scalars) == (True, 10, (2,))


@pytest.mark.parametrize("isolate", [False, True])
def test_environments_by_id_have_patience_in_a_process_of_their_own_too(
    isolate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(HERE)
    if not isolate:
        gymnasium = pytest.importorskip("gymnasium", reason="needs gymnasium")
        gymnasium.register("Payday-v0", entry_point=gymnasium_payday, disable_env_checker=True, order_enforce=False)
    env = {"id": "toy_env:Payday" if isolate else "Payday-v0", "settings": {"pays": [3]}, "isolate": isolate}
    mapping: dict[str, Any] = {"env": {**env, "patience": 4}, "stop": {"generations": 1}, "policy": {"hidden": [4]}}
    problem = problems.make_problem(cfg.from_mapping(mapping))
    result = problem.evaluate(np.zeros(problem.num_params, np.float32), key())
    assert (result.fitness, result.steps, result.scalars) == (1.0, 7, (1,))


def gymnasium_payday(pays: list[int]) -> Any:
    import gymnasium

    class Registered(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)

        def __init__(self) -> None:
            toy = Payday(pays)
            self.step = toy.step
            self.start = toy.reset

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            return self.start(seed=seed)

    return Registered()


@pytest.mark.parametrize(
    ("patience", "message"),
    [
        (-1, "env.patience=-1: expected at least 0; choose e.g. 0"),
        (2.5, "env.patience: expected an integer, got 2.5"),
    ],
)
def test_patience_is_a_number_of_steps(patience: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        host_cases.config(env={"patience": patience})
    assert str(caught.value).startswith(message)


def test_patience_is_part_of_a_runs_science() -> None:
    assert cfg.science(host_cases.config(env={"patience": 3}))["env.patience"] == 3
