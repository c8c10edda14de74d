"""Two pictures of a run: fitness over the generations, and the incumbent's return during adaptation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gamaml.commands import pictures
from gamaml.commands.pictures import BLUE, GREEN, ORANGE
from gamaml.commands.text import spread, step_unit
from gamaml.errors import ConfigError
from gamaml.runlog import Run
from gamaml.types import Float64Array

_MAX_STEP_TICKS = 6

_CURVES = (
    ("fitness_best", "best child", ORANGE, "--"),
    ("incumbent_fitness", "incumbent", BLUE, "-"),
    ("fitness_mean", "mean child", GREEN, ":"),
)
_ROUND_STYLES = ((GREEN, ":", "s"), (ORANGE, "--", "^"), (BLUE, "-", "o"))


def draw(run: Run, path: Path | str) -> list[Path]:
    """Draw a run.

    Args:
        run: with at least one committed generation.
        path: FILE.png, the learning curve; the return (or loss) per inner round goes to FILE-rounds.png.

    Returns:
        The files written.

    Raises:
        ConfigError: the path does not end in .png, its folder is missing, or there is no generation yet.
    """
    path = pictures.checked(path)
    if run.num_generations == 0:
        raise ConfigError(f"run {run.path}: expected at least one finished generation, got none; wait for one")
    rounds = path.with_name(f"{path.stem}-rounds.png")
    learning_curve(run).savefig(path, dpi=150)
    _rounds(run).savefig(rounds, dpi=150)
    return [path, rounds]


def learning_curve(run: Run) -> Any:  # a matplotlib Figure
    """Return the figure of the fitness over the generations."""
    figure, axes = pictures.figure()
    curves = run.curves
    generations = np.arange(run.num_generations)
    for name, label, colour, style in _CURVES:
        axes.plot(generations, curves[name], style, color=colour, label=label, linewidth=1.8)
    if run.num_generations == 1:
        for line in axes.lines:
            line.set_marker("o")
    cut = _cut_below(axes, curves)
    pictures.draw_optimum(axes, run.header.optimal_return)
    axes.set(xlabel="generation", ylabel="fitness")
    axes.xaxis.get_major_locator().set_params(integer=True)
    top = axes.secondary_xaxis("top")
    ticks = spread(run.num_generations, _MAX_STEP_TICKS)
    top.set_xticks(ticks, labels=[_short(curves["total_steps"][tick]) for tick in ticks])
    top.set_xlabel(step_unit(run.header.metric))
    pictures.finish(figure, axes, f"{run.header.name}: fitness{cut}")
    return figure


def _cut_below(axes: Any, curves: dict[str, Float64Array]) -> str:
    """Cut the axis below if diverged children would flatten the rest; return a note that says so."""
    shown = np.concatenate([curves["fitness_best"], curves["incumbent_fitness"]])
    shown = shown[np.isfinite(shown)]
    if len(shown) < 2:
        return ""
    low, high = np.percentile(shown, [5, 100])
    floor = low - (high - low)
    lowest = np.fmin.reduce([curves[name] for name, *_ in _CURVES])
    hidden = int(np.count_nonzero(lowest < floor))
    if hidden == 0 or low == high:
        return ""
    axes.set_ylim(floor, high + 0.05 * (high - floor))
    return f" ({hidden} of {len(lowest)} generations reach below the axis)"


def _rounds(run: Run) -> Any:  # a matplotlib Figure
    figure, axes = pictures.figure()
    metric = run.header.metric
    returns = run.curves["incumbent_returns"]
    chosen = spread(run.num_generations, 3)
    rounds = np.arange(run.header.num_rounds + 1)
    for generation, (colour, style, marker) in zip(chosen, _ROUND_STYLES[-len(chosen) :], strict=True):
        axes.plot(
            rounds,
            returns[generation],
            style,
            color=colour,
            marker=marker,
            label=f"elite of generation {generation}",
            linewidth=1.8,
        )
    axes.set(xlabel="inner rounds completed (0: before adaptation)", ylabel=f"{metric}, mean over tasks")
    axes.set_xticks(spread(len(rounds), 11))
    pictures.finish(figure, axes, f"{run.header.name}: {metric} during adaptation")
    return figure


def _short(number: float) -> str:
    """Return a count for a tick: 1.2k, 34M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"
