"""The vectors of one population on a node: two buffers, for the current and the previous generation."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.parallel.board import Window
from gamaml.types import Float32Array


@dataclass(frozen=True)
class VectorBuffers:
    """Two buffers in a window that the node's ranks share; new vectors replace the older of the two.

    Attributes:
        window: the window.
        arrays: float32[2, num_vectors, num_params] in the window.
    """

    window: Window
    arrays: Float32Array

    def of(self, generation: int) -> Float32Array:
        """Return the vectors of a generation, float32[num_vectors, num_params]."""
        return self.arrays[generation % 2]

    @property
    def nbytes(self) -> int:
        """Bytes of both buffers."""
        return self.arrays.nbytes

    def sync(self) -> None:
        """Order this rank's loads and stores with those of the others."""
        self.window.sync()
