"""One round of the inner loop, the same for JAX tasks and for environments on the host. Imports no JAX.

The loops around it differ: JAX scans compiled rounds (`loop`), the host plays one after the other (`host_loop`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

Source = TypeVar("Source")
Data = TypeVar("Data")
Found = TypeVar("Found")
After = TypeVar("After")


class Learned(NamedTuple):
    """A network in the course of its updates.

    Attributes:
        network: its arrays by name, or all of them flat, float32[num_weights].
        state: the optimiser's.
    """

    network: Any  # arrays of NumPy or JAX
    state: Any  # a pytree of them


def one_round(
    learned: Learned,
    source: Source,
    *,
    collect: Callable[[Learned, Source], Data],
    measure: Callable[[Learned, Data], Found],
    update: Callable[[Learned, Data], After],
) -> tuple[After, Found]:
    """Collect data with a network, measure the network, and then update it.

    Args:
        learned: the network before the round.
        source: the source of the data, such as a random key.
        collect: (network, source) -> data.
        measure: (network, data) -> whatever a round reports.
        update: (network, data) -> the network after the round. Nothing is left to update in the last round.

    Source: Finn et al. 2017 (arXiv 1703.03400), Algorithm 3, lines 5 to 7.
    """
    data = collect(learned, source)
    found = measure(learned, data)
    return update(learned, data), found
