"""The section [stop]."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from gamaml.config.checks import above_zero, at_least
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class StopConfig:
    """When the run ends: at the first criterion met. May change on resume.

    Attributes:
        generations: after this many generations.
        environment_steps: after the generation in which this many steps were consumed in total.
        fitness: after the generation whose elite reaches this fitness.
        seconds: after the generation that ends this long after the start of this job.
    """

    generations: int | None = None
    environment_steps: int | None = None
    fitness: float | None = None
    seconds: float | None = None


def validate(stop: StopConfig) -> None:
    """Raise ConfigError for a value out of range."""
    if all(getattr(stop, f.name) is None for f in dataclasses.fields(stop)):
        raise ConfigError("stop: expected at least one criterion, got none; add e.g. generations = 30 below [stop]")
    at_least("stop.generations", stop.generations, 1)
    at_least("stop.environment_steps", stop.environment_steps, 1)
    above_zero("stop.seconds", stop.seconds)
    if stop.fitness is not None and math.isnan(stop.fitness):
        raise ConfigError("stop.fitness=nan: expected a number; remove it or choose a target")
