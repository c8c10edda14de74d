"""The commands that rank 0 broadcasts to the node leaders, and their form as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gamaml.evolution.entries import Entries
from gamaml.job.board_sizes import BoardSizes

END = -1
"""Kind of the command that ends a population."""


@dataclass(frozen=True)
class Command:
    """One command to all leaders.

    Attributes:
        kind: CHILDREN, REEVALUATIONS, or END.
        generation: generation of the work.
        entries: the entries that made the generation's vectors, or the candidates of REEVALUATIONS.
        num_parts: parts in which every node first computes the generation's vectors from those before; 0 if it has
            them already.
        num_items: items of the batch, over all nodes.
        skip: int32[...], items with known results, which are not evaluated again.
        shares: items per node, in relay order.
    """

    kind: int
    generation: int
    entries: Entries
    num_parts: int = 0
    num_items: int = 0
    skip: npt.NDArray[np.int32] | None = None
    shares: Sequence[int] = ()

    def items(self, node: int) -> npt.NDArray[np.int32]:
        """Return a node's items: the pending ones in ascending order, dealt out in relay order."""
        items = np.arange(self.num_items, dtype=np.int32)
        pending = items if self.skip is None else np.delete(items, self.skip)
        start = sum(self.shares[:node])
        return pending[start : start + self.shares[node]]


class CommandBuffer:
    """The bytes of a command; all commands of a population have one length, as a broadcast needs.

    Args:
        sizes: sizes of the population's boards.
        num_nodes: nodes of the job.
    """

    def __init__(self, sizes: BoardSizes, num_nodes: int) -> None:
        header = [(name, "<i4") for name in ("kind", "generation", "parts", "items", "entries")]
        shares, skip = ("shares", "<i4", (num_nodes,)), ("skip", "u1", (-(-sizes.capacity // 8),))
        array = np.zeros(1, np.dtype([*header, shares, skip, ("table", sizes.entry_dtype, (sizes.num_entries,))]))
        self._fields = array[0]
        self.bytes: npt.NDArray[np.uint8] = array.view(np.uint8)

    def write(self, command: Command) -> None:
        """Store a command."""
        fields = self._fields
        fields["kind"], fields["generation"] = command.kind, command.generation
        fields["parts"], fields["items"], fields["entries"] = command.num_parts, command.num_items, len(command.entries)
        fields["shares"] = command.shares or 0
        bits = np.zeros(8 * fields["skip"].size, np.uint8)
        if command.skip is not None:
            bits[command.skip] = 1
        fields["skip"] = np.packbits(bits)
        fields["table"][: len(command.entries)] = command.entries

    def read(self) -> Command:
        """Return the stored command; its arrays are copies."""
        fields = self._fields
        kind, generation, num_parts, num_items, num_entries = (
            int(fields[name]) for name in ("kind", "generation", "parts", "items", "entries")
        )
        return Command(
            kind=kind,
            generation=generation,
            entries=fields["table"][:num_entries].copy(),
            num_parts=num_parts,
            num_items=num_items,
            skip=np.flatnonzero(np.unpackbits(fields["skip"])[:num_items]).astype(np.int32),
            shares=fields["shares"].tolist(),
        )
