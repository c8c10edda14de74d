"""Problems that need no JAX, and misbehave on request."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

import gamaml
from gamaml.evolution import streams
from gamaml.types import EvaluationKey, Float32Array


class Sphere:
    """Negative squared distance to a point, with noise that the episode's key decides.

    Args:
        seconds: how long an evaluation sleeps.
        deaf_seconds: how long an evaluation is deaf to signals, about: the time of one C call.
        raise_at: the evaluation of this rank that raises, counted from 1; 0 for none.
        exit_at: the evaluation of this rank that calls sys.exit; 0 for none.
        sleep_at: the evaluation of this rank that sleeps for a minute; 0 for none.
        kill_at: the evaluation of this rank during which the process dies by SIGKILL; 0 for none.
        slowness: how many times as long an evaluation sleeps on `rank`.
        rank: the only rank that raises, exits, sleeps, dies or is slow.
        num_params: dimensions.
    """

    num_rounds = 1
    scalars: tuple[str, ...] = ("size",)
    metric = "return"
    scale: Float32Array | None = None

    def __init__(
        self,
        seconds: float = 0.0,
        deaf_seconds: float = 0.0,
        raise_at: int = 0,
        exit_at: int = 0,
        sleep_at: int = 0,
        kill_at: int = 0,
        slowness: float = 1.0,
        rank: int = 0,
        num_params: int = 40,
    ) -> None:
        self.num_params = num_params
        self.deaf_seconds = deaf_seconds
        mine = int(os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))) == rank
        self.seconds = seconds * (slowness if mine else 1.0)
        self.raise_at = raise_at if mine else 0
        self.exit_at = exit_at if mine else 0
        self.sleep_at = sleep_at if mine else 0
        self.kill_at = kill_at if mine else 0
        self.evaluations = 0

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise.copy()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> gamaml.Evaluation:
        self.evaluations += 1
        if self.evaluations == self.raise_at:
            raise ValueError("the environment broke")
        if self.evaluations == self.exit_at:
            sys.exit("the environment gave up")
        if self.evaluations == self.kill_at:
            os.kill(os.getpid(), 9)
        time.sleep(60 if self.evaluations == self.sleep_at else self.seconds)
        if self.deaf_seconds:
            # One call into OpenSSL, about 3 million rounds a second, which no signal handler can break off.
            hashlib.pbkdf2_hmac("sha256", b"gamaml", b"salt", int(3e6 * self.deaf_seconds))
        distance = float(np.sum((params - np.float32(0.5)) ** 2))
        noise = 0.1 * float(streams.generator(key.episode).normal())
        before = -distance - 1.0 + float(streams.generator(key.task).normal())
        fitness = noise - distance
        return gamaml.Evaluation(fitness, np.array([before, fitness], np.float32), steps=7, scalars=(distance,))


class Hopeless(Sphere):
    """The same, but no fitness is finite."""

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> gamaml.Evaluation:
        return dataclasses.replace(super().evaluate(params, key), fitness=float("nan"))


class SphereInBatches(Sphere):
    """The same, five at a time."""

    batch_size = 5

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> list[gamaml.Evaluation]:
        assert params.shape == (self.batch_size, self.num_params)
        return [self.evaluate(row, key) for row, key in zip(params, keys, strict=True)]


class Space:
    """What is read of an environment's spaces."""

    shape = (1,)
    low, high = -np.ones(1, np.float32), np.ones(1, np.float32)


class Pole:
    """Pays for actions towards the task's side; the observation is the time."""

    observation_space = action_space = Space()

    def __init__(self, side: int) -> None:
        self._side, self._steps = side, 0

    def reset(self, *, seed: int) -> tuple[list[float], dict[str, object]]:
        self._steps, self._length = 0, 4 + seed % 4
        return [0.0], {}

    def step(self, action: Float32Array) -> tuple[list[float], float, bool, bool, dict[str, object]]:
        self._steps += 1
        over = self._steps == self._length
        return [self._steps / 8], self._side * float(action[0]), over, False, {}


class Poles:
    """A meta-task on the host."""

    horizon = 6

    def sample(self, generator: np.random.Generator) -> int:
        return int(generator.choice((-1, 1)))

    def make_env(self, task: int) -> Pole:
        return Pole(task)
