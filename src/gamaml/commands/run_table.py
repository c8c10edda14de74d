"""A run as plain text: its settings, some of its generations, and how it ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from gamaml.commands.text import change, count, named, number, optimum, spread, step_unit, table
from gamaml.engine.evaluation import Address
from gamaml.rollouts.host_rollout import OUT_OF_PATIENCE
from gamaml.runlog import Current, Run, live_holder, read_current, sidecar

_MAX_ROWS = 22
_MAX_CURRENT = 40


def text(run: Run) -> str:
    """Return a run's settings, about 20 generations, and its ranks' last evaluations if it did not end cleanly."""
    state, current = _state(run)
    parts = ["\n".join([f"{run.header.name}: {state}", *_highlights(run)])]
    if run.num_generations:
        parts.append(_generations(run))
    if current:
        parts.append(current)
    return "\n\n".join(parts)


def _state(run: Run) -> tuple[str, str]:
    """Return the run's state, and its ranks' current evaluations, or the last ones if it ended uncleanly."""
    generations = count(run.num_generations, "generation")
    folder = sidecar(run.path)
    said = read_current(folder)
    holder = live_holder(folder / "lock")
    if holder is not None:
        return f"{generations}, being written by {holder}", _evaluating(run, said, "being evaluated now:", replay=False)
    if said:
        return (
            f"{generations}, ended without closing its file; continue it with --resume",
            _evaluating(run, said, "being evaluated when it ended:", replay=True),
        )
    return f"{generations}, {'finished' if run.finished else 'not finished; continue it with --resume'}", ""


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
    genes = {"none": "", "global": ", evolved", "round": ", evolved per round and layer"}
    gene = genes.get(inner.step_size_gene, f", evolved per {inner.step_size_gene}")
    tasks = f"{count(inner.num_tasks, 'task')} x {count(inner.episodes, 'episode')}"
    loop = f"{count(header.num_rounds, 'round')}, {tasks}, step size {inner.step_size:g}{gene}"
    lines = {
        "task": config.subject + (f" ({settings})" if settings else ""),
        "seed": str(config.seed),
        "inner loop": loop if header.num_rounds else f"none, {tasks}",
        **header.description,
        "noise table": f"{config.noise.size:,} entries, seed {config.noise.seed}, {header.noise_digest[:16]}",
        "parameters": _sizes(run),
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(header.versions.items())),
    }
    if not header.reproducible:
        lines["reproducible"] = "no: its environment gives other numbers when it is asked again, so a replay may differ"
    if run.num_generations:
        lines["consumed"] = _consumed(run)
        lines |= _genes(run)
    if header.optimal_return is not None:
        lines["best possible"] = optimum(header.optimal_return)
    if len(run.version_history) > 1:
        lines["other versions from"] = ", ".join(f"generation {start}" for start, _ in run.version_history[1:])
    return named(lines)


def _sizes(run: Run) -> str:
    nbytes = 4 * run.header.num_params
    parameters = f"{run.header.num_params:,} ({nbytes:,} bytes)"
    sizes = run.header.sizes
    if run.num_generations == 0 or not (sizes.has_genomes or sizes.linear):
        return parameters
    genome = run.genome()
    return f"{parameters}; the incumbent's genome: {genome.nbytes:,} bytes, {genome.num_mutations} mutations"


def _genes(run: Run) -> dict[str, str]:
    """Return the incumbent's evolved numbers in words, those of several rounds together; empty without any."""
    names = [name for name in run.header.scalars if name != OUT_OF_PATIENCE]
    records = run.incumbent_records()
    if not names or len(records) == 0:
        return {}
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"_\d+$", "", name), []).append(number(float(records[f"scalar_{name}"][0])))
    return {"genes": "of the incumbent: " + "; ".join(f"{name} {', '.join(values)}" for name, values in groups.items())}


def _consumed(run: Run) -> str:
    curves = run.curves
    seconds = timedelta(seconds=round(curves["seconds"].sum()))
    evaluations = int(curves["num_evaluations"].sum())
    steps = int(curves["total_steps"][-1])
    return f"{steps:,} {step_unit(run.header.metric)}, {evaluations:,} evaluations, {seconds} of wall-clock time"


def _generations(run: Run) -> str:
    curves = run.curves
    returns = curves["incumbent_returns"]
    adaptation = f"incumbent {run.header.metric}" + (" before -> after" if run.header.num_rounds else "")
    impatient: dict[str, Any] = {}  # column -> the count of each generation
    if OUT_OF_PATIENCE in run.header.scalars:
        impatient["episodes out of patience"] = run.records[f"scalar_{OUT_OF_PATIENCE}"].sum(axis=1, dtype=float)
    rows: list[tuple[str, ...]] = [
        ("generation", "best", "mean", "incumbent", adaptation, "total steps", "failed", *impatient)
    ]
    for g in spread(run.num_generations, _MAX_ROWS):
        fitness = (number(curves[name][g]) for name in ("fitness_best", "fitness_mean", "incumbent_fitness"))
        total, failed = int(curves["total_steps"][g]), int(curves["num_failed"][g])
        ended = (f"{int(counts[g]):,}" for counts in impatient.values())
        rows.append((str(g), *fitness, change(returns[g]), f"{total:,}", str(failed), *ended))
    return "\n".join(table(rows))
