"""Palette, frame and file name of all pictures."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from gamaml.errors import check_file_name

# Okabe and Ito's palette, which colour-blind readers can distinguish; line styles differ too, for print without colour.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"


def checked(path: Path | str) -> Path:
    """Return a picture's path.

    Raises:
        ConfigError: it does not end in .png, or its folder is missing.
    """
    path = Path(path)
    check_file_name("picture", path, [".png"])
    return path


def figure() -> tuple[Any, Any]:  # a matplotlib Figure and its Axes
    """Return an empty figure that needs no display."""
    # Here, since matplotlib takes as long to import as all the rest of `gamaml inspect`.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(7.5, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def draw_optimum(axes: Any, value: float | None) -> None:  # matplotlib Axes
    """Draw the best possible mean return, if it is known."""
    if value is not None and math.isfinite(value):
        axes.axhline(
            value, color="0.3", linestyle=(0, (5, 1, 1, 1)), linewidth=1.2, label=f"best possible, {value:.4f}"
        )


def finish(figure: Any, axes: Any, title: str) -> None:
    """Give a figure its title, grid and legend."""
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)
    # Below the axes, where it covers no data.
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
