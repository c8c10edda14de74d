"""A run as users load it: records, curves, genomes and parameters as arrays."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import config as cfg
from gamaml import ga
from gamaml.config import Config
from gamaml.errors import ConfigError, RunFileError
from gamaml.noise import LazyNoise
from gamaml.population import (
    NOT_SCIENCE,
    Candidate,
    GAState,
    Genome,
    Lineage,
    candidate_at,
    decode_genome,
    decode_part,
    genome_of,
    genomes_of,
    mean,
)
from gamaml.runlog import hdf5
from gamaml.runlog.hdf5 import PADDING, Contents
from gamaml.runlog.header import Header
from gamaml.runlog.history import read_generations, read_past
from gamaml.runlog.log import sidecar
from gamaml.types import Float32Array, Float64Array, Records

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run read from its file; G is the number of committed generations.

    Attributes:
        path: NAME.h5.
        header: of the latest start: name, config, sizes, noise digest, versions, machine.
        created: when the run began, in seconds since 1970.
        version_history: (generation, versions) at the first start and wherever the versions changed.
        finished: whether the run ended by its stop criteria.
        records: [G, population_size], the children's records.
        reevaluations: [G, candidates * episodes]; entries without the flag DONE are not there.
        candidates: [G, candidates], who was re-evaluated; entries with slot PADDING are not there.
        lineage: [G, num_parents], the parents selected, slot 0 the elite; padded likewise.
        summary: [G], one `Summary` each.
    """

    path: Path
    header: Header
    created: float
    version_history: list[tuple[int, dict[str, str]]]
    finished: bool
    records: Records
    reevaluations: Records
    candidates: Lineage
    lineage: Lineage
    summary: Records

    @property
    def config(self) -> Config:
        """The config of the latest start."""
        return self.header.config

    @property
    def num_generations(self) -> int:
        """Committed generations, G."""
        return len(self.summary)

    @property
    def curves(self) -> dict[str, Float64Array]:
        """The summary as one array per name, [G] or [G, num_rounds + 1], with the running `total_steps`."""
        names = self.summary.dtype.names or ()
        curves = {name: self.summary[name].astype(np.float64) for name in names}
        return {**curves, "total_steps": np.cumsum(curves["steps"])}

    def genome(
        self, generation: int | None = None, index: int | None = None, *, candidate: int | None = None
    ) -> Genome:
        """Return a genome.

        Args:
            generation: the last committed one by default; with `index`, also the open one, G.
            index: of a child; the elite that the generation selected by default.
            candidate: index of a re-evaluated candidate, instead of a child.

        Raises:
            ConfigError: there is no such generation, child or candidate.
        """
        generation = self.num_generations - 1 if generation is None else generation
        child = index if candidate is None else None
        _in_range("generation", generation, self.num_generations + (child is not None))
        ancestors = [_present(parents) for parents in self.lineage[:generation]]
        if child is not None:
            chosen = self._child(generation, child)
        else:
            entries = _present(self.lineage[generation] if candidate is None else self.candidates[generation])
            slot = 0 if candidate is None else candidate
            _in_range("candidate", slot, len(entries))
            chosen = candidate_at(entries, slot)
        return genome_of(chosen, ancestors)

    def parameters(
        self, generation: int | None = None, index: int | None = None, *, candidate: int | None = None
    ) -> Float32Array:
        """Return the parameters of a genome, float32[num_params]; the arguments are those of `genome`."""
        # Here, since a problem may bring JAX, and most readers of a run want none.
        from gamaml import tasks

        noise = LazyNoise(size=self.config.noise.size, seed=self.config.noise.seed)
        genome = self.genome(generation, index, candidate=candidate)
        return decode_genome(genome, noise, tasks.make_problem(self.config))

    def parents_mean(self) -> Float32Array:
        """Return the mean of the last generation's parents, the elite among them, float32[num_params].

        It averages out what single parents owe to luck, and is often the safer choice.

        Raises:
            ConfigError: there is no generation yet.
        """
        from gamaml import tasks

        generation = self.num_generations - 1
        _in_range("generation", generation, self.num_generations)
        parents = _present(self.lineage[generation])
        ancestors = [_present(entries) for entries in self.lineage[:generation]]
        genome = genomes_of([candidate_at(parents, slot) for slot in range(len(parents))], ancestors)
        noise = LazyNoise(size=self.config.noise.size, seed=self.config.noise.seed)
        num_params = self.header.num_params
        rows = decode_part(genome, noise, tasks.make_problem(self.config), 0, num_params)
        return mean(list(rows), np.empty(num_params, np.float32))

    def elite_parameters(self) -> Float32Array:
        """Return the parameters of the last generation's elite, float32[num_params]."""
        return self.parameters()

    def digest(self) -> str:
        """Return the SHA-256 digest, in hexadecimal, of everything scientific in the run.

        Config (without stop criteria), sizes, constants, noise table, records, candidates, parents and stds count;
        times, ranks, machines and versions do not.
        """
        header = self.header
        digest = hashlib.sha256()
        sizes = [
            header.num_params,
            header.num_rounds,
            list(header.scalars),
            header.metric,
            header.noise_digest,
            *([header.constants] if header.constants else []),
        ]
        digest.update(json.dumps([cfg.science(self.config), sizes], sort_keys=True).encode())
        for generation in range(self.num_generations):
            digest.update(np.float64(self.summary["mutation_std"][generation]).tobytes())
            for table in (self.records, self.reevaluations, self.candidates, self.lineage):
                _update(digest, table[generation])
        return digest.hexdigest()

    def _child(self, generation: int, index: int) -> Candidate:
        _in_range("index", index, self.config.ga.population_size)
        parents = _present(self.lineage[generation - 1]) if generation else self.lineage[:0].reshape(-1)
        num_offsets = self.config.noise.size - self.header.num_params + 1
        state = GAState(self.config.seed, num_offsets, generation, parents)
        return ga.propose(state, self.config.ga, index)


