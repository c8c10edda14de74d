"""When a run ends, and how long that is away."""

from __future__ import annotations

import math

import pytest

from gamaml.config import StopConfig
from gamaml.engine.stopping import seconds_left, stop_reached

HERE = {"generations": 10, "environment_steps": 500, "fitness": 3.0, "seconds": 60.0}


@pytest.mark.parametrize(
    ("stop", "reached"),
    [
        (StopConfig(generations=10), True),
        (StopConfig(generations=11), False),
        (StopConfig(environment_steps=500), True),
        (StopConfig(environment_steps=501), False),
        (StopConfig(fitness=3.0), True),
        (StopConfig(fitness=3.1), False),
        (StopConfig(seconds=60), True),
        (StopConfig(seconds=61), False),
        (StopConfig(generations=99, fitness=2.0), True),
    ],
)
def test_a_run_ends_at_the_first_criterion_met(stop: StopConfig, reached: bool) -> None:
    assert stop_reached(stop, **HERE) is reached


def test_before_the_first_generation_neither_time_nor_an_unknown_fitness_ends_a_run() -> None:
    here = {"generations": 0, "environment_steps": 0, "fitness": math.nan, "seconds": 60.0}
    assert not stop_reached(StopConfig(fitness=-1e9, seconds=1), **here)


def left(stop: StopConfig, elapsed: float | None = 30.0) -> float:
    return seconds_left(stop, generations=10, total_steps=500, steps=50, pace=2.0, elapsed=elapsed)


def test_the_criterion_that_comes_first_says_how_long_a_run_takes() -> None:
    assert left(StopConfig(generations=15)) == 10.0
    assert left(StopConfig(environment_steps=600)) == 4.0
    assert left(StopConfig(seconds=36)) == 6.0
    assert left(StopConfig(generations=15, environment_steps=600, seconds=36)) == 4.0
    assert left(StopConfig(generations=9)) == 0.0


def test_what_cannot_be_estimated_is_nan() -> None:
    assert math.isnan(left(StopConfig(fitness=1.0)))
    assert math.isnan(left(StopConfig(seconds=36), elapsed=None))
