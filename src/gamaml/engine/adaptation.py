"""Adaptation of a run's result to tasks that no generation met: values, comparison, and several seeds together."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.config.options import sections
from gamaml.engine.evaluation import evaluate_rows, use_constants
from gamaml.engine.intervals import bootstrap, interquartile_mean
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

TASKS = 200
"""Held-out tasks by default: as many as it takes for 95 % intervals that are right, and to meet rare failures."""

_FORCED_BY = {"inner.rounds": "--rounds", "inner.num_tasks": "--tasks", "policy.mean_at_end": "--mean-action"}
"""Names that an option sets -> the option."""

_BY_THE_MEAN = ", by the mean action after the last update"

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
        seed: the run's seed.
        generations: generations that led to the candidate.
        experiment: the settings of the run's science but the seed, by dotted name.
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
    seed: int
    generations: int
    experiment: Mapping[str, Any]  # values of a config

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
        return np.median(_nan_as_worst(self.values, self.metric), axis=0)

    @property
    def interval(self) -> Float64Array:
        """Ends of the mean's 95 % interval by `bootstrap`, float64[2, R]."""
        return bootstrap(self.values)


@dataclass(frozen=True)
class Aggregate:
    """The adaptations of several seeds of one config to the same tasks, from `aggregate`; S seeds, R rounds.

    Attributes:
        adaptations: one per seed.
    """

    adaptations: tuple[Adaptation, ...]

    @property
    def first(self) -> Adaptation:
        """The first adaptation, whose metric, rounds, tasks and settings are those of all."""
        return self.adaptations[0]

    @property
    def name(self) -> str:
        """The name of the only run, or that of the first without its seed and the number of seeds."""
        if len(self.adaptations) == 1:
            return self.first.name
        return f"{self.first.name.removesuffix(f'-seed{self.first.seed}')}, {len(self.adaptations)} seeds"

    @property
    def steps(self) -> int:
        """Environment steps (supervised: samples) consumed for all seeds."""
        return sum(each.steps for each in self.adaptations)

    @property
    def values(self) -> Float64Array:
        """The return (or loss) of each seed, task and round, float64[S, num_tasks, R]."""
        return np.array([each.values for each in self.adaptations])

    @property
    def means(self) -> Float64Array:
        """Each seed's mean over tasks, float64[S, R]."""
        return np.array([each.mean for each in self.adaptations])

    @property
    def mean(self) -> Float64Array:
        """Interquartile mean over seeds of `means`, float64[R]; with three seeds or fewer it is their plain mean.

        A seed that diverged on a task counts as the worst, which the interquartile mean of four seeds leaves out.
        """
        return interquartile_mean(_nan_as_worst(self.means, self.first.metric))

    @property
    def interval(self) -> Float64Array:
        """Ends of the 95 % interval of `mean` by `bootstrap` over seeds and tasks, float64[2, R]."""
        return bootstrap(self.values)

    def difference(self, other: Aggregate) -> tuple[Float64Array, Float64Array]:
        """Return `mean` minus that of another config on the same tasks, and its interval.

        Returns:
            (float64[R], float64[2, R]), the difference and the ends of its 95 % interval by `bootstrap`.

        Raises:
            ConfigError: tasks or rounds differ.
        """
        _check_alike(self.first, other.first)
        with np.errstate(invalid="ignore"):
            return self.mean - other.mean, bootstrap(self.values, other.values)


