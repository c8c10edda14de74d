"""How well what a run found adapts to tasks that no generation met: a table, a picture, and the arrays behind them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gamaml import config as cfg
from gamaml.commands import pictures
from gamaml.commands import text as words
from gamaml.commands.pictures import BLUE, ORANGE
from gamaml.config import Config
from gamaml.engine.evaluation import use_constants
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.evolution.streams import Purpose
from gamaml.types import Evaluation, EvaluationKey, Float32Array, Float64Array

if TYPE_CHECKING:
    from gamaml.problems import CompleteProblem
    from gamaml.runlog import Run

_SEED = 0
"""Of the held-out tasks, the same for all runs. Their purpose is another than training's, so no run met them."""

_BATCH = 8
"""Tasks per call of a compiled program."""

_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 100
_COVERAGE = 0.95


@dataclass(frozen=True)
class Adaptation:
    """What adaptation came to on held-out tasks; R rounds are shown.

    Attributes:
        name: the run's name.
        who: what of the run was evaluated, in words.
        metric: "return" (higher is better) or "loss" (lower is better).
        rounds: the numbers of inner rounds shown, ascending.
        trained_rounds: rounds that the run was trained for.
        values: float64[num_tasks, R], the return (or loss) of each task after each of `rounds`.
        steps: environment steps (supervised: samples) that it took.
        optimal_return: the best possible mean, where the task knows it.
        setting: what makes the tasks what they are; runs of equal settings met the same tasks.
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
        """Held-out tasks; of one environment, fresh episodes."""
        return len(self.values)

    @property
    def mean(self) -> Float64Array:
        """Mean over tasks, float64[R]; not finite where a task diverged."""
        with np.errstate(invalid="ignore", over="ignore"):
            return self.values.mean(axis=0)

    @property
    def median(self) -> Float64Array:
        """Median over tasks, float64[R], which a few tasks that diverge do not move."""
        worst = np.inf if self.metric == "loss" else -np.inf
        return np.median(np.where(np.isnan(self.values), worst, self.values), axis=0)

    @property
    def interval(self) -> Float64Array:
        """Ends of the mean's bootstrap interval, float64[2, R]; see `bootstrap`."""
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
    """Let what a run found adapt to tasks that no generation met.

    One rank suffices: this is one candidate on some dozens of tasks, seconds beside the hours of a run.

    Args:
        run: from `gamaml.load`.
        tasks: number of held-out tasks; of an environment that is always the same, fresh episodes.
        rounds: numbers of inner rounds to show, 0 to those of the training by default. More are allowed.
        generation: whose elite or parents, the last by default.
        parents_mean: evaluate the mean of the parents' parameters instead of the elite.
        overrides: changes of the run's config as on the command line, such as "inner.episodes=40".

    Raises:
        ConfigError: there is no such generation, or the task cannot be learned so.
    """
    # They load much that `import gamaml` should not.
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
        who=("mean of the parents" if parents_mean else "elite") + of,
        metric=problem.metric,
        rounds=shown,
        trained_rounds=trained,
        values=np.array([evaluation.returns for evaluation in evaluations], np.float64)[:, list(shown)],
        steps=sum(evaluation.steps for evaluation in evaluations),
        optimal_return=problem.optimal_return,
        setting=_setting(config),
    )


def compare(
    run: Run,
    against: Run,
    *,
    tasks: int = 40,
    rounds: Sequence[int] | None = None,
    generation: int | None = None,
    parents_mean: bool = False,
    overrides: Sequence[str] = (),
) -> tuple[Adaptation, Adaptation]:
    """Let what two runs found adapt to the same tasks; `difference` and `text` take the two results.

    Args:
        run: from `gamaml.load`.
        against: another, of the same task.
        tasks: as in `adapt`, like the other arguments.
        rounds: 0 to those of the training by default, to the greater number if they differ.
        generation: of both runs.
        parents_mean: of both runs.
        overrides: of both runs.

    Raises:
        ConfigError: as `adapt` and `difference`.
    """
    if rounds is None:
        rounds = range(max(run.header.num_rounds, against.header.num_rounds) + 1)
    one, other = (
        adapt(each, tasks=tasks, rounds=rounds, generation=generation, parents_mean=parents_mean, overrides=overrides)
        for each in (run, against)
    )
    _check_alike(one, other)
    return one, other


