"""The picture of claim.py: learning curves, a panel for every K."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gamaml
from claim_table import Cell
from gamaml.commands.pictures import BLUE, GREEN, ORANGE
from gamaml.types import Float64Array

_LOOKS = {
    "multifactorial": (BLUE, "o", "-"),
    "ga": ("#D55E00", "v", "-."),
    "es": (GREEN, "^", "--"),
    "maml": (ORANGE, "s", "-"),
    "first-order-maml": ("#CC79A7", "D", ":"),
}
"""Colour (of Okabe and Ito), marker and line."""

_COLUMNS = 2
_DECADE = 10


def draw(cells: Sequence[Cell], path: Path) -> None:
    """Draw the score over core-seconds, or steps: the interquartile mean over seeds, and a band from worst to best.

    Args:
        cells: of one task.
        path: the picture, NAME.png.
    """
    # Here, since matplotlib takes a second to import.
    from matplotlib.figure import Figure

    keys = list(dict.fromkeys((cell.budget, cell.rounds) for cell in cells))
    columns = min(_COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure: Any = Figure(figsize=(8.0, 0.8 + 3.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    metric = cells[0].subject.metric
    curves = {(cell.budget, cell.rounds, cell.method): _curve(cell) for cell in cells}
    sign = _log_sign(np.concatenate([scores.ravel() for _, scores in curves.values()]))
    for axes, (budget, rounds) in zip(panels, keys, strict=False):
        for cell in cells:
            if (cell.budget, cell.rounds) == (budget, rounds):
                _draw_curve(axes, cell.method, *curves[budget, rounds, cell.method], sign or 1)
        axes.set_xscale("log")
        ticks = [budget.amount / 2**halvings for halvings in range(4)]
        axes.set_xticks(ticks, [f"{tick:.3g}" if budget.unit == "seconds" else f"{tick:,.0f}" for tick in ticks])
        axes.minorticks_off()
        _dress(axes, f"K = {rounds}, {budget}", "core-seconds" if budget.unit == "seconds" else "environment steps")
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    for axes in panels[: len(keys) : columns]:
        axes.set_ylabel(f"{metric} after K rounds")
    if sign is not None:
        _make_log(panels[0], sign)
    handles = {name: line for axes in panels for line, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=150)


def _curve(cell: Cell) -> tuple[Float64Array, Float64Array]:
    """Return the places, float64[P], and scores, float64[seeds, P], of the marks that all seeds have."""
    column = "core_seconds" if cell.budget.unit == "seconds" else "steps"
    points = [{point["mark"]: point for point in run.curve if point["score"] is not None} for run in cell.runs]
    marks = [mark for mark in points[0] if all(mark in each for each in points)]
    x = np.array([[each[mark][column] for mark in marks] for each in points], np.float64)
    return x.mean(axis=0), np.array([[each[mark]["score"] for mark in marks] for each in points], np.float64)


def _log_sign(scores: Float64Array) -> int | None:
    """Return the sign of scores that span decades, which makes them fit for a logarithmic axis; otherwise None."""
    sizes = np.abs(scores)
    if len(scores) == 0 or not ((scores > 0).all() or (scores < 0).all()) or sizes.max() <= _DECADE * sizes.min():
        return None
    return int(np.sign(scores[0]))


def _draw_curve(axes: Any, method: str, x: Float64Array, scores: Float64Array, sign: int) -> None:  # matplotlib Axes
    colour, marker, line = _LOOKS[method]
    if scores.size == 0:
        # A name in the legend, though every point diverged.
        axes.plot([], [], line, color=colour, marker=marker, label=method)
        return
    middle = gamaml.interquartile_mean(scores)
    axes.plot(x, sign * middle, line, color=colour, marker=marker, markersize=5, linewidth=1.8, label=method)
    ends = np.sort(sign * np.array([scores.min(axis=0), scores.max(axis=0)]), axis=0)
    axes.fill_between(x, *ends, color=colour, alpha=0.18, linewidth=0)


def _make_log(axes: Any, sign: int) -> None:  # matplotlib Axes, which shares its ordinate with the others
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    def text(size: float, _: int) -> str:
        return f"{sign * size:g}"

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(text))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if sign < 0:
        axes.invert_yaxis()


def _dress(axes: Any, title: str, label: str) -> None:  # matplotlib Axes
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel(label)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
