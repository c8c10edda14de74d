"""A problem whose pace is no part of its config, so that a fast run can tell what a slow one must find."""

from __future__ import annotations

import os
import time

import numpy as np

import gamaml
from gamaml.evolution import streams
from gamaml.types import EvaluationKey, Float32Array


class Slow:
    """Negative squared distance to a point, with noise; an evaluation sleeps for SLOW_SECONDS."""

    num_params = 30
    num_rounds = 0
    scalars: tuple[str, ...] = ()
    metric = "return"
    scale: Float32Array | None = None

    def __init__(self) -> None:
        self.seconds = float(os.environ.get("SLOW_SECONDS", "0"))

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise.copy()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> gamaml.Evaluation:
        time.sleep(self.seconds)
        noise = 0.1 * float(streams.generator(key.episode).normal())
        fitness = noise - float(np.sum((params - np.float32(0.5)) ** 2))
        return gamaml.Evaluation(fitness, np.array([fitness], np.float32), steps=1)
