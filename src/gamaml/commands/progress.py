"""The display of a run while it goes on: a live table on a terminal, a plain line per generation elsewhere."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, TextIO

from gamaml.commands.text import change, count, duration, number, size
from gamaml.config import Config
from gamaml.engine.info import GenerationInfo
from gamaml.job.job_info import JobInfo
from gamaml.types import Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLUMNS = ("run", "gen", "best", "mean", "incumbent", "before -> after", "evals/s", "eta")
_BAR_WIDTH = 10
_ANY_WIDTH = 10_000
"""Columns of a terminal on which everything has room."""

_BAR = ""
"""Heading of the column of bars."""

_DISPENSABLE = (_BAR, "evals/s", "mean", "eta", "best")
"""Columns that a narrow terminal does without, the first one first: a shortened number would mislead."""


class Display(AbstractContextManager["Display"], Protocol):
    """Shows generations as they finish; a context manager for as long as the run lasts."""

    def start(self, info: JobInfo) -> None:
        """Show the job's ranks, nodes and memory."""
        ...

    def show(self, info: GenerationInfo) -> None:
        """Show one finished generation."""
        ...


def display(
    configs: Sequence[Config],
    names: Sequence[str],
    stream: TextIO,
    write_line: Progress,
    *,
    terminal: bool,
    width: int | None = None,
) -> Display:
    """Return the display that suits a stream; escape codes go to terminals only.

    Args:
        configs: one per population.
        names: one per population.
        stream: the stream that the display goes to.
        write_line: writes a plain line to it.
        terminal: whether it ends on a terminal, and this rank is the one that shows something.
        width: the terminal's columns, None if the stream can be asked.
    """
    goals = {name: config.stop.generations for name, config in zip(names, configs, strict=True)}
    if terminal:
        from rich.console import Console

        # Forced, or rich would believe FORCE_COLOR rather than the stream.
        console = Console(file=stream, force_terminal=True, width=width or None)
        if not console.is_dumb_terminal:
            return LiveDisplay(goals, console)
    return LineDisplay(goals, write_line)


class LineDisplay(Display):
    """One plain line per generation.

    Args:
        goals: name of each population -> generations it stops after, None where the config does not say.
        write_line: receives the lines.
    """

    def __init__(self, goals: Mapping[str, int | None], write_line: Progress) -> None:
        self._goals = goals
        self._write_line = write_line

    def start(self, info: JobInfo) -> None:
        """Write the job's line."""
        self._write_line(job_line(info))

    def show(self, info: GenerationInfo) -> None:
        """Write the generation's line."""
        self._write_line(line(info, self._goals.get(info.name)))

    def __exit__(self, *error: object) -> None:
        """Do nothing: every line is already written."""


class LiveDisplay(Display):
    """A table that stays in place, one row per population.

    Args:
        goals: name of each population -> generations it stops after, None where the config does not say.
        console: a rich console on a terminal.
    """

    def __init__(self, goals: Mapping[str, int | None], console: Console) -> None:
        from rich.live import Live

        self._goals = goals
        self._latest: dict[str, GenerationInfo] = {}
        self._console = console
        # Not redirected: a message on stderr just before MPI aborts the job would never be drawn.
        self._live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self, info: JobInfo) -> None:
        """Write the job's line above the table."""
        self._console.print(job_line(info), highlight=False, markup=False)

    def show(self, info: GenerationInfo) -> None:
        """Put the generation into its population's row."""
        self._latest[info.name] = info

    def __enter__(self) -> LiveDisplay:
        self._live.start(refresh=True)
        # A job that MPI aborts runs no clean-up: a hidden cursor would stay hidden.
        self._console.show_cursor(True)
        return self

    def __exit__(self, *error: object) -> None:
        """Draw the last state and leave it on the terminal."""
        self._live.stop()

    def _table(self) -> Table:
        """Return the table with as many columns as the terminal has room for."""
        from rich.measure import Measurement

        room = self._console.options.update_width(_ANY_WIDTH)
        table = self._table_without(())
        for left_out in range(1, len(_DISPENSABLE) + 1):
            if Measurement.get(self._console, room, table).maximum <= self._console.width:
                break
            table = self._table_without(_DISPENSABLE[:left_out])
        return table

    def _table_without(self, left_out: Sequence[str]) -> Table:
        """Return the table without some columns."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        bars = any(goal is not None for goal in self._goals.values())
        columns = [*_COLUMNS, *[_BAR] * bars]
        kept = [index for index, column in enumerate(columns) if column not in left_out]
        table = Table(box=None, padding=(0, 1, 0, 0))
        for index in kept:
            table.add_column(columns[index], justify="left" if index == 0 else "right", no_wrap=True)
        for name, goal in self._goals.items():
            info = self._latest.get(name)
            cells = _cells(info, goal) if info is not None else (f"0{_of(goal)}", *[""] * (len(_COLUMNS) - 2))
            done = info.generation + 1 if info is not None else 0
            bar = ProgressBar(goal, done, width=_BAR_WIDTH) if goal is not None else ""
            row = [name, *cells, bar]
            table.add_row(*[row[index] for index in kept])
        return table


def job_line(info: JobInfo) -> str:
    """Return a job's ranks, nodes and memory as one line."""
    sizes = Counter(info.population_nbytes)
    populations = " + ".join(f"{count(times, 'population')} of {size(nbytes)}" for nbytes, times in sizes.items())
    return (
        f"{count(info.num_ranks, 'rank')} on {count(info.num_nodes, 'node')}; each node holds "
        f"{size(info.node_nbytes)}: noise table {size(info.table_nbytes)} + {populations}"
    )


def line(info: GenerationInfo, goal: int | None) -> str:
    """Return a generation's plain line.

    Args:
        info: the generation.
        goal: generations after which the population stops, None where the config does not say.
    """
    generation, best, mean, incumbent, returns, rate, eta = _cells(info, goal)
    failed = f"  failed {info.num_failed}" if info.num_failed else ""
    return (
        f"{info.name} gen {generation}  best {best}  mean {mean}  incumbent {incumbent}  {info.metric} {returns}"
        f"{failed}  {rate} evals/s  eta {eta}"
    )


def _cells(info: GenerationInfo, goal: int | None) -> tuple[str, ...]:
    """Return the entries of all columns but the name."""
    rate = info.num_evaluations / info.seconds if info.seconds > 0 else math.nan
    return (
        f"{info.generation + 1}{_of(goal)}",
        number(info.fitness_best),
        number(info.fitness_mean),
        number(info.incumbent_fitness),
        change(info.incumbent_returns),
        number(rate),
        duration(info.eta_seconds),
    )


def _of(goal: int | None) -> str:
    return f"/{goal}" if goal is not None else ""
