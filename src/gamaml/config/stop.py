"""The section [stop]."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from gamaml.config.checks import check
from gamaml.config.options import option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class StopConfig:
    """The end of the run: at the first criterion met. At least one is needed."""

    generations: int | None = option(None, "After this many generations.", at_least=1, example=100, may_change=True)
    environment_steps: int | None = option(
        None,
        "After the generation in which the total number of environment steps reaches this.",
        at_least=1,
        example=10_000_000,
        may_change=True,
    )
    fitness: float | None = option(
        None, "After the generation whose incumbent reaches this fitness.", example=475.0, may_change=True
    )
    seconds: float | None = option(
        None,
        "After the generation that ends this many seconds after the job started.",
        above=0,
        example=3600.0,
        may_change=True,
    )

    def __post_init__(self) -> None:
        check(self, "stop")
        if all(value is None for value in dataclasses.astuple(self)):
            raise ConfigError("stop: expected at least one criterion, got none; add e.g. generations = 30 below [stop]")
        if self.fitness is not None and math.isnan(self.fitness):
            raise ConfigError("stop.fitness=nan: expected a number; remove it or choose a target")
