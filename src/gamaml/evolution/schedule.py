"""Settings that change from one generation to the next."""

from __future__ import annotations

from gamaml.config import GAConfig


def mutation_std(config: GAConfig, generation: int) -> float:
    """Return the mutation std of a generation: constant, or exponential between its two ends."""
    return decayed(config.mutation_std, config.mutation_std_final, config.mutation_std_generations, generation)


def decayed(first: float, last: float | None, generations: int, generation: int) -> float:
    """Return what stands at `first` at generation 0 and goes exponentially to `last`, if there is one."""
    if last is None:
        return first
    return first * (last / first) ** min(generation / generations, 1.0)
