"""A loaded run: records, curves, genomes and parameters as arrays."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.errors import ConfigError, RunFileError, check_index
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import NoiseSource, Sources, mean
from gamaml.evolution.entries import Entries
from gamaml.evolution.genome import Genome, genome_of
from gamaml.evolution.linear_genome import LinearGenome, linear_genome_of
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, Snapshot, rebuild, rebuild_for
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.evolution.strategy import State, Strategy
from gamaml.runlog import hdf5_file
from gamaml.runlog.hdf5_file import PADDING, Contents
from gamaml.runlog.header import Header
from gamaml.runlog.history import read_generations, read_past, read_snapshots
from gamaml.runlog.run_log import sidecar
from gamaml.runlog.summary import incumbent_records
from gamaml.types import Float32Array, Float64Array, Problem, Records

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A run read from its file; G is the number of committed generations.

    Attributes:
        path: NAME.h5.
        header: the latest start's name, config, sizes, noise digest, versions and machine.
        created: when the run began, in seconds since 1970.
        version_history: (generation, versions) at the first start and for every change of the versions.
        finished: whether the run ended by its stop criteria.
        records: [G, population_size], the children's records.
        reevaluations: [G, num_contenders * num_episodes]; records without the flag DONE are padding.
        contenders: [G, num_contenders], the re-evaluated candidates; entries with base PADDING are padding.
        entries: [G, num_entries], how the vectors after a generation follow from those before it, padded likewise: the
            parents of a GA, elite first; the mirrored pairs of an ES, with their weights.
        summary: [G], one `Summary` each.
        snapshots: the stored vectors in the order of their generations, empty if the strategy stores none.
    """

    path: Path
    header: Header
    created: float
    version_history: list[tuple[int, dict[str, str]]]
    finished: bool
    records: Records
    reevaluations: Records
    contenders: Entries
    entries: Entries
    summary: Records
    snapshots: list[Snapshot]

    @property
    def config(self) -> Config:
        """The config of the latest start."""
        return self.header.config

    @property
    def strategy(self) -> Strategy:
        """The config's strategy."""
        return chosen_strategy.make(self.config)

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
        self, generation: int | None = None, index: int | None = None, *, contender: int | None = None
    ) -> Genome | LinearGenome:
        """Return a genome.

        Args:
            generation: by default the last committed one; with `index`, it may be the open one, G.
            index: index of a child; by default, the incumbent after the generation is taken.
            contender: index of a re-evaluated contender, instead of a child.

        Raises:
            ConfigError: there is no such generation, child or contender, or the strategy has no genomes.
        """
        sizes = self.header.sizes
        if not (sizes.has_genomes or sizes.linear):
            raise ConfigError(
                f"genome: expected a run whose candidates are lists of mutations, got strategy="
                f"{self.config.strategy!r}, whose updates are more than sums of noise; ask for parameters()"
            )
        generation = self._last(generation)
        if sizes.linear:
            return self._linear_genome(generation, index, contender)
        if index is None and contender is None:
            check_index("generation", generation, self.num_generations)
            return genome_of(self.entries[generation, 0], self._course(generation).history)
        return genome_of(self._entry(generation, index, contender), self._course(generation).history)

    def parameters(
        self,
        generation: int | None = None,
        index: int | None = None,
        *,
        contender: int | None = None,
        problem: Problem | None = None,
        noise: NoiseSource | None = None,
    ) -> Float32Array:
        """Return parameters, float32[num_params].

        Args:
            generation: by default the last committed one; with `index` or `contender`, it may be the open one, G.
            index: index of a child; by default, the incumbent after the generation is taken.
            contender: index of a re-evaluated contender; in the open generation, only one that does not depend on the
                children.
            problem: the fitness function; by default, it is made from the run's config.
            noise: the noise table; by default, it is computed as needed.

        Raises:
            ConfigError: there is no such generation, child or contender.
        """
        generation = self._last(generation)
        sources = self._sources(problem, noise)
        if index is None and contender is None:
            vectors = self._vectors(generation, *sources)
            state = self._course(generation + 1).state
            return self.strategy.incumbent(state, vectors)
        entry, course = self._entry(generation, index, contender), self._course(generation)
        vectors = rebuild_for(entry, self.strategy, course, *sources)
        out = np.empty(self.header.num_params, np.float32)
        self.strategy.decode(entry, Sources.whole(*sources, vectors), out)
        return out

    def parents_mean(self, generation: int | None = None) -> Float32Array:
        """Return the mean of the vectors that children start from, float32[num_params]: a GA's parents, or a centre.

        The mean averages out the luck of single parents, and is often the safer choice.

        Args:
            generation: the generation that produced the vectors; by default, the last one.

        Raises:
            ConfigError: there is no such generation.
        """
        vectors = self._vectors(self._last(generation), *self._sources(None, None))
        return mean(list(vectors[: self.header.sizes.num_bases]), np.empty(self.header.num_params, np.float32))

    def incumbent_parameters(self) -> Float32Array:
        """Return the parameters that are the run's result so far, float32[num_params]: a GA's elite, or a centre."""
        return self.parameters()

    def incumbent_records(self, generation: int | None = None) -> Records:
        """Return the re-evaluations of a generation's incumbent, or without them its record as the best child.

        Args:
            generation: by default the last one.

        Raises:
            ConfigError: there is no such generation.
        """
        generation = self._last(generation)
        check_index("generation", generation, self.num_generations)
        contender, episodes = int(self.summary["contender"][generation]), self.header.sizes.num_episodes
        return incumbent_records(self.records[generation], self.reevaluations[generation], contender, episodes)

    def state(self, generation: int) -> State:
        """Return the strategy's state before a generation; G is the open one."""
        check_index("generation", generation, self.num_generations + 1)
        return self._course(generation).state

    def digest(self) -> str:
        """Return the SHA-256 digest, in hexadecimal, of the run's science.

        It covers config (without stop criteria), sizes, constants, noise table, records, contenders, entries and stds,
        but no times, ranks, machines or versions.
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
            digest.update(np.float64(self.summary["std"][generation]).tobytes())
            for table in (self.records, self.reevaluations, self.contenders, self.entries):
                _update(digest, table[generation])
        return digest.hexdigest()

    def _linear_genome(self, generation: int, index: int | None, contender: int | None) -> LinearGenome:
        if index is None and contender is None:
            check_index("generation", generation, self.num_generations)
            course = self._course(generation + 1)
            entry = self.strategy.contenders(course.state, None)[0]
        else:
            course, entry = self._course(generation), self._entry(generation, index, contender)
        return linear_genome_of(entry, course.initial.entries, course.history)

    def _last(self, generation: int | None) -> int:
        return self.num_generations - 1 if generation is None else generation

    def _entry(self, generation: int, index: int | None, contender: int | None) -> np.void:
        """Return a child or a contender of a generation, the open one included."""
        check_index("generation", generation, self.num_generations + 1)
        if contender is None:
            assert index is not None
            check_index("index", index, self.header.sizes.population_size)
            return self.strategy.children(self.state(generation))[index]
        if generation == self.num_generations:
            contenders = self.strategy.contenders(self.state(generation), None)
        else:
            contenders = _present(self.contenders[generation])
        check_index("contender", contender, len(contenders))
        return contenders[contender]

    def _vectors(self, generation: int, noise: NoiseSource, problem: Problem) -> Float32Array:
        """Return all vectors after a generation, float32[at most num_vectors, num_params]."""
        check_index("generation", generation, self.num_generations)
        return rebuild(self.strategy, self._course(generation + 1), noise, problem)

    def _course(self, generation: int) -> Course:
        """Return how the run came to a generation."""
        space = chosen_strategy.space_of(self.config, self.header.num_params)
        initial = self.strategy.start(self.config.seed, space)
        earlier = [snapshot for snapshot in self.snapshots if snapshot.generation <= generation]
        history = [_present(entries) for entries in self.entries[:generation]]
        return Course(initial, history, earlier[-1] if earlier else None)

    def _sources(self, problem: Problem | None, noise: NoiseSource | None) -> tuple[NoiseSource, Problem]:
        # Imported here, since a problem may need JAX, and most readers of a run do not.
        from gamaml import problems

        if noise is None:
            noise = LazyNoise(size=self.config.noise.size, seed=self.config.noise.seed)
        return noise, problems.make_problem(self.config) if problem is None else problem


def load(path: Path | str) -> Run:
    """Read a run, whether finished, interrupted, killed or still being written.

    If the run file is missing or unreadable, the journal beside it is read instead.

    Args:
        path: NAME.h5.

    Raises:
        RunFileError: there is no run, the file is not a run file or damaged, or its layout is another version's.
        ConfigError: the path does not end with .h5.
    """
    path = Path(path)
    journal = sidecar(path) / "journal"
    try:
        contents = hdf5_file.read(path)
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
        contenders=tables.contenders,
        entries=tables.entries,
        summary=tables.summary,
        snapshots=contents.snapshots,
    )


def _from_journal(journal: Path) -> Contents:
    before = read_past(journal)
    tables = hdf5_file.tables_of(list(read_generations(journal)), before.header)
    finished, snapshots = before.history.finished, list(read_snapshots(journal))
    return Contents(before.created, before.header, before.version_history, tables, finished, snapshots)


def _present(entries: Entries) -> Entries:
    return entries[entries["base"] != PADDING]


def _update(digest: hashlib._Hash, table: Records) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    for name in table.dtype.names or ():
        if name not in NOT_SCIENCE:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(table[name]).tobytes())