def bootstrap(values: Float64Array) -> Float64Array:
    """Return the ends of 95 % confidence intervals of means over tasks.

    The percentile bootstrap: tasks are drawn with replacement, 10,000 times, always by the same random numbers.

    Args:
        values: float64[num_tasks, R].

    Returns:
        float64[2, R], NaN where a value is not finite.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    number, random = len(values), streams.generator(np.zeros(2, np.uint32))
    finite = np.isfinite(values).all(axis=0)
    # About the first value, so that large values leave the digits of their differences.
    origin = np.where(finite, values[0], 0.0)
    centred = np.where(finite, values - origin, 0.0)
    means: list[Float64Array] = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        counts = random.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES_AT_ONCE)
        means.append(counts @ centred / number)
    tail = (1 - _COVERAGE) / 2
    ends = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0) + origin
    return np.where(finite, ends, np.nan)


def difference(one: Adaptation, other: Adaptation) -> Float64Array:
    """Return `one`'s values less `other`'s, task by task, float64[num_tasks, R].

    Raises:
        ConfigError: they did not meet the same tasks, or show other rounds.
    """
    _check_alike(one, other)
    with np.errstate(invalid="ignore"):  # where both diverged, there is no difference
        return one.values - other.values


def text(result: Adaptation, against: Adaptation | None = None) -> str:
    """Return a table; with `against`, of both runs and their difference, task by task."""
    both = [result] if against is None else [result, against]
    better = "lower" if result.metric == "loss" else "higher"
    lines = [f"{each.name}: {each.who}, {each.steps:,} {_unit(each)}" for each in both]
    lines.append(
        f"{result.metric} on {result.num_tasks} held-out tasks or episodes: mean [95 % bootstrap interval], "
        f"{better} is better"
    )
    rows = [["rounds"], *([str(number)] for number in result.rounds)]
    for each in both:
        _add(rows, each.name, each.mean, each.interval)
        _add_column(rows, "median", [_number(value) for value in each.median])
    if against is not None:
        paired = difference(result, against)
        with np.errstate(invalid="ignore"):
            _add(rows, "difference", paired.mean(axis=0), bootstrap(paired))
    failed = sum(np.count_nonzero(~np.isfinite(each.values), axis=0) for each in both)
    if np.any(failed):
        _add_column(rows, "not finite", [str(number) for number in np.atleast_1d(failed)])
    _mark(rows, both)
    lines += ["", *words.table(rows)]
    lines += _notes(both)
    return "\n".join(lines)


def plot(result: Adaptation, against: Adaptation | None = None, *, path: Path | str) -> Path:
    """Draw the mean after each round with its interval; dashed beyond the rounds of the training.

    Args:
        result: of one run.
        against: of another.
        path: FILE.png.

    Raises:
        ConfigError: the path does not end with .png, or its folder is missing.
    """
    path = pictures.checked(path)
    figure, axes = pictures.figure()
    both = [(result, BLUE, "o")] if against is None else [(result, BLUE, "o"), (against, ORANGE, "s")]
    for place, (each, colour, marker) in enumerate(both):
        _draw(axes, each, colour, marker, shift=0.08 * place)
    cut = _cut_off(axes, [each for each, *_ in both])
    beyond = result.rounds[-1] > min(each.trained_rounds for each, *_ in both)
    dashed = "; dashed: more than trained for" if beyond else ""
    pictures.draw_optimum(axes, result.optimal_return)
    axes.set(
        xlabel=f"inner rounds completed (0: before adaptation{dashed})", ylabel=f"{result.metric}, mean over tasks"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(result.rounds[0] - 0.5, result.rounds[-1] + 0.5)
    pictures.finish(figure, axes, f"{result.num_tasks} held-out tasks, 95 % intervals{cut}")
    figure.savefig(path, dpi=150)
    return path


def _held_out(run: Run, rounds: int, overrides: Sequence[str]) -> Config:
    """Return the run's config with one task per evaluation and as many rounds."""
    for override in overrides:
        for name, option in (("inner.rounds", "--rounds"), ("inner.num_tasks", "--tasks")):
            if override.partition("=")[0].strip() == name:
                raise ConfigError(f"--set {override}: expected other names, got {name}; say it by {option}")
    trained = run.header.num_rounds
    # One without a round would have no genes for step sizes, and one that had none has none now.
    rounds = max(rounds, min(trained, 1))
    # Whatever trained it, what is asked for here are evaluations, without gradients.
    forced = ["strategy=ga", "inner.num_tasks=1", "inner.batch_size=1", f"inner.rounds={rounds}"]
    if trained == 0 and rounds > 0:
        forced.append("inner.step_size_gene=none")
    # An environment by id is one task: what differs are its episodes.
    one_episode = ["inner.episodes=1"] if run.config.env.id and rounds == 0 else []
    return cfg.from_mapping(cfg.to_mapping(run.config), [*one_episode, *overrides, *forced])


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
            f"--rounds {rounds}: expected at most {problem.num_rounds}, which this Problem has; choose fewer"
        )


