"""A sweep as one submission: the jobs of its runs, their memory and time, and sbatch."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamaml import runlog
from gamaml.commands.arguments import check_name
from gamaml.commands.job_notes import write_note
from gamaml.commands.sweep import Sweep, pack, populations_per_job
from gamaml.config import Config
from gamaml.engine.train_request import check_names, check_noise
from gamaml.errors import ConfigError
from gamaml.job.node_memory import MIB
from gamaml.job.sizes import Layout, job_info
from gamaml.problems.factory import make_problem
from gamaml.slurm import scheduler
from gamaml.slurm.job_script import Job, Task, script
from gamaml.slurm.site import Site

RANK_MIB = 512
"""Memory per rank besides the windows: 60 to 150 MiB were measured in long runs (Atari, MuJoCo, JAX), and up to 400 MiB
while JAX compiles."""

_EARLY_SECONDS = 60
"""SLURM may send the signal up to this many seconds early."""


@dataclass(frozen=True)
class Request:
    """A sweep and its jobs; a None is filled in from the site or from the sweep's needs.

    Attributes:
        command: the command line, shown at the top of the script.
        sweep: the configs, environments and seeds.
        nodes: nodes per job.
        time: time limit of a job, in one of SLURM's forms.
        out: folder of run files, scripts and logs.
        site: the cluster.
        name: name of the job, its script and its log; by default, the first config's name.
        ranks_per_node: MPI ranks on each node.
        populations_per_job: the maximum number of populations that one job interleaves.
        rank_mib: memory per rank besides the windows, in MiB.
        bin_folder: folder of the program gamaml.
    """

    command: tuple[str, ...]
    sweep: Sweep
    nodes: int
    time: str
    out: Path
    site: Site = Site()
    name: str | None = None
    ranks_per_node: int | None = None
    populations_per_job: int | None = None
    rank_mib: int = RANK_MIB
    bin_folder: str = ""


@dataclass(frozen=True)
class Submission:
    """A request with all numbers filled in.

    Attributes:
        job: the contents of the script.
        site: the cluster.
        runs: names of the runs of each task.
        states: number of runs that are absent, partial and finished.
        window_mib: shared memory per node, in MiB, of the job that needs most.
    """

    job: Job
    site: Site
    runs: tuple[tuple[str, ...], ...]
    states: Mapping[str, int]
    window_mib: int

    @property
    def script(self) -> str:
        """The job script."""
        return script(self.job, self.site)

    @property
    def path(self) -> Path:
        """The file that the script is written to."""
        return self.job.out / f"{self.job.name}.sbatch"

    @property
    def core_hours(self) -> float:
        """Core-hours of all jobs if each is started once and uses up its time."""
        cores = len(self.job.tasks) * self.job.nodes * self.job.ranks_per_node
        return cores * seconds_of(self.job.time) / 3600


def plan(request: Request) -> Submission:
    """Fill in a request; nothing is written.

    Raises:
        ConfigError: a mistake in the config, the sweep, the options or the site.
        RunFileError: a run file that cannot be continued.
    """
    sweep, site = request.sweep, request.site
    _check_time(request.time, site)
    ranks_per_node = request.ranks_per_node or site.cores_per_node
    if ranks_per_node is None:
        where = site.source or "a site file"
        raise ConfigError(
            "--ranks-per-node: expected with a site of unknown cores, got none; add it, or set SITE_CORES_PER_NODE in "
            f"{where}"
        )
    num_ranks = request.nodes * ranks_per_node
    per_job = request.populations_per_job or populations_per_job([config for _, config in sweep.variants()], num_ranks)
    jobs = pack(sweep, per_job)
    populations = [job.populations() for job in jobs]
    runs = tuple(tuple(name for name, _ in some) for some in populations)
    check_names(list(itertools.chain.from_iterable(runs)))
    windows = _window_mib(populations, request.nodes, num_ranks)
    job = Job(
        command=request.command,
        name=check_name(sweep.paths[0].stem if request.name is None else request.name),
        tasks=tuple(Task(tuple(map(str, job.paths)), job.arguments()) for job in jobs),
        nodes=request.nodes,
        ranks_per_node=ranks_per_node,
        time=request.time,
        memory_mib=windows + ranks_per_node * request.rank_mib,
        out=request.out,
        bin_folder=request.bin_folder,
    )
    _check_memory(job, site, windows, request.rank_mib)
    states = Counter[str](runlog.check(request.out / f"{name}.h5", resume=True) for some in runs for name in some)
    return Submission(job, site, runs, states, windows)


def send(submission: Submission) -> str:
    """Write the script, submit it, and note which run is in which job.

    Returns:
        The job's number.

    Raises:
        SchedulerError: the batch system refused.
        ConfigError: the folder cannot be written.
    """
    out = submission.job.out
    try:
        # The scheduler opens the log before the job begins, and fails without a word where its folder is missing.
        out.mkdir(parents=True, exist_ok=True)
        submission.path.write_text(submission.script)
    except OSError as error:
        raise ConfigError(f"--out {str(out)!r}: expected a folder to write to, got: {error}; choose another") from None
    number = scheduler.submit(submission.path)
    jobs = [number] if len(submission.runs) == 1 else [f"{number}_{task}" for task in range(len(submission.runs))]
    write_note(out, f"{submission.job.name}-{number}", dict(zip(jobs, submission.runs, strict=True)))
    return number


def seconds_of(time: str) -> int:
    """Return the seconds of a time limit in one of SLURM's forms: MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.

    Raises:
        ConfigError: it has another form, or is zero.
    """
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", time, re.ASCII)
    if match is not None:
        days, *rest = match.groups()
        numbers = [int(number) for number in rest if number is not None]
        if days is not None:
            hours, minutes, seconds = [*numbers, 0, 0][:3]
        else:
            hours, minutes, seconds = numbers if len(numbers) == 3 else [0, *numbers, 0][:3]
        total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
        if total > 0:
            return total
    raise ConfigError(f"--time {time!r}: expected a limit like 12:00:00, 90 (minutes) or 1-12; correct it")


def _check_time(time: str, site: Site) -> None:
    shortest = site.signal_seconds + _EARLY_SECONDS
    if seconds_of(time) <= shortest:
        raise ConfigError(
            f"--time {time!r}: expected more than {shortest} s, got {seconds_of(time)}; the job would have to "
            "checkpoint before it has begun; choose a longer limit, or a smaller SITE_SIGNAL_SECONDS"
        )


def _window_mib(jobs: Sequence[Sequence[tuple[str, Config]]], num_nodes: int, num_ranks: int) -> int:
    """Return the shared memory, in MiB, that a node needs for the largest of the jobs."""
    layouts: dict[str, Layout] = {}
    largest = 0
    for populations in jobs:
        check_noise([config for _, config in populations])
        for name, config in populations:
            # All seeds of a variant take the same, and making a problem may start an environment.
            variant = name.removesuffix(f"-seed{config.seed}")
            if variant not in layouts:
                layouts[variant] = Layout(config, make_problem(config))
        taken = [layouts[name.removesuffix(f"-seed{config.seed}")] for name, config in populations]
        info = job_info(populations[0][1].noise.size, taken, num_ranks=num_ranks, num_nodes=num_nodes)
        largest = max(largest, info.node_nbytes)
    return -(-largest // MIB)


def _check_memory(job: Job, site: Site, windows: int, rank_mib: int) -> None:
    if site.memory_mib is not None and job.memory_mib > site.memory_mib:
        raise ConfigError(
            f"memory per node: expected at most {site.memory_mib} MiB on {site.source}, got {job.memory_mib} "
            f"({windows} shared + {job.ranks_per_node} ranks x {rank_mib}); use fewer --ranks-per-node or "
            "--populations-per-job, or make noise.size smaller"
        )
