"""Schedules over generations."""

from __future__ import annotations


def decayed(first: float, last: float | None, generations: int, generation: int) -> float:
    """Return the value at `generation` of a schedule that decays exponentially from `first` to `last`.

    Args:
        first: the value at generation 0.
        last: the value from `generations` on; None keeps `first` for ever.
        generations: length of the schedule.
        generation: the generation of the returned value.
    """
    if last is None:
        return first
    return first * (last / first) ** min(generation / generations, 1.0)
