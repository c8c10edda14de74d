"""The objects that training yields after every generation, and returns at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gamaml.types import Float32Array, Float64Array


@dataclass(frozen=True)
class GenerationInfo:
    """A finished generation: its summary, and the state of the run.

    Attributes:
        population: index of the population in this job.
        name: name of its run.
        generation: index of the generation, from 0.
        fitness_best, fitness_mean, fitness_median: over the children with a finite fitness; NaN if there is none.
        incumbent_fitness: mean fitness of the incumbent over its re-evaluations (without them, its single fitness): a
            GA's elite, or a centre before this generation's update.
        incumbent_returns: float64[num_rounds + 1], the incumbent's mean return (or loss) before and
            after each inner round.
        mean_returns: float64[num_rounds + 1], the same, over all children with a finite fitness.
        num_failed: children without a finite fitness.
        steps: environment steps of this generation, re-evaluations included.
        total_steps: environment steps of the run so far.
        num_evaluations: evaluations of this generation, re-evaluations included.
        std: the std with which the children were made.
        seconds: wall-clock seconds of the generation in this job.
        eta_seconds: estimated seconds to the end of the run, NaN if unknown.
        metric: "return" or "loss".
    """

    population: int
    name: str
    generation: int
    fitness_best: float
    fitness_mean: float
    fitness_median: float
    incumbent_fitness: float
    incumbent_returns: Float64Array
    mean_returns: Float64Array
    num_failed: int
    steps: int
    total_steps: int
    num_evaluations: int
    std: float
    seconds: float
    eta_seconds: float
    metric: str


@dataclass(frozen=True)
class TrainResult:
    """The end of a population, the same on every rank.

    Attributes:
        path: its run file.
        num_generations: generations in the file.
        total_steps: environment steps of the run.
        incumbent_fitness: fitness of the incumbent, NaN before the first selection.
        interrupted: whether it ended before its stop criterion; `resume=True` continues it.
        exhausted: whether this was the second restart in a row that was interrupted without a new record.
        parameters: float32[num_params] of the incumbent, None before the first selection or after an interruption.
    """

    path: Path
    num_generations: int
    total_steps: int
    incumbent_fitness: float
    interrupted: bool
    exhausted: bool
    parameters: Float32Array | None = None
