"""The loop over generations: it starts the ranks, evolves the populations, and always ends the job."""

from __future__ import annotations

import atexit
import importlib
import os
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from gamaml.config import Config
from gamaml.engine.info import GenerationInfo, TrainResult
from gamaml.engine.train_request import TrainRequest, populations
from gamaml.errors import ConfigError, GamamlError
from gamaml.evolution import chosen_strategy
from gamaml.job.collection import collection_paused
from gamaml.job.job_info import JobInfo

if TYPE_CHECKING:
    from mpi4py import MPI

    from gamaml.problems import CompleteProblem
    from gamaml.runlog import Run


def load(path: Path | str) -> Run:
    """Open a run file, also of a running or a killed run.

    Args:
        path: the .h5 file.

    Returns:
        The run's records, curves, genomes and parameters as arrays.

    Raises:
        RunFileError: the file is missing, is no run file, is damaged, or has a layout that this version does not read.
        ConfigError: the path does not end in .h5.
    """
    from gamaml import runlog

    return runlog.load(Path(path))


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
    """Evolve, and yield after every generation. Collective over `comm`.

    The body of the loop runs on rank 0 only; on the other ranks the generator serves until the end and yields nothing.
    Leaving the loop on rank 0 (break, return, exception) ends the evolution on all ranks. Generation g + 1 is evaluated
    while the body for generation g runs, and selected after it.

    Args:
        configs: one config, or several to run side by side; a mapping has the form of the TOML file.
        seeds: run each config once per seed, in place of its own seed.
        task: an instance of your own task class, instead of the name in `configs`; the same for all populations.
        out: folder of the run files, `out/NAME.h5`.
        names: one name per population; by default task and seed.
        resume: start absent runs, continue partial ones, leave finished ones alone.
        overwrite: replace existing runs.
        accept_versions: with `resume`, go on although the versions of libraries changed.
        comm: communicator to work on; MPI's COMM_WORLD by default.

    Yields:
        GenerationInfo, on rank 0; those of several populations come in the order in which they finish.

    Raises:
        ConfigError: a mistake in the arguments; nothing was started or written.
        RunFileError: a run exists, is locked, damaged, or belongs to another experiment; or it cannot be written.
        ResourceError: a node has too little memory.
        LaunchError: the ranks do not form one MPI job.
        SelectionError: a generation without a finite fitness.
        EvaluationError: an evaluation raised (one rank; with several, the error is printed and the job aborted).
    """
    request = TrainRequest(
        populations(configs, task, seeds), task, Path(out), names, resume, overwrite, accept_versions
    )
    # First, since exit handlers run in reverse order, and h5py's handler closes all files.
    importlib.import_module("gamaml.runlog")
    generator = _generations(request, comm, [])
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
        configs: one config, or several to run side by side; a mapping has the form of the TOML file.
        seeds: run each config once per seed, in place of its own seed.
        task: an instance of your own task class, instead of the name in `configs`; the same for all populations.
        out: folder of the run files, `out/NAME.h5`.
        names: one name per population; by default task and seed.
        resume: start absent runs, continue partial ones, leave finished ones alone.
        overwrite: replace existing runs.
        accept_versions: with `resume`, go on although the versions of libraries changed.
        comm: communicator to work on; MPI's COMM_WORLD by default.
        on_start: called on rank 0 before memory is allocated.
        on_generation: called on rank 0 after every generation.

    Returns:
        The result of each population, the same on every rank; a single result, not a list, for one config without
        seeds.

    Raises:
        ConfigError: a mistake in the arguments; nothing was started or written.
        RunFileError: a run exists, is locked, damaged, or belongs to another experiment; or it cannot be written.
        ResourceError: a node has too little memory.
        LaunchError: the ranks do not form one MPI job.
        SelectionError: a generation without a finite fitness.
        EvaluationError: an evaluation raised (one rank; with several, the error is printed and the job aborted).
    """
    results: list[TrainResult] = []
    request = TrainRequest(
        populations(configs, task, seeds), task, Path(out), names, resume, overwrite, accept_versions
    )
    for info in _generations(request, comm, results, on_start):
        if on_generation is not None:
            on_generation(info)
    return results[0] if isinstance(configs, Config | Mapping) and seeds is None else results


def _close(reference: weakref.ref[Generator[GenerationInfo, None, None]]) -> None:
    generator = reference()
    if generator is not None:
        generator.close()


def _generations(
    request: TrainRequest,
    comm: MPI.Intracomm | None,
    results: list[TrainResult],
    on_start: Callable[[JobInfo], None] | None = None,
) -> Generator[GenerationInfo, None, None]:
    """Run the request; `results` is filled on every rank at the end."""
    from gamaml.job import launcher
    from gamaml.job import mpi_library as library
    from gamaml.job.exit_codes import INTERRUPTED
    from gamaml.job.signals import SignalWatch

    alone = comm is None and launcher.size_from_environment() == 1
    with ExitStack() as stack:
        # First, since loading libraries and starting MPI can take long on a busy file system.
        watch = stack.enter_context(SignalWatch(partial(os._exit, INTERRUPTED) if alone else None))
        try:
            problems = _check(request)
        except Exception as error:
            refuse(error, comm)

        library.load()
        from gamaml.engine.opening import info_of, open_engine
        from gamaml.engine.plan import plans
        from gamaml.parallel.guard import Guard
        from gamaml.parallel.service import abort
        from gamaml.parallel.topology import Topology

        topology = stack.enter_context(Topology(comm))
        guard = stack.enter_context(Guard(topology))
        topology.agree(_refusal(request, topology.size))
        topology.exit_if_any(watch.requested(), INTERRUPTED)
        watch.end_job_by(partial(abort, topology.abort_comm, INTERRUPTED))
        populations = plans(request.configs, problems, request.paths())
        if on_start is not None and topology.is_root:
            on_start(info_of(topology, populations))
        engine = stack.enter_context(open_engine(topology, guard, watch, populations, request))
        try:
            yield from engine.run()
        except GeneratorExit:
            # The other ranks leave the loop normally, and ask for the results together with this one.
            engine.results()
            raise
        results += engine.results()


def _refusal(request: TrainRequest, num_ranks: int) -> ConfigError | None:
    alone = [config.strategy for config in request.configs if chosen_strategy.make(config).sizes.one_rank]
    if num_ranks == 1 or not alone:
        return None
    return ConfigError(
        f"strategy={alone[0]!r}: expected one rank, since its updates follow one from the other, got {num_ranks}; "
        "start it without mpiexec, one process per run"
    )


def refuse(error: Exception, comm: MPI.Intracomm | None = None) -> NoReturn:
    """Raise an error found before MPI was needed. Collective over `comm`, with `generations` on the other ranks.

    A job of one rank does not start MPI. Several ranks do, since those without an error would wait for this rank in
    MPI_Init, under MPICH for ever. All ranks then raise a GamamlError; any other exception ends the job.
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


@collection_paused()
def _check(request: TrainRequest) -> list[CompleteProblem]:
    """Return the request's problems, after all checks that need no MPI."""
    from gamaml import problems, runlog
    from gamaml.job import launcher

    launcher.heartbeat_seconds()
    made = [problems.make_problem(config, request.task) for config in request.configs]
    for path in request.paths():
        runlog.check(path, resume=request.resume, overwrite=request.overwrite)
    return made
