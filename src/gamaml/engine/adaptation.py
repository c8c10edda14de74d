"""Adaptation of a run's result to tasks that no generation met: values, comparison and difference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.config.options import sections
from gamaml.engine.evaluation import evaluate_rows, use_constants
from gamaml.engine.intervals import bootstrap
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.evolution.streams import Purpose
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Float64Array

if TYPE_CHECKING:
    from gamaml.problems import CompleteProblem
    from gamaml.runlog import Run

_OF_STRATEGIES = {"strategy", *(section.path for section in sections(Config) if section.strategy)}
_OF_THE_SEARCH = {*_OF_STRATEGIES, "ga", "stop"}

_SEED = 0
"""Seed of the held-out tasks, shared by all runs. They use their own stream purpose, so training never sees them."""

_BATCH = 8
"""Tasks per call of a compiled program."""


@dataclass(frozen=True)
class Adaptation:
    """The result of adaptation on held-out tasks; R rounds are shown.

    Attributes:
        name: the run's name.
        who: the candidate that was evaluated, in words.
        metric: "return" (higher is better) or "loss" (lower is better).
        rounds: the numbers of inner rounds shown, ascending.
        trained_rounds: rounds that the run was trained for.
        values: float64[num_tasks, R], the return (or loss) of each task after each of `rounds`.
        steps: environment steps (supervised: samples) consumed.
        optimal_return: the best possible mean, where the task knows it.
        setting: everything that decides the tasks; runs of equal settings are adapted to the same tasks.
    """

    name: str
    who: str
    metric: str
    rounds: tuple[int, ...]
    trained_rounds: int
    values: Float64Array
    steps: int
    optimal_return: float | None
    setting: tuple[str, ...]

    @property
    def num_tasks(self) -> int:
        """Number of held-out tasks; for a single environment, of fresh episodes."""
        return len(self.values)

    @property
    def mean(self) -> Float64Array:
        """Mean over tasks, float64[R]; not finite where a task diverged."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.values.mean(axis=0)

    @property
    def median(self) -> Float64Array:
        """Median over tasks, float64[R], which a few diverging tasks do not move."""
        worst = np.inf if self.metric == "loss" else -np.inf
        return np.median(np.where(np.isnan(self.values), worst, self.values), axis=0)

    @property
    def interval(self) -> Float64Array:
        """Ends of the mean's 95 % interval by `bootstrap`, float64[2, R]."""
        return bootstrap(self.values)


def adapt(
    run: Run,
    *,
    tasks: int = 40,
    rounds: Sequence[int] | None = None,
    generation: int | None = None,
    parents_mean: bool = False,
    overrides: Sequence[str] = (),
) -> Adaptation:
    """Adapt a run's result to tasks that no generation met.

    One rank suffices for one candidate on some dozens of tasks: seconds, where a run takes hours.

    Args:
        run: from `gamaml.load`.
        tasks: number of held-out tasks, or of fresh episodes where the run has a single environment.
        rounds: numbers of inner rounds to show, which may exceed the trained number; by default, 0 to the trained
            number.
        generation: the generation that selected the incumbent and the parents, the last one by default.
        parents_mean: evaluate the mean of the parents' parameters instead of the incumbent.
        overrides: changes to the run's config, written as on the command line: "inner.episodes=40".

    Returns:
        The values of all tasks after each round.

    Raises:
        ConfigError: there is no such generation, or the changed config does not fit the run's policy.
    """
    # Imported here, so that `import gamaml` loads only NumPy.
    from threadpoolctl import threadpool_limits  # pyright: ignore[reportMissingTypeStubs] - it has none

    trained = run.header.num_rounds
    shown = tuple(range(trained + 1)) if rounds is None else tuple(sorted(set(rounds)))
    if tasks < 2:
        raise ConfigError(f"tasks={tasks}: expected at least 2, since an interval needs several; choose e.g. 40")
    if not shown or shown[0] < 0:
        raise ConfigError(f"rounds={list(shown)}: expected numbers from 0 on; choose e.g. 0-{trained}")
    if run.num_generations == 0:
        raise ConfigError(f"run {run.path}: expected at least one finished generation, got none; wait for one")
    config = _held_out(run, shown[-1], overrides)
    problem = _problem(config)
    _check(run, problem, shown[-1])
    params = run.parents_mean(generation) if parents_mean else run.parameters(generation)
    of = "" if generation is None else f" of generation {generation}"
    use_constants(problem, run.header.constants)
    # One thread, as in the run.
    with threadpool_limits(1):
        evaluations = _evaluate(problem, params, tasks)
    return Adaptation(
        name=run.header.name,
        who=("mean of the parents" if parents_mean else "incumbent") + of,
        metric=problem.metric,
        rounds=shown,
        trained_rounds=trained,
        values=np.array([evaluation.returns for evaluation in evaluations], np.float64)[:, list(shown)],
        steps=sum(evaluation.steps for evaluation in evaluations),
        optimal_return=problem.optimal_return,
        setting=_setting(config),
    )