def _evaluate(problem: CompleteProblem, params: Float32Array, tasks: int) -> list[Evaluation]:
    def key(index: int) -> EvaluationKey:
        purposes = (Purpose.TEST_TASKS, Purpose.TEST_EPISODES)
        return EvaluationKey(*(streams.key(_SEED, purpose, episode=index) for purpose in purposes))

    keys, size = [key(index) for index in range(tasks)], problem.batch_size
    if size == 1:
        return [problem.evaluate(params, key) for key in keys]
    rows, found = np.tile(params, (size, 1)), list[Evaluation]()
    for start in range(0, tasks, size):
        part = keys[start : start + size]
        padded = part + [part[-1]] * (size - len(part))
        found += problem.evaluate_batch(rows, padded)[: len(part)]
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
    inner = config.inner
    return (
        f"task {config.subject}",
        f"settings {dict(config.task.settings)}",
        f"environment {dict(config.env.settings)} with max_steps={config.env.max_steps}",
        f"inner.episodes={inner.episodes}",
    )


def _unit(result: Adaptation) -> str:
    return "samples" if result.metric == "loss" else "environment steps"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _add(rows: list[list[str]], name: str, mean: Float64Array, interval: Float64Array) -> None:
    low, high = interval
    cells = zip(mean, low, high, strict=True)
    column = [f"{_number(m)} [{_number(a)}, {_number(b)}]" if np.isfinite(a) else _number(m) for m, a, b in cells]
    _add_column(rows, name, column)


def _add_column(rows: list[list[str]], name: str, cells: Sequence[str]) -> None:
    for row, cell in zip(rows, [name, *cells], strict=True):
        row.append(cell)


def _mark(rows: list[list[str]], both: Sequence[Adaptation]) -> None:
    """Mark the rounds that go beyond the training of one of the runs."""
    trained = min(each.trained_rounds for each in both)
    for row, number in zip(rows[1:], both[0].rounds, strict=True):
        row[0] += "*" if number > trained else " "
    rows[0][0] += " "


def _notes(both: Sequence[Adaptation]) -> list[str]:
    lines: list[str] = []
    if both[0].rounds[-1] > min(each.trained_rounds for each in both):
        trained = ", ".join(f"{each.name} {each.trained_rounds}" for each in both)
        lines.append(f"* more rounds than were trained for ({trained})")
    best = both[0].optimal_return
    if best is not None:
        known = "not known, out of reach of exact computation" if np.isnan(best) else f"{best:.4f}, exactly computed"
        lines.append(f"best possible mean: {known}")
    return lines


def _draw(axes: Any, each: Adaptation, colour: str, marker: str, shift: float) -> None:  # matplotlib Axes
    rounds, mean = np.array(each.rounds) + shift, each.mean
    low, high = each.interval
    trained = sum(number <= each.trained_rounds for number in each.rounds)
    axes.errorbar(
        rounds[:trained],
        mean[:trained],
        [mean[:trained] - low[:trained], high[:trained] - mean[:trained]],
        color=colour,
        marker=marker,
        linewidth=1.8,
        capsize=3,
        label=f"{each.name}, {each.who}",
    )
    if trained < len(rounds):
        beyond = slice(max(trained - 1, 0), None)
        errors = np.array([mean - low, high - mean])[:, beyond]
        errors[:, : min(trained, 1)] = 0  # drawn already
        axes.errorbar(
            rounds[beyond],
            mean[beyond],
            errors,
            color=colour,
            linestyle="--",
            marker=marker,
            markerfacecolor="white",
            markevery=slice(min(trained, 1), None),
            linewidth=1.4,
            capsize=3,
        )


def _cut_off(axes: Any, both: Sequence[Adaptation]) -> str:
    """Cut the axis where rounds beyond the training diverge and would flatten the rest; return a note that says so."""
    trained, beyond = list[Float64Array](), list[Float64Array]()
    for each in both:
        inside = np.array(each.rounds) <= each.trained_rounds
        ends = np.vstack([each.interval, each.mean])
        trained.append(ends[:, inside].ravel())
        beyond.append(ends[:, ~inside].ravel())
    shown = np.concatenate(trained)
    shown = shown[np.isfinite(shown)]
    others = np.concatenate(beyond)
    if len(shown) == 0 or np.ptp(shown) == 0:
        return ""
    low, high = shown.min() - np.ptp(shown), shown.max() + np.ptp(shown)
    # A NaN is outside, too.
    if np.all((others >= low) & (others <= high)):
        return ""
    axes.set_ylim(low, high)
    return "; rounds beyond the training leave the axis"
