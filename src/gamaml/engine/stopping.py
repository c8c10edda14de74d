"""The end of a run: whether it is reached, and an estimate of the time left."""

from __future__ import annotations

import math

from gamaml.config import StopConfig


def stop_reached(stop: StopConfig, *, generations: int, environment_steps: int, fitness: float, seconds: float) -> bool:
    """Return whether any stop criterion is met; `fitness` may be NaN before the first generation."""
    return (
        (stop.generations is not None and generations >= stop.generations)
        or (stop.environment_steps is not None and environment_steps >= stop.environment_steps)
        or (stop.fitness is not None and fitness >= stop.fitness)
        or (stop.seconds is not None and generations > 0 and seconds >= stop.seconds)
    )


def share_done(stop: StopConfig, *, generations: int, environment_steps: int) -> float:
    """Return how much of a run is done, from 0 to 1, by the criteria that depend on nothing but its course.

    Generations and environment steps are such criteria. The one that is nearer to its end counts; without both, it is
    0.
    """
    shares = [0.0]
    if stop.generations is not None:
        shares.append(generations / stop.generations)
    if stop.environment_steps is not None:
        shares.append(environment_steps / stop.environment_steps)
    return min(1.0, max(shares))


def seconds_left(
    stop: StopConfig, *, generations: int, total_steps: int, steps: int, pace: float, elapsed: float | None
) -> float:
    """Estimate the seconds to the end of a run by the first criterion to be met; NaN if none can be estimated.

    Args:
        stop: the run's criteria.
        generations: generations so far.
        total_steps: environment steps so far.
        steps: environment steps of the latest generation.
        pace: seconds per generation.
        elapsed: seconds since the start of the job, None outside it.
    """
    estimates: list[float] = []
    if stop.generations is not None:
        estimates.append((stop.generations - generations) * pace)
    if stop.environment_steps is not None and steps:
        estimates.append((stop.environment_steps - total_steps) / steps * pace)
    if stop.seconds is not None and elapsed is not None:
        estimates.append(stop.seconds - elapsed)
    return max(0.0, min(estimates)) if estimates else math.nan