def compare_adaptation(
    run: Run,
    against: Run,
    *,
    tasks: int = 40,
    rounds: Sequence[int] | None = None,
    generation: int | None = None,
    parents_mean: bool = False,
    overrides: Sequence[str] = (),
) -> tuple[Adaptation, Adaptation]:
    """Adapt the results of two runs to the same tasks; `difference` takes the two adaptations.

    Args:
        run: from `gamaml.load`.
        against: another run of the same task.
        tasks: number of held-out tasks, or of fresh episodes where the runs have a single environment.
        rounds: numbers of inner rounds to show; by default, 0 to the greater of the two trained numbers.
        generation: the generation of both runs that selected incumbent and parents, the last one by default.
        parents_mean: evaluate the mean of the parents' parameters instead of the incumbent.
        overrides: changes to both configs, written as on the command line: "inner.episodes=40".

    Returns:
        The adaptations of `run` and of `against`.

    Raises:
        ConfigError: the runs have different tasks, there is no such generation, or the changed config does not fit.
    """
    if rounds is None:
        rounds = range(max(run.header.num_rounds, against.header.num_rounds) + 1)
    one, other = (
        adapt(each, tasks=tasks, rounds=rounds, generation=generation, parents_mean=parents_mean, overrides=overrides)
        for each in (run, against)
    )
    _check_alike(one, other)
    return one, other


def difference(one: Adaptation, other: Adaptation) -> Float64Array:
    """Return the values of `one` minus those of `other`, task by task.

    Args:
        one: from `adapt` or `compare_adaptation`.
        other: on the same tasks, after the same rounds.

    Returns:
        float64[num_tasks, R], NaN where both diverged.

    Raises:
        ConfigError: tasks or rounds differ.
    """
    _check_alike(one, other)
    with np.errstate(invalid="ignore"):
        return one.values - other.values


def _held_out(run: Run, rounds: int, overrides: Sequence[str]) -> Config:
    """Return the run's config with one task per evaluation and at least `rounds` rounds."""
    for override in overrides:
        for name, option in (("inner.rounds", "--rounds"), ("inner.num_tasks", "--tasks")):
            if override.partition("=")[0].strip() == name:
                raise ConfigError(f"--set {override}: expected other names, got {name}; use {option}")
        if override.partition("=")[0].strip().partition(".")[0] in _OF_THE_SEARCH:
            raise ConfigError(
                f"--set {override}: expected a setting of an evaluation, got one of the search; leave it out"
            )
    trained = run.header.num_rounds
    # Only a config with rounds has genes for step sizes, and the policy must keep its trained genes.
    rounds = max(rounds, min(trained, 1))
    forced = ["inner.num_tasks=1", "inner.batch_size=1", f"inner.rounds={rounds}"]
    if trained == 0 and rounds > 0:
        forced.append("inner.step_size_gene=none")
    # An environment by id is one task, whose episodes differ.
    one_episode = ["inner.episodes=1"] if run.config.env.id and rounds == 0 else []
    # Only evaluations follow, without a gradient through the rounds, as with the default strategy.
    mapping = {name: value for name, value in cfg.to_mapping(run.config).items() if name not in _OF_STRATEGIES}
    return cfg.from_mapping(mapping, [*one_episode, *overrides, *forced])


def _problem(config: Config) -> CompleteProblem:
    from gamaml import problems
    from gamaml.problems.jax_problem import JaxProblem

    problem = problems.make_problem(config)
    if isinstance(problem.wrapped, JaxProblem):
        inner = dataclasses.replace(config.inner, batch_size=_BATCH)
        problem = problems.make_problem(dataclasses.replace(config, inner=inner))
    return problem


def _check(run: Run, problem: CompleteProblem, rounds: int) -> None:
    if problem.num_params != run.header.num_params:
        raise ConfigError(
            f"run {run.path}: expected a policy of {run.header.num_params} parameters, got {problem.num_params}; "
            "leave the policy and the genes as they were"
        )
    if rounds > problem.num_rounds:
        raise ConfigError(
            f"--rounds {rounds}: expected at most the {problem.num_rounds} of this Problem, got {rounds}; choose fewer"
        )


def _evaluate(problem: CompleteProblem, params: Float32Array, tasks: int) -> list[Evaluation]:
    def key(index: int) -> EvaluationKey:
        purposes = (Purpose.TEST_TASKS, Purpose.TEST_EPISODES)
        return EvaluationKey(*(streams.key(_SEED, purpose, episode=index) for purpose in purposes))

    keys, size = [key(index) for index in range(tasks)], problem.batch_size
    rows, found = np.tile(params, (size, 1)), list[Evaluation]()
    for start in range(0, tasks, size):
        found += evaluate_rows(problem, rows, keys[start : start + size])
    return found


def _check_alike(one: Adaptation, other: Adaptation) -> None:
    if one.setting != other.setting:
        changed = ", ".join(f"{a} and {b}" for a, b in zip(one.setting, other.setting, strict=True) if a != b)
        raise ConfigError(
            f"{one.name}, {other.name}: expected runs of the same tasks, got {changed}; compare others, or set it alike"
        )
    if one.rounds != other.rounds or one.num_tasks != other.num_tasks:
        raise ConfigError(f"{one.name}, {other.name}: expected the same rounds and number of tasks; adapt both alike")


def _setting(config: Config) -> tuple[str, ...]:
    inner, env = config.inner, config.env
    return (
        f"task {config.subject}",
        f"settings {dict(config.task.settings)}",
        f"environment {dict(env.settings)} with max_steps={env.max_steps}, patience={env.patience}",
        f"inner.episodes={inner.episodes}",
    )
