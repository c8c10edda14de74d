"""The counts of a run that its driver keeps."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.runlog import History


@dataclass
class Tally:
    """Counts of a run so far, and of its beginning in this job.

    Attributes:
        incumbent_fitness: fitness of the incumbent, NaN before the first selection.
        total_steps: environment steps of all selected generations, over all jobs.
        new_records: records that this job has brought.
        started: when this job began to drive the population, on the driver's clock.
        selected: when the last generation was selected.
        generations_before: generations selected by earlier jobs.
        restarted_in_vain: whether the last restart left no new record.
    """

    incumbent_fitness: float
    total_steps: int
    new_records: int
    started: float
    selected: float
    generations_before: int
    restarted_in_vain: bool

    @classmethod
    def of(cls, history: History, now: float) -> Tally:
        """Return the tally of a run that goes on after `history`."""
        never = history.num_generations == 0 and len(history.children) == 0
        return cls(
            incumbent_fitness=history.incumbent_fitness,
            total_steps=history.total_steps,
            new_records=0,
            started=now,
            selected=now,
            generations_before=history.num_generations,
            # The first start of a run is no restart.
            restarted_in_vain=history.fruitless_restarts >= (2 if never else 1),
        )
