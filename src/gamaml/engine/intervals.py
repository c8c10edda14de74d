"""Confidence intervals of means."""

from __future__ import annotations

import numpy as np

from gamaml.evolution import streams
from gamaml.types import Float64Array

_RESAMPLES = 10_000
_RESAMPLES_AT_ONCE = 100
_COVERAGE = 0.95


def bootstrap(values: Float64Array) -> Float64Array:
    """Return the ends of 95 % confidence intervals of means over tasks, by the percentile bootstrap.

    Tasks are drawn with replacement 10,000 times, always with the same random numbers.

    Args:
        values: float64[num_tasks, R].

    Returns:
        float64[2, R], NaN where a value is not finite.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    number, random = len(values), streams.generator(np.zeros(2, np.uint32))
    finite = np.isfinite(values).all(axis=0)
    # Around the first value, or large values would lose the digits in which they differ.
    origin = np.where(finite, values[0], 0.0)
    centred = np.where(finite, values - origin, 0.0)
    means: list[Float64Array] = []
    for _ in range(_RESAMPLES // _RESAMPLES_AT_ONCE):
        counts = random.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES_AT_ONCE)
        means.append(counts @ centred / number)
    tail = (1 - _COVERAGE) / 2
    ends = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0) + origin
    return np.where(finite, ends, np.nan)
