"""The phases of a population on rank 0, and the one function that decides on the next action."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Phase(enum.Enum):
    """The progress of a population's open generation."""

    CHILDREN = enum.auto()
    """Children are missing."""

    REEVALUATIONS = enum.auto()
    """All children are there, re-evaluations of contenders are missing."""

    SELECTION = enum.auto()
    """All records are there."""

    SAVING = enum.auto()
    """The job stops; the finished records are being journalled."""

    ENDED = enum.auto()
    """The last command was given."""


class Action(enum.Enum):
    """One step of a driver."""

    WAIT = enum.auto()
    MERGE = enum.auto()
    """Take the records that arrived."""

    GIVE_WORK = enum.auto()
    """Command the evaluations that are missing."""

    SELECT = enum.auto()
    """Go on to the next generation."""

    SAVE = enum.auto()
    """Journal the open generation's finished records."""

    FINISH = enum.auto()
    """Command the end: a stop criterion is met."""

    BREAK_OFF = enum.auto()
    """Command the end: the job stops."""


@dataclass(frozen=True)
class Facts:
    """The facts that, with the phase, decide the next action.

    Attributes:
        ready: no command is being carried out, and the last commit is done.
        arrived: records have arrived.
        finished: a stop criterion is met.
        failed: the last commit failed, so nothing can be saved any more.
        wanted: the caller waits for another generation: it has taken the last one and is still in its loop.
        closing: the job stops.
    """

    ready: bool = False
    arrived: bool = False
    finished: bool = False
    failed: bool = False
    wanted: bool = False
    closing: bool = False


def next_action(phase: Phase, facts: Facts) -> Action:
    """Return the next action."""
    if phase is Phase.ENDED or not facts.ready:
        return Action.WAIT
    if facts.arrived:
        return Action.MERGE
    if facts.failed or phase is Phase.SAVING:
        return Action.BREAK_OFF
    if facts.finished:
        return Action.FINISH
    # A stopping job selects too, since a whole generation is committed, not saved as a part.
    if phase is Phase.SELECTION and facts.wanted:
        return Action.SELECT
    if facts.closing:
        return Action.SAVE
    return Action.WAIT if phase is Phase.SELECTION else Action.GIVE_WORK
