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
"""Structured array of a `lineage_dtype`, one entry per parent; slot 0 is the elite."""

NOBODY = -1
"""Partner of an entry that has fewer parents than it may have."""

_BLOCK = 1 << 18
"""Entries decoded at a time, 1 MiB: many, so that the calls cost little; few, so that the product stays in the cache.
With 2**15 a child of 4 million parameters takes 1.4 times as long as in a C loop, with 2**18 1.1 times
(`benchmarks/decode.py`)."""


def lineage_dtype(recombine: int = 1) -> np.dtype[np.void]:
    """Return the dtype of a Lineage whose entries come from up to `recombine` parents each.

    One: LINEAGE_DTYPE. More: with a column "partners", the slots of the parents beside `slot`.
    """
    partners = [("partners", "<i4", (recombine - 1,))] if recombine > 1 else []
    return np.dtype([*LINEAGE_DTYPE.descr, *partners])


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
    With `partners`, slots of further parents, what is mutated is the mean of them all.
    """

    slot: int
    offset: int
    std: float
    partners: tuple[int, ...] = ()

    @property
    def bases(self) -> tuple[int, ...]:
        """Slots of all its parents, in the order in which they are added; empty for a root."""
        return () if self.slot == ROOT else (self.slot, *self.partners)


@dataclass(frozen=True)
class Genome:
    """Candidates from their roots on.

    Attributes:
        steps: every ancestor once, parents before their children, and the candidates themselves; their slots are places
            in `steps`. Those that equal their parent are left out.
        ends: places of the candidates in `steps`.
    """

    steps: tuple[Candidate, ...]
    ends: tuple[int, ...]

    @property
    def num_mutations(self) -> int:
        """Number of mutations, those of all ancestors together."""
        return sum(step.slot != ROOT for step in self.steps)

    @property
    def nbytes(self) -> int:
        """Bytes that the genome takes: 8 per offset, 4 per std, and 4 per parent that is not the step before."""
        bases = [step.bases for step in self.steps]
        plain = sum(slots == (place - 1,) for place, slots in enumerate(bases))
        return 8 * len(bases) + 4 * self.num_mutations + 4 * (sum(map(len, bases)) - plain)


@dataclass(frozen=True)
class State:
    """What a strategy carries from generation to generation, beside the vectors that every node keeps.

    Attributes:
        seed: the population's seed.
        num_offsets: number of valid noise offsets, noise.size - num_params + 1.
        generation: the generation whose children come next.
        parents: how the vectors that every node keeps follow from those before them. Of a GA: Lineage of the present
            parents, empty before generation 0.
    """

    seed: int
    num_offsets: int
    generation: int
    parents: Lineage


@dataclass(frozen=True)
class Snapshot:
    """The vectors that a node keeps, as they stood once.

    Attributes:
        generation: the generation whose children they are for.
        vectors: float32[num_vectors, num_params].
    """

    generation: int
    vectors: Float32Array


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
        elite_fitness: mean fitness of the elite over its re-evaluations (without them: its single fitness); of
            ES and MAML, of the centre before this generation's update.
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


def genome_of(candidate: Candidate, lineage: Sequence[Lineage]) -> Genome:
    """Rebuild a candidate's genome; arguments as in `genomes_of`."""
    return genomes_of([candidate], lineage)


def genomes_of(candidates: Sequence[Candidate], lineage: Sequence[Lineage]) -> Genome:
    """Rebuild the common genome of candidates.

    Args:
        candidates: their slots refer to the last entry of `lineage`.
        lineage: the parents selected after generation 0, 1, ..., each in terms of the entry before it.
    """
    generations: list[dict[int, Candidate]] = [dict(enumerate(candidates))]
    for parents in reversed(lineage):
        needed = {slot for child in generations[-1].values() for slot in child.bases}
        if not needed:
            break
        generations.append({slot: candidate_at(parents, slot) for slot in sorted(needed)})
    steps: list[Candidate] = []
    places: dict[int, int] = {}
    for generation in reversed(generations):
        before, places = places, {}
        for slot, found in generation.items():
            if found.offset == UNCHANGED:
                places[slot] = before[found.slot]
                continue
            places[slot] = len(steps)
            slots = [before[base] for base in found.bases] or [ROOT]
            steps.append(Candidate(slots[0], found.offset, found.std, tuple(slots[1:])))
    return Genome(steps=tuple(steps), ends=tuple(places[slot] for slot in range(len(candidates))))


def lineage_of(candidates: Sequence[Candidate], dtype: np.dtype[np.void] = LINEAGE_DTYPE) -> Lineage:
    """Return candidates as a Lineage array of a `lineage_dtype`."""
    lineage = np.empty(len(candidates), dtype)
    lineage["slot"] = [candidate.slot for candidate in candidates]
    lineage["offset"] = [candidate.offset for candidate in candidates]
    lineage["std"] = [candidate.std for candidate in candidates]
    if "partners" in (dtype.names or ()):
        lineage["partners"] = NOBODY
        for entry, candidate in zip(lineage, candidates, strict=True):
            entry["partners"][: len(candidate.partners)] = candidate.partners
    return lineage


def candidates_of(lineage: Lineage) -> list[Candidate]:
    """Return the entries of a Lineage as candidates: the inverse of `lineage_of`."""
    return [candidate_at(lineage, slot) for slot in range(len(lineage))]


def candidate_at(lineage: Lineage, slot: int) -> Candidate:
    """Return one entry of a Lineage as a Candidate."""
    entry = lineage[slot]
    partners: tuple[int, ...] = ()
    if "partners" in (lineage.dtype.names or ()):
        partners = tuple(int(partner) for partner in entry["partners"] if partner != NOBODY)
    return Candidate(int(entry["slot"]), int(entry["offset"]), float(entry["std"]), partners)
