"""The section [noise]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import at_least
from gamaml.errors import ConfigError

MAX_NOISE_SIZE = 2**32
"""Entries; the draw of an offset is as good as uniform up to here."""


@dataclass(frozen=True)
class NoiseConfig:
    """The noise table.

    Attributes:
        size: float32 entries; 2**28 is 1 GiB per node.
        seed: seed of the table's content, independent of the run's seed.
    """

    size: int = 2**28
    seed: int = 42


def validate(noise: NoiseConfig) -> None:
    """Raise ConfigError."""
    at_least("noise.seed", noise.seed, 0)
    at_least("noise.size", noise.size, 1)
    if noise.size > MAX_NOISE_SIZE:
        raise ConfigError(f"noise.size={noise.size}: expected at most {MAX_NOISE_SIZE} entries (16 GiB); choose fewer")
