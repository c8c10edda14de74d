"""A picture of adaptation: the mean return (or loss) after each inner round, of one run or over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.commands import pictures
from gamaml.commands.pictures import BLUE, ORANGE
from gamaml.engine.adaptation import Aggregate
from gamaml.types import Float64Array


def draw(result: Aggregate, against: Aggregate | None = None, *, path: Path | str) -> Path:
    """Draw the mean after each round with its interval; dashed beyond the rounds of the training.

    With several seeds it is their interquartile mean, with a thin line for each seed.

    Args:
        result: the adaptation of one run, or of the seeds of one config.
        against: that of another, drawn beside it.
        path: FILE.png.

    Returns:
        The file written.

    Raises:
        ConfigError: the path does not end in .png, or its folder is missing.
    """
    path = pictures.checked(path)
    figure, axes = pictures.figure()
    both = [(result, BLUE, "o")] if against is None else [(result, BLUE, "o"), (against, ORANGE, "s")]
    for place, (each, colour, marker) in enumerate(both):
        _draw(axes, each, colour, marker, shift=0.08 * place)
    cut, first = _cut_beyond_training(axes, [each for each, *_ in both]), result.first
    beyond = first.rounds[-1] > min(each.first.trained_rounds for each, *_ in both)
    dashed = "; dashed: more than trained for" if beyond else ""
    pictures.draw_optimum(axes, first.optimal_return)
    axes.set(xlabel=f"inner rounds completed (0: before adaptation{dashed})", ylabel=f"{first.metric}, mean over tasks")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlim(first.rounds[0] - 0.5, first.rounds[-1] + 0.5)
    several = any(len(each.adaptations) > 1 for each, *_ in both)
    seeds = "; thin: each seed" if several else ""
    pictures.finish(figure, axes, f"{first.num_tasks} held-out tasks, 95 % intervals{seeds}{cut}")
    figure.savefig(path, dpi=150)
    return path


def _draw(axes: Any, each: Aggregate, colour: str, marker: str, shift: float) -> None:  # matplotlib Axes
    rounds, mean = np.array(each.first.rounds) + shift, each.mean
    low, high = each.interval
    trained = sum(number <= each.first.trained_rounds for number in each.first.rounds)
    if len(each.adaptations) > 1:
        axes.plot(rounds, each.means.T, color=colour, linewidth=0.8, alpha=0.4)
    axes.errorbar(
        rounds[:trained],
        mean[:trained],
        [mean[:trained] - low[:trained], high[:trained] - mean[:trained]],
        color=colour,
        marker=marker,
        linewidth=1.8,
        capsize=3,
        label=f"{each.name}, {each.first.who}",
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


def _cut_beyond_training(axes: Any, both: Sequence[Aggregate]) -> str:
    """Cut the axis if rounds beyond the training diverge and would flatten the rest; return a note that says so."""
    trained, beyond = list[Float64Array](), list[Float64Array]()
    for each in both:
        inside = np.array(each.first.rounds) <= each.first.trained_rounds
        ends = np.vstack([each.interval, each.mean, each.means])
        trained.append(ends[:, inside].ravel())
        beyond.append(ends[:, ~inside].ravel())
    shown = np.concatenate(trained)
    shown = shown[np.isfinite(shown)]
    others = np.concatenate(beyond)
    if len(shown) == 0 or np.ptp(shown) == 0:
        return ""
    low, high = shown.min() - np.ptp(shown), shown.max() + np.ptp(shown)
    # A NaN counts as outside.
    if np.all((others >= low) & (others <= high)):
        return ""
    axes.set_ylim(low, high)
    return "; rounds beyond the training leave the axis"