def adapt(
    run: Run,
    *,
    tasks: int = TASKS,
    rounds: Sequence[int] | None = None,
    generation: int | None = None,
    parents_mean: bool = False,
    mean_action: bool = False,
    overrides: Sequence[str] = (),
    on_tasks: Callable[[int], None] | None = None,
) -> Adaptation:
    """Adapt a run's result to tasks that no generation met.

    One rank suffices for one candidate: seconds for tasks in JAX, minutes for environments stepped on the host, where a
    run takes hours. Where a task has a finite set, `all_tasks`, the held-out tasks are these in turn.

    Args:
        run: from `gamaml.load`.
        tasks: number of held-out tasks, or of fresh episodes where the run has a single environment.
        rounds: numbers of inner rounds to show, which may exceed the trained number; by default, 0 to the trained
            number.
        generation: the generation that selected the incumbent and the parents, the last one by default.
        parents_mean: evaluate the mean of the parents' parameters instead of the incumbent.
        mean_action: take the mean action, or the likeliest discrete one, in the episodes that are shown, those after
            the last update; a control of how much quieter actions explain. Each number of rounds is played on its own.
        overrides: changes to the run's config, written as on the command line: "inner.episodes=40".
        on_tasks: called with the number of tasks done, now and then.

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
        raise ConfigError(f"tasks={tasks}: expected at least 2, since an interval needs several; choose e.g. {TASKS}")
    if not shown or shown[0] < 0:
        raise ConfigError(f"rounds={list(shown)}: expected numbers from 0 on; choose e.g. 0-{trained}")
    if run.num_generations == 0:
        raise ConfigError(f"run {run.path}: expected at least one finished generation, got none; wait for one")
    params = run.parents_mean(generation) if parents_mean else run.parameters(generation)
    of = "" if generation is None else f" of generation {generation}"
    passes = [(end,) for end in shown] if mean_action else [shown]
    configs = [_held_out(run, ends[-1], overrides, mean_action=mean_action) for ends in passes]
    made = [_problem(config) for config in configs]
    columns, steps = list[Float64Array](), 0
    for ends, problem in zip(passes, made, strict=True):
        _check(run, problem, ends[-1], mean_action=mean_action)
        use_constants(problem, run.header.constants)
        # One thread, as in the run.
        with threadpool_limits(1):
            evaluations = _evaluate(problem, params, tasks, on_tasks)
        columns += [np.array([each.returns[end] for each in evaluations], np.float64) for end in ends]
        steps += sum(evaluation.steps for evaluation in evaluations)
    return Adaptation(
        name=run.header.name,
        who=("mean of the parents" if parents_mean else "incumbent") + of + (_BY_THE_MEAN if mean_action else ""),
        metric=made[0].metric,
        rounds=shown,
        trained_rounds=trained,
        values=np.stack(columns, axis=1),
        steps=steps,
        optimal_return=made[0].optimal_return,
        setting=_setting(configs[0]),
        seed=run.config.seed,
        generations=run.num_generations if generation is None else generation + 1,
        experiment=_experiment(run.config),
    )


def compare_adaptation(
    run: Run,
    against: Run,
    *,
    tasks: int = TASKS,
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


def check_seeds(runs: Sequence[Run]) -> None:
    """Refuse runs that `aggregate` would refuse, before any of them is adapted.

    Args:
        runs: the seeds of one config.

    Raises:
        ConfigError: they differ in more than their seed, or two have the same seed.
    """
    _check_seeds([(run.header.name, run.config.seed, _experiment(run.config)) for run in runs])


def aggregate(adaptations: Sequence[Adaptation]) -> Aggregate:
    """Put the adaptations of several seeds of one config together.

    Args:
        adaptations: from `adapt`, one per seed, to the same tasks after the same rounds.

    Returns:
        Their interquartile mean over seeds, with its interval.

    Raises:
        ConfigError: the runs differ in more than their seed, two have the same seed, or they were adapted differently.
    """
    if not adaptations:
        raise ConfigError("adaptations: expected one per seed, got none; adapt at least one run")
    _check_seeds([(each.name, each.seed, {"candidate": each.who, **each.experiment}) for each in adaptations])
    for other in adaptations[1:]:
        _check_alike(adaptations[0], other)
    return Aggregate(tuple(adaptations))


def _held_out(run: Run, rounds: int, overrides: Sequence[str], *, mean_action: bool) -> Config:
    """Return the run's config with one task per evaluation and `rounds` rounds, or one where the genes need it."""
    for override in overrides:
        for name, option in _FORCED_BY.items():
            if override.partition("=")[0].strip() == name:
                raise ConfigError(f"--set {override}: expected other names, got {name}; use {option}")
        if override.partition("=")[0].strip().partition(".")[0] in _OF_THE_SEARCH:
            raise ConfigError(
                f"--set {override}: expected a setting of an evaluation, got one of the search; leave it out"
            )
    trained = run.header.num_rounds
    forced = ["inner.num_tasks=1", "inner.batch_size=1"]
    if mean_action:
        # Episodes before any update draw their actions too, but for those that are shown.
        forced += ["policy.mean_at_end=true", *(["policy.sampled=true"] if trained > 0 else [])]
    else:
        # A host policy without rounds would not draw its actions.
        rounds = max(rounds, min(trained, 1))
    forced.append(f"inner.rounds={rounds}")
    if trained > 0:
        # The policy keeps its trained genes; later rounds have those of the last.
        forced.append(f"inner.gene_rounds={run.config.inner.gene_rounds or trained}")
    elif rounds > 0:
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


