"""Result records: one per evaluation."""

from __future__ import annotations

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


def record_dtype(num_rounds: int, scalars: Sequence[str] = ()) -> np.dtype[np.void]:
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
    fitness = np.array([evaluation.fitness for evaluation in evaluations], np.float32)
    records["index"] = items
    records["steps"] = [evaluation.steps for evaluation in evaluations]
    records["fitness"] = fitness
    records["seconds"] = seconds
    records["rank"] = rank
    records["returns"] = [evaluation.returns for evaluation in evaluations]
    if scalars:
        values = zip(*(evaluation.scalars for evaluation in evaluations), strict=True)
        for name, value in zip(scalars, values, strict=True):
            records[f"scalar_{name}"] = value
    flags = np.where(np.isfinite(fitness), DONE, DONE | FAILED)
    records["flags"] = flags | [FAULT * evaluation.fault for evaluation in evaluations]
