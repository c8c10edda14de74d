"""The loop over generations: starts the ranks, evolves the populations, and ends the job in every case."""

from __future__ import annotations

import atexit
import dataclasses
import importlib
import os
import re
import sys
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.errors import ConfigError, GamamlError
from gamaml.job.job_info import JobInfo
from gamaml.types import Problem

if TYPE_CHECKING:
    from mpi4py import MPI

    from gamaml.runlog import Run


def load(path: Path | str) -> Run:
    """Open a run file, also of a run that is still going on or was killed.

    Args:
        path: the .h5 file.

    Returns:
        Its records, curves, genomes and parameters as arrays.

    Raises:
        RunFileError: it is not a run file, or newer than this version reads.
    """
    from gamaml import runlog

    return runlog.load(Path(path))


def run_name(config: Config) -> str:
    """Return the default name of a config's run: the last word of the task's name or the env's id, and the seed."""
    return f"{re.split('[.:/]', config.subject)[-1].lower()}-seed{config.seed}"


def generations(
    configs: Config | Mapping[str, Any] | Sequence[Config | Mapping[str, Any]],
    *,
    seeds: Iterable[int] | None = None,
    task: object | None = None,
    out: Path | str = "runs",
    names: Sequence[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_versions: bool = False,
    comm: MPI.Intracomm | None = None,
) -> Iterator[GenerationInfo]:
    """Evolve, yielding after every generation. Collective over `comm`.

    The body of the loop runs on rank 0 only; on the other ranks the generator serves until the end and yields nothing.
    Leaving the loop on rank 0 (break, return, exception) ends the evolution on all ranks. Generation g + 1 is evaluated
    while the body for generation g runs, and selected after it.

    Args:
        configs: one config, or several to run side by side; a mapping has the form of the TOML file.
        seeds: run each config once per seed, in place of its own seed.
        task: an instance of your own task class, instead of the name in `configs`; the same for all populations.
        out: folder of the run files, `out/NAME.h5`.
        names: one name per population; by default task and seed.
        resume: start absent runs, continue partial ones, leave finished ones.
        overwrite: replace existing runs.
        accept_versions: with `resume`, go on although the versions of libraries changed.
        comm: communicator to work on; MPI's COMM_WORLD by default.

    Yields:
        GenerationInfo, on rank 0; of several populations in the order in which they finish.

    Raises:
        ConfigError: before anything is started or written.
        RunFileError: a run exists, is locked, damaged, or of another experiment.
        ResourceError: a node has too little memory.
        LaunchError: the ranks do not form one MPI job.
        EvaluationError: an evaluation raised (one rank; with several, the error is printed and the job aborted).
    """
    plan = _Plan(_as_configs(configs, task, seeds), task, Path(out), names, resume, overwrite, accept_versions)
    # What is registered last runs first at exit, and h5py, once imported, closes all files there.
    importlib.import_module("gamaml.runlog")
    generator = _generations(plan, comm, [])
    # A generator that is still held when the script ends must end the other ranks before MPI is finalised.
    atexit.register(_close, weakref.ref(generator))
    return generator


def train(
    configs: Config | Mapping[str, Any] | Sequence[Config | Mapping[str, Any]],
    *,
    seeds: Iterable[int] | None = None,
    task: object | None = None,
    out: Path | str = "runs",
    names: Sequence[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    accept_versions: bool = False,
    comm: MPI.Intracomm | None = None,
    on_start: Callable[[JobInfo], None] | None = None,
    on_generation: Callable[[GenerationInfo], None] | None = None,
) -> TrainResult | list[TrainResult]:
    """Evolve to the end. Collective over `comm`.

    Args:
        configs: as in `generations`, like the other arguments up to `comm`.
        seeds: run each config once per seed.
        task: an instance of your own task class.
        out: folder of the run files.
        names: one name per population.
        resume: start absent runs, continue partial ones, leave finished ones.
        overwrite: replace existing runs.
        accept_versions: go on although the versions of libraries changed.
        comm: communicator to work on.
        on_start: called on rank 0 before memory is allocated.
        on_generation: called on rank 0 after every generation.

    Returns:
        The result of each population, the same on every rank; not in a list if `configs` is one config, without seeds.

    Raises:
        GamamlError: as `generations`.
    """
    results: list[TrainResult] = []
    plan = _Plan(_as_configs(configs, task, seeds), task, Path(out), names, resume, overwrite, accept_versions)
    for info in _generations(plan, comm, results, on_start):
        if on_generation is not None:
            on_generation(info)
    return results[0] if isinstance(configs, Config | Mapping) and seeds is None else results


def _describe(task: object) -> dict[str, Any]:
    """Return the [task] section that makes the instance again: class and, of a dataclass, its fields.

    A class of the running script gets the script's name, under which a later `gamaml replay` can import it.
    """
    module = type(task).__module__
    script = getattr(sys.modules["__main__"], "__file__", None)
    if module == "__main__" and script is not None:
        module = Path(script).stem
    settings = dataclasses.asdict(task) if dataclasses.is_dataclass(task) and not isinstance(task, type) else {}
    return {"name": f"{module}:{type(task).__qualname__}", **settings}


@dataclass(frozen=True)
class _Plan:
    configs: list[Config]
    task: object | None
    out: Path
    names: Sequence[str] | None
    resume: bool
    overwrite: bool
    accept_versions: bool

    def __post_init__(self) -> None:
        names = self.run_names()
        if len(names) != len(self.configs):
            raise ConfigError(f"names: expected {len(self.configs)}, one per population, got {len(names)}")
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            raise ConfigError(f"names: expected different run names, got {double!r} twice; give other seeds or names")
        if len({config.noise for config in self.configs}) > 1:
            raise ConfigError("noise: expected the same table for all populations of a job; set noise.* alike")

    def run_names(self) -> list[str]:
        return list(self.names) if self.names is not None else [run_name(config) for config in self.configs]

    def paths(self) -> list[Path]:
        return [self.out / f"{name}.h5" for name in self.run_names()]


def _close(reference: weakref.ref[Generator[GenerationInfo, None, None]]) -> None:
    generator = reference()
    if generator is not None:
        generator.close()


def _as_configs(
    configs: Config | Mapping[str, Any] | Sequence[Config | Mapping[str, Any]],
    task: object | None,
    seeds: Iterable[int] | None,
) -> list[Config]:
    """Return one config per population; `task` stands in for the name where the configs have none."""
    listed = [configs] if isinstance(configs, Config | Mapping) else list(configs)
    if not listed:
        raise ConfigError("configs: expected at least one, got none")
    built: list[Config] = []
    for entry in listed:
        if isinstance(entry, Mapping) and task is not None:
            entry = {**entry, "task": _describe(task)}
        built.append(cfg.from_mapping(entry) if isinstance(entry, Mapping) else entry)
    if seeds is None:
        return built
    chosen = list(seeds)
    if not chosen:
        raise ConfigError("seeds: expected at least one, got none")
    return [dataclasses.replace(config, seed=seed) for config in built for seed in chosen]


def _generations(
    plan: _Plan,
    comm: MPI.Intracomm | None,
    results: list[TrainResult],
    on_start: Callable[[JobInfo], None] | None = None,
) -> Generator[GenerationInfo, None, None]:
    """Run the plan; fills `results` on every rank at the end."""
    from gamaml.job import launcher
    from gamaml.job import mpi_library as library
    from gamaml.job.signals import INTERRUPTED, SignalWatch

    alone = comm is None and launcher.size_from_environment() == 1
    with ExitStack() as stack:
        # First, since loading libraries and starting MPI can take long on a busy file system.
        watch = stack.enter_context(SignalWatch(partial(os._exit, INTERRUPTED) if alone else None))
        try:
            problems = _check(plan)
        except Exception as error:
            refuse(error, comm)

        library.load()
        from gamaml.engine.opening import Opening, info_of, open_engine
        from gamaml.engine.plan import plans
        from gamaml.parallel.guard import Guard
        from gamaml.parallel.service import abort
        from gamaml.parallel.topology import Topology

        topology = stack.enter_context(Topology(comm))
        guard = stack.enter_context(Guard(topology))
        topology.agree(_refusal(plan, topology.size))
        topology.exit_if_any(watch.requested(), INTERRUPTED)
        watch.end_job_by(partial(abort, topology.abort_comm, INTERRUPTED))
        populations = plans(plan.configs, problems, plan.paths())
        if on_start is not None and topology.is_root:
            on_start(info_of(topology, populations))
        opening = Opening(plan.resume, plan.overwrite, plan.accept_versions)
        engine = stack.enter_context(open_engine(topology, guard, watch, populations, opening))
        try:
            yield from engine.run()
        except GeneratorExit:
            # The other ranks come out of the loop normally, and ask for the results together with this one.
            engine.results()
            raise
        results += engine.results()


def _refusal(plan: _Plan, num_ranks: int) -> ConfigError | None:
    if num_ranks == 1 or all(config.maml is None for config in plan.configs):
        return None
    return ConfigError(
        f'strategy="maml": expected one rank, since its updates follow one from the other, got {num_ranks}; start it '
        "without mpiexec, one process per run"
    )


def refuse(error: Exception, comm: MPI.Intracomm | None = None) -> NoReturn:
    """Raise an error that came before MPI was needed. Collective over `comm`, with `generations` on the other ranks.

    Without other ranks MPI is not started. With others it is: those without an error would wait for this rank in
    MPI_Init, under MPICH for ever. A GamamlError is then raised on all ranks; anything else ends the job.
    """
    from gamaml.job import launcher
    from gamaml.job import mpi_library as library

    if comm is None and launcher.size_from_environment() == 1:
        raise error
    library.load()
    from gamaml.parallel.guard import Guard
    from gamaml.parallel.topology import Topology

    with Topology(comm) as topology, Guard(topology):
        topology.agree(error if isinstance(error, GamamlError) else None)
        raise error


def _check(plan: _Plan) -> list[Problem]:
    """Return the plan's problems, after refusing whatever can be refused without MPI."""
    from gamaml import problems, runlog
    from gamaml.job import launcher

    launcher.heartbeat_seconds()
    problems = [problems.make_problem(config, plan.task) for config in plan.configs]
    for path in plan.paths():
        runlog.check(path, resume=plan.resume, overwrite=plan.overwrite)
    return problems
