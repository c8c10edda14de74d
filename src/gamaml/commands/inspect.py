"""What a run file shows: a table for the terminal and two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.commands import pictures
from gamaml.commands import text as words
from gamaml.commands.pictures import BLUE, GREEN, ORANGE
from gamaml.engine.evaluation import Address
from gamaml.errors import ConfigError
from gamaml.runlog import Current, Run, live_holder, read_current, sidecar
from gamaml.types import Float64Array

_MAX_ROWS = 22
_MAX_CURRENT = 40
_MAX_STEP_TICKS = 6

_CURVES = (
    ("fitness_best", "best child", ORANGE, "--"),
    ("incumbent_fitness", "elite", BLUE, "-"),
    ("fitness_mean", "mean child", GREEN, ":"),
)
_ROUND_STYLES = ((GREEN, ":", "s"), (ORANGE, "--", "^"), (BLUE, "-", "o"))


def table(run: Run) -> str:
    """Return a run as plain text: what it is, about 20 of its generations, and how it ended if uncleanly."""
    state, current = _state(run)
    parts = ["\n".join([f"{run.header.name}: {state}", *_highlights(run)])]
    if run.num_generations:
        parts.append(_generations(run))
    if current:
        parts.append(current)
    return "\n\n".join(parts)


def plot(run: Run, path: Path | str) -> list[Path]:
    """Draw a run.

    Args:
        run: with at least one committed generation.
        path: FILE.png, the learning curve; the return (or loss) per inner round goes to FILE-rounds.png.

    Returns:
        The files written.

    Raises:
        ConfigError: the path does not end with .png, its folder is missing, or there is no generation yet.
    """
    path = pictures.checked(path)
    if run.num_generations == 0:
        raise ConfigError(f"run {run.path}: expected at least one finished generation, got none; wait for one")
    rounds = path.with_name(f"{path.stem}-rounds.png")
    _learning_curve(run).savefig(path, dpi=150)
    _rounds(run).savefig(rounds, dpi=150)
    return [path, rounds]


def _state(run: Run) -> tuple[str, str]:
    """Return how the run stands, and what its ranks were evaluating if it did not end cleanly."""
    count = words.count(run.num_generations, "generation")
    folder = sidecar(run.path)
    said = read_current(folder)
    holder = live_holder(folder / "lock")
    if holder is not None:
        return f"{count}, being written by {holder}", _evaluating(run, said, "being evaluated now:", replay=False)
    if said:
        return (
            f"{count}, ended without closing its file; continue it with --resume",
            _evaluating(run, said, "being evaluated when it ended:", replay=True),
        )
    return f"{count}, {'finished' if run.finished else 'not finished; continue it with --resume'}", ""


def _evaluating(run: Run, said: Sequence[Current], heading: str, *, replay: bool) -> str:
    busy = [current for current in said if current.phase != "idle"]
    lines = [heading]
    for current in busy[:_MAX_CURRENT]:
        address = _address(run, current)
        others = f", and {current.count - 1} more with it" if current.count > 1 else ""
        lines.append(f"  rank {current.rank}, process {current.pid} on {current.host}: {address}{others}")
        if replay:
            lines.append(f"    {address.replay}")
    if len(busy) > _MAX_CURRENT:
        lines.append(f"  and {len(busy) - _MAX_CURRENT} more ranks")
    if len(said) > len(busy):
        lines.append(f"  {len(said) - len(busy)} of {len(said)} ranks were idle")
    return "\n".join(lines)


def _address(run: Run, current: Current) -> Address:
    episode = current.episode if current.phase == "re-evaluation" else None
    return Address(run.path, run.config.seed, current.generation, current.index, episode)


def _highlights(run: Run) -> list[str]:
    config, header = run.config, run.header
    inner = config.inner
    settings = ", ".join(f"{name}={value}" for name, value in {**config.task.settings, **config.env.settings}.items())
    genes = {"none": "", "global": ", evolved", "layer": ", evolved per layer", "parameter": ", evolved per parameter"}
    gene = genes[inner.step_size_gene]
    loop = (
        f"{words.count(header.num_rounds, 'round')}, {inner.num_tasks} tasks x "
        f"{inner.episodes} episodes, step size {inner.step_size:g}{gene}"
    )
    plain = " (plain deep GA)" if config.strategy == "ga" else ""
    lines = {
        "task": config.subject + (f" ({settings})" if settings else ""),
        "seed": str(config.seed),
        "inner loop": loop
        if header.num_rounds
        else f"none{plain}, {inner.num_tasks} tasks x {inner.episodes} episodes",
        **run.strategy.describe(),
        "noise table": f"{config.noise.size:,} entries, seed {config.noise.seed}, {header.noise_digest[:16]}",
        "parameters": _sizes(run),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(header.versions.items())),
    }
    if not header.reproducible:
        lines["reproducible"] = "no: its environment gives other numbers when it is asked again, so a replay may differ"
    if run.num_generations:
        lines["consumed"] = _consumed(run)
    if header.optimal_return is not None:
        lines["best possible"] = _optimum(header.optimal_return)
    if len(run.version_history) > 1:
        lines["other versions from"] = ", ".join(f"generation {start}" for start, _ in run.version_history[1:])
    width = max(map(len, lines))
    return [f"  {name:<{width}}  {text}" for name, text in lines.items()]


def _optimum(value: float) -> str:
    return "not known, out of reach of exact computation" if np.isnan(value) else f"{value:.4f}, exactly computed"


def _sizes(run: Run) -> str:
    nbytes = 4 * run.header.num_params
    text = f"{run.header.num_params:,} ({nbytes:,} bytes)"
    if run.num_generations == 0 or not run.strategy.sizes.has_genomes:
        return text
    genome = run.genome()
    return f"{text}; the elite's genome: {genome.nbytes:,} bytes, {genome.num_mutations} mutations"


def _consumed(run: Run) -> str:
    curves = run.curves
    seconds = timedelta(seconds=round(curves["seconds"].sum()))
    evaluations = int(curves["num_evaluations"].sum())
    steps = int(curves["total_steps"][-1])
    return f"{steps:,} {_unit(run)}, {evaluations:,} evaluations, {seconds} of wall-clock time"


def _generations(run: Run) -> str:
    curves = run.curves
    returns = curves["incumbent_returns"]
    adaptation = f"elite {run.header.metric}" + (" before -> after" if run.header.num_rounds else "")
    rows = [("generation", "best", "mean", "elite", adaptation, "total steps", "failed")]
    for g in _spread(run.num_generations, _MAX_ROWS):
        best, mean, elite = (f"{curves[name][g]:.4g}" for name in ("fitness_best", "fitness_mean", "incumbent_fitness"))
        change = " -> ".join(f"{value:.4g}" for value in (returns[g][0], returns[g][-1])[: returns.shape[1]])
        total, failed = int(curves["total_steps"][g]), int(curves["num_failed"][g])
        rows.append((str(g), best, mean, elite, change, f"{total:,}", str(failed)))
    return "\n".join(words.table(rows))


def _spread(length: int, number: int) -> list[int]:
    """Return at most `number` indices below `length`, evenly spaced, the first and the last among them."""
    return [int(index) for index in np.unique(np.linspace(0, length - 1, min(number, length)).round())]


def _unit(run: Run) -> str:
    return "environment steps" if run.header.metric == "return" else "samples"


def _learning_curve(run: Run) -> Any:  # a matplotlib Figure
    figure, axes = pictures.figure()
    curves = run.curves
    generations = np.arange(run.num_generations)
    for name, label, colour, style in _CURVES:
        axes.plot(generations, curves[name], style, color=colour, label=label, linewidth=1.8)
    if run.num_generations == 1:
        for line in axes.lines:
            line.set_marker("o")
    cut = _cut_off(axes, curves)
    pictures.draw_optimum(axes, run.header.optimal_return)
    axes.set(xlabel="generation", ylabel="fitness")
    axes.xaxis.get_major_locator().set_params(integer=True)
    top = axes.secondary_xaxis("top")
    ticks = _spread(run.num_generations, _MAX_STEP_TICKS)
    top.set_xticks(ticks, labels=[_short(curves["total_steps"][tick]) for tick in ticks])
    top.set_xlabel(_unit(run))
    pictures.finish(figure, axes, f"{run.header.name}: fitness{cut}")
    return figure


def _cut_off(axes: Any, curves: dict[str, Float64Array]) -> str:
    """Cut the axis where single diverged children would flatten the rest; return a note that says so."""
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
    chosen = _spread(run.num_generations, 3)
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
    axes.set_xticks(_spread(len(rounds), 11))
    pictures.finish(figure, axes, f"{run.header.name}: {metric} during adaptation")
    return figure


def _short(number: float) -> str:
    """Return a count for a tick: 1.2k, 34M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"
