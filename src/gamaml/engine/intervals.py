"""Means over tasks, interquartile means over seeds, and their confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from gamaml.evolution import streams
from gamaml.types import Float64Array

_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 100
_COVERAGE = 0.95
_TRIMMED = 0.25
_ANGLES = 100_001


def interquartile_mean(values: Float64Array) -> Float64Array:
    """Return the mean of the middle half along the first axis.

    A quarter of the values, rounded down, is left out at either end: nothing of three, which leaves the plain mean, and
    one at either end of four to seven. A value that is not finite may be among those left out.

    Args:
        values: float64[S, ...], without NaN.

    Returns:
        float64[...].

    Source: Agarwal et al. 2021 (arXiv 2108.13264), section 4.3; the rounding is that of their library, rliable, which
        calls `scipy.stats.trim_mean(values, 0.25)`.
    """
    left_out = int(_TRIMMED * len(values))
    with np.errstate(invalid="ignore"):
        middle = np.sort(values, axis=0)[left_out : len(values) - left_out] if left_out > 0 else values
        return middle.mean(axis=0)


def bootstrap(values: Float64Array, against: Float64Array | None = None) -> Float64Array:
    """Return the ends of 95 % confidence intervals of means over tasks, or of interquartile means over seeds.

    Tasks, and seeds where there are several, are drawn with replacement 10,000 times, always with the same random
    numbers. A resample of the tasks is one for all seeds and both sides, since they were adapted to the same tasks: a
    hard task is hard for every seed, and drawing tasks for each seed alone would average that away.

    A percentile interval of n values is too narrow by sqrt((n - 1) / n), and by the normal quantile in place of
    Student's t with n - 1 degrees of freedom. So each level's deviations from the estimate are widened by both factors,
    for its own number of tasks or seeds, and the two levels are added. With normal values the intervals cover the true
    mean in 94 to 96 % of cases from 5 tasks on, 95 % with three seeds and 97 % with five; with skewed ones, and few of
    them, in less. docs/results.md has the coverages measured.

    Args:
        values: float64[num_tasks, R] of one run, or float64[num_seeds, num_tasks, R] of several seeds. A single run's
            interval says nothing about other seeds.
        against: the same of another config, on the same tasks; the interval is then that of the difference, `values`
            minus `against`.

    Returns:
        float64[2, R], NaN where a value is not finite.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3; Hesterberg 2015 (arXiv
        1411.5279) for the widening, there of the percentiles. Those of three seeds cannot leave the range of the three,
        so here it is the deviations that are widened.
    """
    sides = [side if side.ndim == 3 else side[None] for side in ([values] if against is None else [values, against])]
    finite = np.all([np.isfinite(side).all(axis=(0, 1)) for side in sides], axis=0)
    # Around the first value, or large values would lose the digits in which they differ.
    origins = [np.where(finite, side[0, 0], 0.0) for side in sides]
    centred = [np.where(finite, side - origin, 0.0) for side, origin in zip(sides, origins, strict=True)]
    estimate, deviations = np.zeros_like(origins[0]), _task_deviations(centred)
    for index, (side, origin, sign) in enumerate(zip(centred, origins, (1, -1), strict=False)):
        means = side.mean(axis=1)
        estimate += sign * (interquartile_mean(means) + origin)
        deviations += sign * _seed_deviations(means, streams.generator(np.array([1, index], np.uint32)))
    tail = (1 - _COVERAGE) / 2
    ends = np.quantile(deviations, [tail, 1 - tail], axis=0) + estimate
    return np.where(finite, ends, np.nan)


def _task_deviations(sides: Sequence[Float64Array]) -> Float64Array:
    """Return float64[resamples, R]: the widened deviations of the estimate when tasks alone are drawn anew."""
    (_, number, width), random = sides[0].shape, streams.generator(np.zeros(2, np.uint32))
    found: list[Float64Array] = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        counts = random.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES_AT_ONCE)
        deviation = np.zeros((_RESAMPLES_AT_ONCE, width))
        for side, sign in zip(sides, (1, -1), strict=False):
            means = np.array([counts @ seed / number for seed in side])
            deviation += sign * (interquartile_mean(means) - interquartile_mean(side.mean(axis=1)))
        found.append(deviation)
    return _widening(number) * np.concatenate(found)


def _seed_deviations(means: Float64Array, random: np.random.Generator) -> Float64Array:
    """Return float64[resamples, R]: the same when seeds alone are drawn anew; 0 with one seed.

    Args:
        means: float64[S, R], each seed's mean over the tasks.
        random: draws the seeds.
    """
    number = len(means)
    if number == 1:
        return np.zeros((_RESAMPLES, means.shape[1]))
    drawn = random.integers(number, size=(number, _RESAMPLES))
    return _widening(number) * (interquartile_mean(means[drawn]) - interquartile_mean(means))


def _widening(number: int) -> float:
    """Return the factor on the deviations of a resampled mean of so many values, above 1."""
    if number == 1:
        return 1.0
    normal = NormalDist().inv_cdf((1 + _COVERAGE) / 2)
    return math.sqrt(number / (number - 1)) * _t_quantile(number - 1) / normal


def _t_quantile(freedom: int) -> float:
    """Return the bound that Student's t with so many degrees of freedom stays within in 95 % of cases.

    With t = sqrt(freedom) tan(angle), the density of the angle is proportional to cos(angle) ** (freedom - 1).
    """
    angles = np.linspace(0, math.pi / 2, _ANGLES)
    density = np.cos(angles) ** (freedom - 1)
    within = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(np.interp(_COVERAGE, within / within[-1], angles))
