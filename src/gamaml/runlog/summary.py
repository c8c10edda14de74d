"""The summary of a generation: the values for its line in a table, a plot or a progress display."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np

from gamaml.evolution.ranks import ranking
from gamaml.runlog.generation import NO_CONTENDER, Generation
from gamaml.types import Float64Array, Records


@dataclass(frozen=True)
class Summary:
    """The summary of one generation.

    Attributes:
        generation: its index.
        fitness_best, fitness_mean, fitness_median: over the children with a finite fitness; NaN without one.
        incumbent_fitness: the incumbent's mean fitness over its re-evaluations (without them, its single fitness).
        incumbent_returns: float64[num_rounds + 1], its mean return (or loss) before and after every round.
        mean_returns: float64[num_rounds + 1], the same over all children with a finite fitness.
        contender: index of the contender that became the incumbent, or whose re-evaluations are reported for it; -1 for
            the best child.
        num_failed: children without a finite fitness.
        num_evaluations: evaluations, re-evaluations included.
        steps: environment steps, re-evaluations included.
        std: the std with which the children were made.
        seconds: wall-clock seconds.
    """

    generation: int
    fitness_best: float
    fitness_mean: float
    fitness_median: float
    incumbent_fitness: float
    incumbent_returns: Float64Array
    mean_returns: Float64Array
    contender: int
    num_failed: int
    num_evaluations: int
    steps: int
    std: float
    seconds: float

    def row(self) -> np.void:
        """Return the summary as one entry of `summary_dtype`."""
        values = tuple(getattr(self, field.name) for field in fields(self))
        return np.array([values], summary_dtype(len(self.incumbent_returns) - 1))[0]


@lru_cache
def summary_dtype(num_rounds: int) -> np.dtype[np.void]:
    """Return the dtype of the run file's summary: the fields of `Summary`."""
    kinds = {"int": "<i8", "float": "<f8"}
    return np.dtype(
        [
            (f.name, kinds[str(f.type)]) if str(f.type) in kinds else (f.name, "<f8", (num_rounds + 1,))
            for f in fields(Summary)
        ]
    )


def summarise(generation: Generation) -> Summary:
    """Summarise one generation; a pure function."""
    finite = generation.records[np.isfinite(generation.records["fitness"])]
    fitness = finite["fitness"].astype(np.float64)
    some = len(fitness) > 0
    contender = NO_CONTENDER if generation.contender is None else generation.contender
    episodes = len(generation.reevaluations) // max(1, len(generation.contenders))
    return Summary(
        generation=generation.generation,
        fitness_best=float(fitness.max()) if some else np.nan,
        fitness_mean=float(fitness.mean()) if some else np.nan,
        fitness_median=float(np.median(fitness)) if some else np.nan,
        incumbent_fitness=generation.incumbent_fitness,
        incumbent_returns=_mean_returns(
            incumbent_records(generation.records, generation.reevaluations, contender, episodes)
        ),
        mean_returns=_mean_returns(finite),
        contender=contender,
        num_failed=len(generation.records) - len(finite),
        num_evaluations=len(generation.records) + len(generation.reevaluations),
        steps=generation.steps,
        std=generation.std,
        seconds=generation.seconds,
    )


def incumbent_records(records: Records, reevaluations: Records, contender: int, episodes: int) -> Records:
    """Return the incumbent's re-evaluations, or its one record as a child, or no record.

    Args:
        records: the children's records of a generation.
        reevaluations: the contenders' records, `episodes` of each.
        contender: index of the contender that is the incumbent; NO_CONTENDER for the best child.
        episodes: re-evaluations of a contender.
    """
    if contender != NO_CONTENDER:
        return reevaluations[contender * episodes : (contender + 1) * episodes]
    return records[ranking(records["fitness"])[:1]]


def _mean_returns(records: Records) -> Float64Array:
    returns: Float64Array = records["returns"].astype(np.float64)
    if len(returns) == 0:
        return np.full(records.dtype["returns"].shape, np.nan)
    # A child of finite fitness may have infinite returns before adaptation; their mean is then infinite or NaN.
    with np.errstate(invalid="ignore"):
        return np.asarray(returns.mean(axis=0))
