"""Schedules over generations."""

from __future__ import annotations


def decayed(first: float, last: float | None, generations: int, generation: int) -> float:
    """Return the value at `generation` of a schedule that goes exponentially from `first` to `last`, if there is one.

    Args:
        first: the value at generation 0.
        last: the value from `generations` on; None: `first` for ever.
        generations: over which it goes.
        generation: which one is asked for.
    """
    if last is None:
        return first
    return first * (last / first) ** min(generation / generations, 1.0)
