"""The nouns of evolution: result records, candidates, genomes, the state of a population, and the one decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gamaml.types import Evaluation, Float32Array, Float64Array, Records

ROOT = -1
"""Slot of a candidate without a parent: its parameters are `problem.initial(noise[offset:])`."""

UNCHANGED = -1
"""Offset of a candidate that is its parent, unmutated."""

FAILED = 1
"""Flag of a record whose fitness is not finite; such a child is counted and never selected."""

DONE = 2
"""Flag of a record that holds a finished evaluation."""

FAULT = 4
"""Flag of a failed record whose environment raised, crashed or ran too long."""

LINEAGE_DTYPE = np.dtype([("slot", "<i4"), ("offset", "<i8"), ("std", "<f4")])
"""One parent: the slot among the previous generation's parents that it comes from, noise offset, std."""

Lineage = npt.NDArray[np.void]
"""Structured array of LINEAGE_DTYPE, one entry per parent; slot 0 is the elite."""

_BLOCK = 1 << 18
"""Entries decoded at a time, 1 MiB: many, so that the calls cost little; few, so that the product stays in the cache.
With 2**15 a child of 4 million parameters takes 1.4 times as long as in a C loop, with 2**18 1.1 times
(`benchmarks/decode.py`)."""


def record_dtype(num_rounds: int, scalars: Sequence[str] = ()) -> np.dtype[np.void]:
    """Return the dtype of a result record: 28 bytes, and 4 per entry of `returns` and per scalar.

    `index` is the child's index (children) or candidate * elite.episodes + episode (re-evaluations); what a
    record's child is follows from (seed, generation, index), so nothing else travels. `seconds` and `rank` say how
    the evaluation went and are not part of a run's science.
    """
    fields: list[tuple[str, str] | tuple[str, str, tuple[int, ...]]] = [
        ("steps", "<u8"),
        ("index", "<u4"),
        ("flags", "<u4"),
        ("fitness", "<f4"),
        ("seconds", "<f4"),
        ("rank", "<u4"),
        ("returns", "<f4", (num_rounds + 1,)),
    ]
    return np.dtype([*fields, *((f"scalar_{name}", "<f4") for name in scalars)])


NOT_SCIENCE = ("seconds", "rank")
"""Fields of a record that describe the machine."""


def fill_records(
    records: Records,
    items: npt.NDArray[np.int32],
    evaluations: Sequence[Evaluation],
    scalars: Sequence[str],
    *,
    seconds: float,
    rank: int,
) -> None:
    """Write finished evaluations into records.

    Args:
        records: [len(items)].
        items: int32[...], the records' indices.
        evaluations: one per item.
        scalars: names of `Evaluation.scalars`.
        seconds: that each of them took.
        rank: world rank.
    """
    fitness = np.array([evaluation.fitness for evaluation in evaluations], np.float32)
    records["index"] = items
    records["steps"] = [evaluation.steps for evaluation in evaluations]
    records["fitness"] = fitness
    records["seconds"] = seconds
    records["rank"] = rank
    records["returns"] = [evaluation.returns for evaluation in evaluations]
    if scalars:
        values = zip(*(evaluation.scalars for evaluation in evaluations), strict=True)
        for name, value in zip(scalars, values, strict=True):
            records[f"scalar_{name}"] = value
    flags = np.where(np.isfinite(fitness), DONE, DONE | FAILED)
    records["flags"] = flags | [FAULT * evaluation.fault for evaluation in evaluations]


@dataclass(frozen=True)
class Candidate:
    """One candidate: a parent's slot, a noise offset and the mutation std.

    `slot == ROOT`: no parent, the noise at `offset` becomes initial parameters. `offset == UNCHANGED`: the parent.
    """

    slot: int
    offset: int
    std: float


