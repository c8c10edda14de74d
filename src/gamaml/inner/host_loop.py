"""The inner loop on one environment of the host: rounds of episodes that are played in NumPy. Imports no JAX."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gamaml.inner.host_updates import HostUpdates
from gamaml.inner.rounds import Learned, one_round
from gamaml.policies.flat import Layout
from gamaml.policies.vector import Derivative, Learning, of_round
from gamaml.rollouts.host_rollout import Batch, Player
from gamaml.types import Float32Array, Float64Array, Int64Array

_LARGEST = 1e6
"""A network with a parameter beyond this has diverged: the child has failed, and no environment gets its actions."""


class Played(NamedTuple):
    """The episodes of one round.

    Attributes:
        returns: the sum of the rewards of each.
        batch: their steps, where an update or a derivative needs them.
    """

    returns: list[float]
    batch: Batch | None


class HostLoop:
    """The inner loop on one task after the other.

    Args:
        player: plays the episodes.
        network: the layout of its flat network.
        updates: the inner updates; None without rounds.

    Attributes:
        batches: for every round, the arrays into which its episodes are recorded, if they are.
    """

    def __init__(self, player: Player, network: Layout, updates: HostUpdates | None) -> None:
        self.batches = [None] if updates is None else updates.empty_batches()
        self._player, self._network, self._updates = player, network, updates

    def adapt(
        self,
        env: Any,  # a Gymnasium-like environment
        learning: Learning[Float32Array],
        seeds: Int64Array,
    ) -> Float64Array:
        """Run the inner loop on one task.

        Args:
            env: an environment of the task.
            learning: a candidate.
            seeds: int64[rounds + 1, episodes, 2], from `Player.draw_seeds`.

        Returns:
            float64[rounds + 1, episodes], the returns of all episodes; NaN after updates that diverged.

        Source: Finn et al. 2017 (arXiv 1703.03400), Algorithm 3, lines 5 to 8, repeated.
        """

        def collect(learned: Learned, source: tuple[Int64Array, Batch | None]) -> Played:
            seeds, batch = source
            self._player.load(self._network.unflatten(learned.network))
            return Played(self._player.play(env, seeds, float(genes.std), batch), batch)

        def measure(learned: Learned, played: Played) -> list[float]:
            return played.returns

        def updated(learned: Learned, played: Played) -> Learned:
            assert self._updates is not None and played.batch is not None
            return self._updates.update(learned, genes, played.batch)

        def unchanged(learned: Learned, played: Played) -> Learned:
            return learned

        found = np.full(seeds.shape[:2], math.nan)
        learned = Learned(learning.network, ()) if self._updates is None else self._updates.start(learning)
        for index, source in enumerate(zip(seeds, self.batches, strict=True)):
            if self._updates is not None and not np.abs(learned.network).max() < _LARGEST:  # NaN too
                break
            genes = of_round(learning, index)
            update = updated if index < len(seeds) - 1 else unchanged
            learned, found[index] = one_round(learned, source, collect=collect, measure=measure, update=update)
        return found

    def gradient(self, learning: Learning[Float32Array]) -> Derivative[Float32Array]:
        """Return the derivative of the loss after the last update, on the task of the latest `adapt`."""
        assert self._updates is not None
        return self._updates.gradient(learning, [batch for batch in self.batches if batch is not None])