def load(path: Path | str) -> Run:
    """Read a run: finished, interrupted, killed or still being written.

    A run file that is missing or unreadable is replaced by the journal beside it.

    Args:
        path: NAME.h5.

    Raises:
        RunFileError: no run there, not a run file, damaged, or written by a newer gamaml.
        ConfigError: the path does not end with .h5.
    """
    path = Path(path)
    journal = sidecar(path) / "journal"
    try:
        contents = hdf5.read(path)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if not journal.exists():
            raise RunFileError(
                f"{path}: expected a run file or a journal {journal}, got: {error}; check the path"
            ) from error
        logger.warning("%s: not readable (%s); reading the journal beside it", path, error)
        contents = _from_journal(journal)
    tables = contents.tables
    return Run(
        path=path,
        header=contents.header,
        created=contents.created,
        version_history=contents.version_history,
        finished=contents.finished,
        records=tables.records,
        reevaluations=tables.reevaluations,
        candidates=tables.candidates,
        lineage=tables.lineage,
        summary=tables.summary,
    )


def digest(run: Run) -> str:
    """Return `run.digest()`."""
    return run.digest()


def _from_journal(journal: Path) -> Contents:
    before = read_past(journal)
    tables = hdf5.tables_of(list(read_generations(journal)), before.header)
    return Contents(before.created, before.header, before.version_history, tables, before.history.finished)


def _present(entries: Lineage) -> Lineage:
    return entries[entries["slot"] != PADDING]


def _update(digest: hashlib._Hash, table: Records) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    for name in table.dtype.names or ():
        if name not in NOT_SCIENCE:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(table[name]).tobytes())


def _in_range(name: str, value: int, length: int) -> None:
    if not 0 <= value < length:
        there = f"0 to {length - 1}" if length else "none to exist yet"
        raise ConfigError(f"{name}={value}: expected {there}; choose one of those")
