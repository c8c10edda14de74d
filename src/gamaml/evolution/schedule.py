"""Schedules over a run."""

from __future__ import annotations


def decayed(first: float, last: float | None, share: float) -> float:
    """Return the value of a schedule that goes exponentially from `first` to `last`.

    Args:
        first: the value at the beginning.
        last: the value at the end; None keeps `first` for ever.
        share: how much of the schedule is done, from 0 to 1.
    """
    return first if last is None else first * (last / first) ** share


def share_of(generations: int | None, following: int, share: float) -> float:
    """Return how much of a schedule is done before a generation, from 0 to 1.

    Args:
        generations: the schedule's length; None if it is as long as the run.
        following: the generation.
        share: how much of the run is done before it, from 0 to 1.
    """
    return share if generations is None else min(following / generations, 1.0)
