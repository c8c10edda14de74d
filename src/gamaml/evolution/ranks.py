"""Ranks of fitness, and means over re-evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gamaml.errors import SelectionError
from gamaml.evolution.strategy import State
from gamaml.types import Float32Array, Float64Array, Records


def ranking(fitness: Sequence[float] | np.ndarray) -> list[int]:
    """Return the indices of the finite entries from best to worst; the lower index comes first in a tie."""
    values = np.asarray(fitness, np.float64)
    finite = np.flatnonzero(np.isfinite(values))
    order: list[int] = finite[np.argsort(-values[finite], kind="stable")].tolist()
    return order


def centred_ranks(fitness: Sequence[float] | np.ndarray) -> Float32Array:
    """Return the centred ranks of fitness, float32 in [-0.5, 0.5]; equal values share the mean of their ranks.

    A fitness that is not finite ranks below all others.

    Source: Salimans et al. 2017, section 2.1, fitness shaping.
    """
    values = np.asarray(fitness, np.float64)
    ranks = shared_ranks(np.where(np.isfinite(values), values, -np.inf))
    return (ranks / max(1, len(values) - 1) - 0.5).astype(np.float32)


def shared_ranks(values: Float64Array) -> Float64Array:
    """Return the ranks of values without NaN from 0 for the lowest; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[inverse]


def best_first(state: State, records: Records) -> npt.NDArray[np.int64]:
    """Return the children's indices from best to worst, int64[population_size], with failed children last.

    Raises:
        SelectionError: no child has a finite fitness.
    """
    check_some_finite(state, records, "try a smaller std or inner.step_size")
    fitness = records["fitness"].astype(np.float64)
    return np.argsort(np.where(np.isfinite(fitness), -fitness, np.inf), kind="stable")


def check_some_finite(state: State, records: Records, remedy: str) -> None:
    """Refuse a generation without anything to continue from.

    Args:
        state: the state of the generation.
        records: the children's records.
        remedy: end of the message.

    Raises:
        SelectionError: no child has a finite fitness.
    """
    if not np.isfinite(records["fitness"]).any():
        raise SelectionError(
            f"generation {state.generation}: expected at least one child with a finite fitness, got none of "
            f"{len(records)}; {remedy}"
        )


def mean_fitness(records: Records) -> float:
    """Return the mean fitness of a candidate's re-evaluations, NaN unless all are finite."""
    fitness = records["fitness"].astype(np.float64)
    return float(fitness.mean()) if np.isfinite(fitness).all() else math.nan


def contender_means(reevaluations: Records, num_contenders: int) -> Float64Array:
    """Return each contender's mean fitness over its re-evaluations, float64[num_contenders]."""
    fitness = reevaluations["fitness"].astype(np.float64)
    if num_contenders == 0:
        return np.empty(0)
    with np.errstate(invalid="ignore"):
        # Infinite returns of both signs have no mean; the NaN is never selected.
        return fitness.reshape(num_contenders, -1).mean(axis=1)
