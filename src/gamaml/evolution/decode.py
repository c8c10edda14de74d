"""The one decode: from a candidate, its parents and the noise table to parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from gamaml.evolution.candidates import ROOT, UNCHANGED, Candidate, Genome
from gamaml.types import Float32Array

_BLOCK = 1 << 18
"""Entries decoded at a time, 1 MiB: many, so that the calls cost little; few, so that the product stays in the cache.
With 2**15 a child of 4 million parameters takes 1.4 times as long as in a C loop, with 2**18 1.1 times
(`benchmarks/decode.py`)."""


class NoiseSource(Protocol):
    """Anything that gives blocks of the noise table."""

    def block(self, offset: int, num_params: int) -> Float32Array:
        """Return read-only noise, float32[num_params], from `offset` on."""
        ...


class Decodable(Protocol):
    """What decoding needs of a Problem."""

    num_params: int
    scale: Float32Array | None

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn noise into initial parameters."""
        ...


def mutate(
    parent: Float32Array, noise: Float32Array, std: float, scale: Float32Array | None, out: Float32Array
) -> Float32Array:
    """Write `parent + std * scale * noise` into `out` and return it. The only such sum in gamaml.

    NumPy on purpose, everywhere: a jitted sum rounds differently in the last bit.

    Args:
        parent: float32[num_params].
        noise: float32[num_params].
        std: rounded to float32 first.
        scale: float32[num_params], or None for 1 everywhere.
        out: float32[num_params]; may be `parent` itself, not `noise`.
    """
    std32 = np.float32(std)
    product = np.empty(min(_BLOCK, out.size), np.float32)
    for start in range(0, out.size, _BLOCK):
        stop = min(start + _BLOCK, out.size)
        part = product[: stop - start]
        np.multiply(noise[start:stop], std32, out=part)
        if scale is not None:
            np.multiply(part, scale[start:stop], out=part)
        np.add(parent[start:stop], part, out=out[start:stop])
    return out


def mean(rows: Sequence[Float32Array], out: Float32Array) -> Float32Array:
    """Write the mean of `rows`, each float32[num_params], into `out` and return it.

    The rows are added one after the other in float32, so that the bits depend on nothing but their order.
    """
    number = np.float32(len(rows))
    for start in range(0, out.size, _BLOCK):
        total = out[start : start + _BLOCK]
        total[:] = rows[0][start : start + _BLOCK]
        for row in rows[1:]:
            np.add(total, row[start : start + _BLOCK], out=total)
        np.divide(total, number, out=total)
    return out


def decode(
    candidate: Candidate, parents: Float32Array, noise: NoiseSource, problem: Decodable, out: Float32Array
) -> Float32Array:
    """Decode a candidate from its cached parent.

    Args:
        candidate: what to decode.
        parents: float32[num_parents, num_params], the decoded parents that `candidate.slot` refers to.
        noise: the noise table.
        problem: gives num_params, scale and the initial parameters.
        out: float32[num_params], receives the parameters.

    Returns:
        out.
    """
    if candidate.slot == ROOT:
        out[:] = problem.initial(noise.block(candidate.offset, problem.num_params))
    elif candidate.offset == UNCHANGED:
        out[:] = parents[candidate.slot]
    else:
        block = noise.block(candidate.offset, problem.num_params)
        rows = [parents[slot] for slot in candidate.bases]
        base = rows[0] if len(rows) == 1 else mean(rows, out)
        mutate(base, block, candidate.std, problem.scale, out)
    return out


def decode_genome(genome: Genome, noise: NoiseSource, problem: Decodable) -> Float32Array:
    """Decode the first candidate of a genome; the same bits as decoding step by step through cached parents.

    Returns:
        float32[num_params].
    """
    return decode_part(genome, noise, problem, 0, problem.num_params)[0]


def decode_part(genome: Genome, noise: NoiseSource, problem: Decodable, start: int, stop: int) -> Float32Array:
    """Decode the parameters from `start` to `stop` of all candidates of a genome.

    Every ancestor is decoded once, and forgotten after its last child: time grows with their number, memory with the
    number of those that live at once.

    Returns:
        float32[len(genome.ends), stop - start].
    """
    scale = None if problem.scale is None else problem.scale[start:stop]
    last_use = {base: place for place, step in enumerate(genome.steps) for base in step.bases}
    last_use.update((end, len(genome.steps)) for end in genome.ends)
    alive: dict[int, Float32Array] = {}
    for place, step in enumerate(genome.steps):
        if step.slot == ROOT:
            params = problem.initial(noise.block(step.offset, problem.num_params))
            alive[place] = np.array(params[start:stop], np.float32)
            continue
        rows = [alive[base] for base in step.bases]
        dying = [alive.pop(base) for base in set(step.bases) if last_use[base] == place]
        if len(rows) > 1:
            out = base = mean(rows, np.empty(stop - start, np.float32))
        else:
            base = rows[0]
            out = base if dying else np.empty(stop - start, np.float32)
        alive[place] = mutate(base, noise.block(step.offset + start, stop - start), step.std, scale, out)
    return np.stack([alive[end] for end in genome.ends])
