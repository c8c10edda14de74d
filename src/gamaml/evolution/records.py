"""Result records: one per evaluation."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gamaml.types import Evaluation, Records

FAILED = 1
"""Flag of a record whose fitness is not finite; such a child is counted and never selected."""

DONE = 2
"""Flag of a record that holds a finished evaluation."""

FAULT = 4
"""Flag of a failed record whose environment raised, crashed or ran too long."""


_LARGEST = float(np.finfo(np.float32).max)
"""A fitness beyond this is infinite in a record."""


@functools.lru_cache(maxsize=64)
def record_dtype(num_rounds: int, scalars: tuple[str, ...] = ()) -> np.dtype[np.void]:
    """Return the dtype of a result record: 28 bytes, and 4 per entry of `returns` and per scalar.

    `index` is the child's index (children) or contender * num_episodes + episode (re-evaluations); (seed, generation,
    index) identify a record's child, so nothing else is sent. `seconds` and `rank` describe the machine and are not
    part of a run's science.
    """
    fields: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
        ("steps", "<u8"),
        ("index", "<u4"),
        ("flags", "<u4"),
        ("fitness", "<f4"),
        ("seconds", "<f4"),
        ("rank", "<u4"),
        ("returns", "<f4", (num_rounds + 1,)),
    ]
    return np.dtype([*fields, *((f"scalar_{name}", "<f4") for name in scalars)])


NOT_SCIENCE = ("seconds", "rank")
"""Fields of a record that describe the machine."""


def fill_records(
    records: Records,
    items: npt.NDArray[np.int32],
    evaluations: Sequence[Evaluation],
    scalars: Sequence[str],
    *,
    seconds: float,
    rank: int,
) -> None:
    """Write finished evaluations into records.

    Args:
        records: [len(items)].
        items: int32[...], the records' indices.
        evaluations: one per item.
        scalars: names of `Evaluation.scalars`.
        seconds: wall-clock seconds that each evaluation took.
        rank: this rank's world rank.
    """
    # A whole row at a time takes a tenth of the time of a few rows column by column.
    for row, (item, found) in enumerate(zip(items.tolist(), evaluations, strict=True)):
        flags = DONE | FAILED * (not abs(found.fitness) <= _LARGEST) | FAULT * found.fault
        extra = found.scalars if scalars else ()
        records[row] = (found.steps, item, flags, found.fitness, seconds, rank, found.returns, *extra)
