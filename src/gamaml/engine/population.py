"""One population on one rank, complete."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.engine.plan import Plan
from gamaml.engine.vector_buffers import VectorBuffers
from gamaml.engine.worker import Worker
from gamaml.parallel.board import Board


@dataclass(frozen=True)
class Population:
    """One population, as every rank holds it.

    Attributes:
        plan: its config, problem, run file and sizes.
        buffers: its vectors on this node.
        board: its work on this node.
        worker: this rank's work on it.
    """

    plan: Plan
    buffers: VectorBuffers
    board: Board
    worker: Worker
