"""Named arrays in one flat float32 vector: the GA mutates the vector, a network reads the arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gamaml.types import Float32Array

Shapes = Mapping[str, tuple[int, ...]]
"""Name -> shape of each array, in their order in the vector."""


@dataclass(frozen=True)
class Layout:
    """The places of named arrays in a flat vector.

    Attributes:
        arrays: (name, shape) in order, without gaps.
    """

    arrays: tuple[tuple[str, tuple[int, ...]], ...]

    @classmethod
    def of(cls, shapes: Shapes) -> Layout:
        """Return the layout of a mapping name -> shape."""
        return cls(tuple((name, tuple(shape)) for name, shape in shapes.items()))

    @cached_property
    def slices(self) -> dict[str, slice]:
        """Name -> slice of the flat vector."""
        slices: dict[str, slice] = {}
        offset = 0
        for name, shape in self.arrays:
            slices[name] = slice(offset, offset + math.prod(shape))
            offset += math.prod(shape)
        return slices

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(math.prod(shape) for _, shape in self.arrays)

    def unflatten(self, vector: Any) -> dict[str, Any]:  # NumPy in, NumPy out; JAX in, JAX out
        """Return the arrays of a vector [size] by name; views where the vector is a NumPy array."""
        return {name: vector[self.slices[name]].reshape(shape) for name, shape in self.arrays}

    def flatten(self, arrays: Mapping[str, Any]) -> Float32Array:  # anything that np.asarray takes
        """Return the named arrays as a new vector, float32[size]: the inverse of `unflatten`, on the host."""
        vector = np.empty(self.size, np.float32)
        for name, shape in self.arrays:
            array = np.asarray(arrays[name])
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {array.shape}; check the array's dimensions")
            vector[self.slices[name]] = array.reshape(-1)
        return vector


def fan_in(shape: tuple[int, ...]) -> int:
    """Return the inputs of a unit: the product of all dimensions but the last, 1 for a vector or scalar."""
    return math.prod(shape[:-1]) if len(shape) >= 2 else 1
