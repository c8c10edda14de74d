"""Adam on a flat vector and its two moments, for the ascent of ES and gradient MAML."""

from __future__ import annotations

import math

import numpy as np

from gamaml.evolution.decode import Vectors
from gamaml.types import Float32Array

BETA_1, BETA_2 = 0.9, 0.999
"""Kingma and Ba 2015, Algorithm 1."""

_EPSILON = np.float32(1e-8)
"""Kingma and Ba 2015, Algorithm 1."""


def ascend(
    before: Vectors,
    after: Float32Array,
    gradient: Float32Array,
    *,
    step_size: float,
    updates: int,
    betas: tuple[float, float] = (BETA_1, BETA_2),
    scale: Float32Array | None = None,
) -> None:
    """Write a point and its moments after one update along `gradient` into `after`.

    With a scale, Adam updates the parameters divided by their scale.

    Args:
        before: rows 0, 1 and 2: the point and the moments, float32[size] each.
        after: float32[3, size].
        gradient: float32[size].
        step_size: Adam's step size, before its moments' bias correction.
        updates: number of this update, 1 for the first.
        betas: decay of the moments.
        scale: float32[size], or None for 1 everywhere.

    Source: Kingma and Ba 2015, section 2.
    """
    beta1, beta2 = betas
    size = np.float32(step_size * (math.sqrt(1 - beta2**updates) / (1 - beta1**updates)))
    after[1] = np.float32(beta1) * before[1] + np.float32(1 - beta1) * gradient
    after[2] = np.float32(beta2) * before[2] + np.float32(1 - beta2) * (gradient * gradient)
    change = size * after[1] / (np.sqrt(after[2]) + _EPSILON)
    after[0] = before[0] + (change if scale is None else change * scale)
