"""The speeds of the nodes, measured on their records: a node at half speed gets half a share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gamaml.types import Float64Array, Records

_DECAY = 0.8
"""Weight of the earlier batches when a batch is added."""

_PRIOR = 10.0
"""Prior weight, in evaluations, on all nodes being equally fast."""


class NodeRates:
    """The measured speeds of a job's nodes, in one population.

    Args:
        node_of_rank: index of the node of every rank of the world.
    """

    def __init__(self, node_of_rank: Sequence[int]) -> None:
        self._node_of_rank = np.asarray(node_of_rank, np.int64)
        self._sizes = np.bincount(self._node_of_rank).astype(np.float64)
        self._evaluations = np.full(len(self._sizes), 0.0)
        self._time = np.full(len(self._sizes), 0.0)

    def add(self, records: Records) -> None:
        """Add a batch of result records.

        Seconds are divided by the batch's mean, since re-evaluations may take longer than children.
        """
        total = float(records["seconds"].sum())
        if total <= 0:
            return
        node = self._node_of_rank[records["rank"]]
        seconds = records["seconds"].astype(np.float64) * (len(records) / total)
        self._evaluations = _DECAY * self._evaluations + self._per_node(node, None)
        self._time = _DECAY * self._time + self._per_node(node, seconds)

    def weights(self) -> list[float]:
        """Return each node's speed, in ranks of average speed."""
        speed = (self._evaluations + _PRIOR) / (self._time + _PRIOR)
        return [float(weight) for weight in self._sizes * speed]

    def _per_node(self, node: np.ndarray, values: Float64Array | None) -> Float64Array:
        return np.bincount(node, values, minlength=len(self._sizes)).astype(np.float64)
