"""A run as users load it: records, curves, genomes and parameters as arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.errors import RunFileError, check_index
from gamaml.evolution.candidates import (
    UNCHANGED,
    Candidate,
    Genome,
    Lineage,
    Snapshot,
    State,
    candidate_at,
    candidates_of,
)
from gamaml.evolution.decode import NoiseSource, mean
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.evolution.strategy import Strategy
from gamaml.runlog import hdf5_file as hdf5
from gamaml.runlog.hdf5_file import PADDING, Contents
from gamaml.runlog.header import Header
from gamaml.runlog.history import read_generations, read_past, read_snapshots
from gamaml.runlog.run_log import sidecar
from gamaml.types import Float32Array, Float64Array, Problem, Records

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
        lineage: [G, num_parents], the parents selected, slot 0 the elite; padded likewise. Of an "es" run: the centre,
            and offset and weight of every mirrored pair. Of a "maml" run: the centre only.
        summary: [G], one `Summary` each.
        snapshots: vectors that were stored, in the order of their generations; of "es" and "maml", centre and moments.
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
    snapshots: list[Snapshot]

    @property
    def config(self) -> Config:
        """The config of the latest start."""
        return self.header.config

    @property
    def strategy(self) -> Strategy:
        """What the config's strategy does."""
        return self.header.strategy

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
            ConfigError: there is no such generation, child or candidate, or the strategy is one without genomes.
        """
        return self.strategy.genome(*self._find(generation, index, candidate))

    def parameters(
        self,
        generation: int | None = None,
        index: int | None = None,
        *,
        candidate: int | None = None,
        problem: Problem | None = None,
        noise: NoiseSource | None = None,
    ) -> Float32Array:
        """Return parameters, float32[num_params].

        Args:
            generation: as in `genome`; of an "es" or "maml" run, the elite is the centre after the generation's update.
            index: as in `genome`.
            candidate: as in `genome`; of the open generation, one that does not depend on its children.
            problem: the fitness function; made from the run's config by default.
            noise: the noise table; computed as needed by default.

        Raises:
            ConfigError: there is no such generation, child or candidate.
        """
        found, lineage = self._find(generation, index, candidate)
        sources = self._sources(problem, noise)
        return self.strategy.parameters(found, self._initial(), lineage, *sources, self._snapshot(len(lineage)))

    def parents_mean(self, generation: int | None = None) -> Float32Array:
        """Return the mean of a generation's parents, the elite among them, float32[num_params].

        Of "es" and "maml", the centre. It averages out what single parents owe to luck, and is often the safer choice.

        Args:
            generation: that selected them, the last one by default.

        Raises:
            ConfigError: there is no such generation.
        """
        generation = self.num_generations - 1 if generation is None else generation
        check_index("generation", generation, self.num_generations)
        lineage, num_params = self._lineage(generation + 1), self.header.num_params
        sources = self._sources(None, None)
        vectors = self.strategy.vectors(self._initial(), lineage, *sources, 0, num_params, self._snapshot(len(lineage)))
        return mean(list(vectors[: self.strategy.num_parents]), np.empty(num_params, np.float32))

    def elite_parameters(self) -> Float32Array:
        """Return the parameters of the last generation's elite, float32[num_params]."""
        return self.parameters()

    def state(self, generation: int) -> State:
        """Return the strategy's state from which a generation's children come; G for those of the open one."""
        check_index("generation", generation, self.num_generations + 1)
        state = self._initial()
        if generation == 0:
            return state
        return dataclasses.replace(state, generation=generation, parents=_present(self.lineage[generation - 1]))

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

    def _find(
        self, generation: int | None, index: int | None, candidate: int | None
    ) -> tuple[Candidate, list[Lineage]]:
        """Return a candidate, and the lineage that its slots refer to the end of."""
        generation = self.num_generations - 1 if generation is None else generation
        elite = index is None and candidate is None
        check_index("generation", generation, self.num_generations + (not elite))
        if candidate is not None:
            candidates = self._candidates(generation)
            check_index("candidate", candidate, len(candidates))
            return candidates[candidate], self._lineage(generation)
        if index is not None:
            check_index("index", index, self.strategy.population_size)
            children = self.strategy.children(self.state(generation), index + 1)
            return candidate_at(children, index), self._lineage(generation)
        return Candidate(0, UNCHANGED, 0.0), self._lineage(generation + 1)

    def _candidates(self, generation: int) -> list[Candidate]:
        if generation == self.num_generations:
            return self.strategy.certain(self.state(generation))
        return candidates_of(_present(self.candidates[generation]))

    def _lineage(self, generation: int) -> list[Lineage]:
        return [_present(parents) for parents in self.lineage[:generation]]

    def _initial(self) -> State:
        return self.strategy.initial(self.config.seed, self.config.noise.size - self.header.num_params + 1)

    def _sources(self, problem: Problem | None, noise: NoiseSource | None) -> tuple[NoiseSource, Problem]:
        # Here, since a problem may bring JAX, and most readers of a run want none.
        from gamaml import problems

        if noise is None:
            noise = LazyNoise(size=self.config.noise.size, seed=self.config.noise.seed)
        return noise, problems.make_problem(self.config) if problem is None else problem

    def _snapshot(self, generation: int) -> Snapshot | None:
        """Return the latest vectors that were stored up to a generation."""
        earlier = [snapshot for snapshot in self.snapshots if snapshot.generation <= generation]
        return earlier[-1] if earlier else None


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
        snapshots=contents.snapshots,
    )


def digest(run: Run) -> str:
    """Return `run.digest()`."""
    return run.digest()


def _from_journal(journal: Path) -> Contents:
    before = read_past(journal)
    tables = hdf5.tables_of(list(read_generations(journal)), before.header)
    finished, snapshots = before.history.finished, list(read_snapshots(journal))
    return Contents(before.created, before.header, before.version_history, tables, finished, snapshots)


def _present(entries: Lineage) -> Lineage:
    return entries[entries["slot"] != PADDING]


def _update(digest: hashlib._Hash, table: Records) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    for name in table.dtype.names or ():
        if name not in NOT_SCIENCE:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(table[name]).tobytes())