@dataclass(frozen=True)
class Genome:
    """A candidate from its root: the offset of its initial parameters, then (offset, std) of every mutation."""

    root: int
    mutations: tuple[tuple[int, float], ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the genome takes as 8-byte offsets and 4-byte stds."""
        return 8 + 12 * len(self.mutations)


@dataclass(frozen=True)
class GAState:
    """What truncation selection carries from generation to generation.

    Attributes:
        seed: the population's seed.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        generation: the generation whose children come next.
        parents: Lineage of the present parents, in terms of the parents before them; empty before generation 0.
    """

    seed: int
    num_offsets: int
    generation: int
    parents: Lineage


@dataclass(frozen=True)
class JobInfo:
    """What a job is about to take, told before anything is allocated.

    Attributes:
        num_ranks: MPI ranks.
        num_nodes: nodes; each holds all of the memory below once.
        table_nbytes: bytes of the noise table.
        population_nbytes: bytes of decoded parents and of work and results, for each population.
    """

    num_ranks: int
    num_nodes: int
    table_nbytes: int
    population_nbytes: tuple[int, ...]

    @property
    def node_nbytes(self) -> int:
        """Bytes that every node holds."""
        return self.table_nbytes + sum(self.population_nbytes)


@dataclass(frozen=True)
class GenerationInfo:
    """What a finished generation tells.

    Attributes:
        population: index of the population in this job.
        name: name of its run.
        generation: index of the generation, from 0.
        fitness_best, fitness_mean, fitness_median: over the children with a finite fitness; NaN if there is none.
        elite_fitness: mean fitness of the elite over its re-evaluations (without them: its single fitness).
        elite_returns: float64[num_rounds + 1], the elite's mean return (or loss) before and after each inner round.
        mean_returns: float64[num_rounds + 1], the same, over all children with a finite fitness.
        num_failed: children without a finite fitness.
        steps: environment steps of this generation, re-evaluations included.
        total_steps: environment steps of the run so far.
        num_evaluations: evaluations of this generation, re-evaluations included.
        mutation_std: std with which the children were made.
        seconds: wall-clock seconds of the generation in this job.
        eta_seconds: estimated seconds to the end of the run, NaN where it is not known.
        metric: "return" or "loss".
    """

    population: int
    name: str
    generation: int
    fitness_best: float
    fitness_mean: float
    fitness_median: float
    elite_fitness: float
    elite_returns: Float64Array
    mean_returns: Float64Array
    num_failed: int
    steps: int
    total_steps: int
    num_evaluations: int
    mutation_std: float
    seconds: float
    eta_seconds: float
    metric: str


@dataclass(frozen=True)
class TrainResult:
    """How a population ended; the same on every rank.

    Attributes:
        path: its run file.
        num_generations: generations in the file.
        total_steps: environment steps of the run.
        elite_fitness: fitness of the elite, NaN before the first selection.
        interrupted: whether it ended before its stop criterion; `resume=True` goes on.
        exhausted: whether this was the second restart in a row that was interrupted without a new record.
        parameters: float32[num_params] of the elite, None before the first selection or after an interruption.
    """

    path: Path
    num_generations: int
    total_steps: int
    elite_fitness: float
    interrupted: bool
    exhausted: bool
    parameters: Float32Array | None = None


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
        mutate(parents[candidate.slot], block, candidate.std, problem.scale, out)
    return out


def decode_genome(genome: Genome, noise: NoiseSource, problem: Decodable) -> Float32Array:
    """Decode a genome from its root; the same bits as decoding step by step through cached parents.

    Returns:
        float32[num_params].
    """
    params = np.array(problem.initial(noise.block(genome.root, problem.num_params)), np.float32)
    for offset, std in genome.mutations:
        mutate(params, noise.block(offset, problem.num_params), std, problem.scale, params)
    return params


def genome_of(candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
    """Rebuild a candidate's genome.

    Args:
        candidate: its slot refers to the last entry of `lineage`.
        lineage: the parents selected after generation 0, 1, ..., each in terms of the entry before it.
    """
    slot, steps = candidate.slot, [(candidate.offset, float(candidate.std))]
    for parents in reversed(lineage):
        if slot == ROOT:
            break
        entry = parents[slot]
        slot = int(entry["slot"])
        steps.append((int(entry["offset"]), float(entry["std"])))
    steps = [step for step in reversed(steps) if step[0] != UNCHANGED]
    return Genome(root=steps[0][0], mutations=tuple(steps[1:]))


def lineage_of(candidates: Sequence[Candidate]) -> Lineage:
    """Return candidates as a Lineage array."""
    return np.array([(c.slot, c.offset, c.std) for c in candidates], LINEAGE_DTYPE)


def candidate_at(lineage: Lineage, slot: int) -> Candidate:
    """Return one entry of a Lineage as a Candidate."""
    entry = lineage[slot]
    return Candidate(int(entry["slot"]), int(entry["offset"]), float(entry["std"]))