def _check(run: Run, problem: CompleteProblem, rounds: int, *, mean_action: bool) -> None:
    if mean_action and problem.metric == "loss":
        raise ConfigError(
            f"run {run.path}: expected a policy with actions for --mean-action, got a supervised task; leave it out"
        )
    if problem.num_params != run.header.num_params:
        raise ConfigError(
            f"run {run.path}: expected a policy of {run.header.num_params} parameters, got {problem.num_params}; "
            "leave the policy and the genes as they were"
        )
    if rounds > problem.num_rounds:
        raise ConfigError(
            f"--rounds {rounds}: expected at most the {problem.num_rounds} of this Problem, got {rounds}; choose fewer"
        )


def _evaluate(
    problem: CompleteProblem, params: Float32Array, tasks: int, on_tasks: Callable[[int], None] | None
) -> list[Evaluation]:
    from gamaml.problems.host_problem import HostProblem

    def key(index: int) -> EvaluationKey:
        purposes = (Purpose.TEST_TASKS, Purpose.TEST_EPISODES)
        return EvaluationKey(*(streams.key(_SEED, purpose, episode=index) for purpose in purposes))

    keys, size = [key(index) for index in range(tasks)], problem.batch_size
    rows, found = np.tile(params, (size, 1)), list[Evaluation]()
    for start in range(0, tasks, size):
        if isinstance(problem.wrapped, HostProblem):
            found.append(problem.wrapped.evaluate_held_out(params, keys[start], start))
        else:
            found += evaluate_rows(problem, rows, keys[start : start + size])
        if on_tasks is not None:
            on_tasks(len(found))
    return found


def _nan_as_worst(values: Float64Array, metric: str) -> Float64Array:
    return np.where(np.isnan(values), np.inf if metric == "loss" else -np.inf, values)


def _experiment(config: Config) -> dict[str, Any]:  # values of a config
    return {name: value for name, value in cfg.science(config).items() if name != "seed"}


def _check_seeds(runs: Sequence[tuple[str, int, Mapping[str, Any]]]) -> None:  # values of a config
    """Refuse runs, given as (name, seed, other settings), that are not different seeds of one config."""
    # Compared and shown as JSON: NaN equals itself, and True is not 1.
    settings = [{name: json.dumps(value) for name, value in run[2].items()} for run in runs]
    for (name, *_), other in zip(runs[1:], settings[1:], strict=True):
        changed = sorted(key for key in {**settings[0], **other} if settings[0].get(key) != other.get(key))
        if changed:
            both = [
                f"{key} = {' and '.join(each.get(key, 'unset') for each in (settings[0], other))}" for key in changed
            ]
            raise ConfigError(
                f"{runs[0][0]}, {name}: expected runs of one config that differ in their seed alone, got "
                f"{', '.join(both)}; leave one out, or compare them"
            )
    seed, number = Counter(run[1] for run in runs).most_common(1)[0]
    if number > 1:
        names = ", ".join(run[0] for run in runs if run[1] == seed)
        raise ConfigError(f"{names}: expected runs of different seeds, got seed {seed} {number} times; leave one out")


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
        f"mean action at the end: {config.policy.mean_at_end}",
    )
