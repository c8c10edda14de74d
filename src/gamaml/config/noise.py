"""The section [noise]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import check
from gamaml.config.options import option


@dataclass(frozen=True)
class NoiseConfig:
    """The table of standard normals that every node keeps once; all populations of a job share it."""

    # The draw of an offset is practically uniform up to 2**32.
    size: int = option(2**28, "Entries of 4 bytes: 268,435,456 are 1 GiB per node.", at_least=1, at_most=2**32)
    seed: int = option(42, "Seed of the table's content, independent of the run's seed.", at_least=0)

    def __post_init__(self) -> None:
        check(self, "noise")
