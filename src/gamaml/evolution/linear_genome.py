"""Linear genomes: the sum over the noise table that makes a candidate of a strategy whose centre is linear in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gamaml.evolution.centre import weighted_noise
from gamaml.evolution.decode import Decodable, NoiseSource, Sources, decode
from gamaml.evolution.entries import UNCHANGED, Entries, new_entries
from gamaml.evolution.multifactorial_recombination import MEAN, advance, mean_shares
from gamaml.types import Float32Array


@dataclass(frozen=True)
class LinearGenome:
    """A candidate as a root and the pairs that moved the centre; the mean of the centres has shares of the same pairs.

    Attributes:
        root: where the noise of the initial parameters begins in the table.
        offsets: int64[number of pairs], where each pair's noise begins, in the order of the generations.
        coefficients: float32[number of pairs], the coefficient of each pair's noise in the last centre.
        num_pairs: pairs of one generation.
        base: the vector that the candidate starts from: 0 is the centre, 1 the mean of the centres.
        mutation: offset and factor of the candidate's own noise; None for the vector itself.
    """

    root: int
    offsets: npt.NDArray[np.int64]
    coefficients: Float32Array
    num_pairs: int
    base: int
    mutation: tuple[int, float] | None

    @property
    def num_mutations(self) -> int:
        """Number of terms beside the root."""
        return len(self.offsets) + (self.mutation is not None)

    @property
    def nbytes(self) -> int:
        """Bytes that the genome takes: 8 per offset and 4 per coefficient."""
        return 8 + 12 * self.num_mutations

    @property
    def terms(self) -> tuple[npt.NDArray[np.int64], Float32Array]:
        """The candidate as one sum: the offsets and coefficients of all noise that is added to the root.

        The coefficients of the mean of the centres are those of the last centre times the share of the later centres.
        """
        offsets, coefficients = self.offsets, self.coefficients
        if self.base == MEAN:
            shares = np.repeat(list(mean_shares(len(offsets) // self.num_pairs)), self.num_pairs)
            coefficients = (coefficients * shares).astype(np.float32)
        if self.mutation is not None:
            offset, factor = self.mutation
            offsets = np.append(offsets, np.int64(offset))
            coefficients = np.append(coefficients, np.float32(factor))
        return offsets, coefficients

    def parameters(self, noise: NoiseSource, problem: Decodable, where: slice | None = None) -> Float32Array:
        """Return a range of the candidate's parameters, float32[size], bit for bit as in the run.

        Args:
            noise: the noise table.
            problem: gives num_params, scale and the initial parameters.
            where: the range of parameters, all by default.
        """
        where = slice(0, problem.num_params) if where is None else where
        size = where.stop - where.start
        vectors, after = np.empty((2, 2, size), np.float32)
        sources = Sources(noise, problem, vectors, where.start, size)
        vectors[:] = sources.initial(self.root)
        for generation in range(1, len(self.offsets) // self.num_pairs + 1):
            part = slice((generation - 1) * self.num_pairs, generation * self.num_pairs)
            pairs = new_entries(self.num_pairs)
            pairs["offset"], pairs["factor"] = self.offsets[part], self.coefficients[part]
            shift = weighted_noise(pairs, noise, where.start, size)
            advance((vectors[0], vectors[1]), after, shift, generation, sources.scale)
            vectors, after = after, vectors
        entry, out = new_entries(1), np.empty(size, np.float32)
        entry["base"] = self.base
        entry["offset"], entry["factor"] = (UNCHANGED, 0.0) if self.mutation is None else self.mutation
        decode(entry[0], Sources(noise, problem, vectors, where.start, size), out)
        return out


def linear_genome_of(entry: np.void, root: Entries, history: Sequence[Entries]) -> LinearGenome:
    """Return the genome of an entry.

    Args:
        entry: its base is a row of the vectors after the last entries of `history`.
        root: the entries of the state before generation 0.
        history: the entries of the states before generations 1, 2, ...
    """
    offset = int(entry["offset"])
    return LinearGenome(
        root=int(root["offset"][0]),
        offsets=np.concatenate([np.empty(0, np.int64), *(entries["offset"] for entries in history)]),
        coefficients=np.concatenate([np.empty(0, np.float32), *(entries["factor"] for entries in history)]),
        num_pairs=len(history[0]) if history else 1,
        base=int(entry["base"]),
        mutation=None if offset == UNCHANGED else (offset, float(entry["factor"])),
    )
