"""A sweep as one submission: what runs in which job, what that takes, and the way to the batch system."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamaml import runlog
from gamaml.commands.sweep import Sweep, pack, populations_per_job
from gamaml.commands.text import count
from gamaml.config import Config
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
"""By so much SLURM may send its signal too early."""


@dataclass(frozen=True)
class Request:
    """What `gamaml submit` asks for; None leaves a number to the site or to what the sweep needs.

    Attributes:
        command: the command line, which the script tells at its top.
        sweep: what is to run.
        name: name of the job, its script and its log; None: that of the first config.
        nodes: nodes per job.
        ranks_per_node: MPI ranks on each.
        time: time limit of a job, in one of SLURM's forms.
        out: folder of run files, scripts and logs.
        site: the cluster.
        populations_per_job: how many populations one job interleaves at most.
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
    """A request worked out.

    Attributes:
        job: what the script is made of.
        site: the cluster.
        runs: names of the runs of each task.
        states: how many runs are absent, partial and finished.
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
        """Where the script goes."""
        return self.job.out / f"{self.job.name}.sbatch"

    @property
    def core_hours(self) -> float:
        """What all jobs take if each is started once and uses its time up."""
        cores = len(self.job.tasks) * self.job.nodes * self.job.ranks_per_node
        return cores * seconds_of(self.job.time) / 3600


def plan(request: Request) -> Submission:
    """Work a request out; nothing is written.

    Raises:
        ConfigError: a mistake in the config, the sweep or what is asked of the site.
        RunFileError: a run file that cannot be continued.
    """
    sweep, site = request.sweep, request.site
    _check_time(request.time, site)
    ranks_per_node = request.ranks_per_node or site.cores_per_node
    if ranks_per_node is None:
        where = site.source or "the site file"
        raise ConfigError(f"--ranks-per-node: expected with a site of unknown cores, got none; add it, or tell {where}")
    num_ranks = request.nodes * ranks_per_node
    per_job = request.populations_per_job or populations_per_job([config for _, config in sweep.variants()], num_ranks)
    jobs = pack(sweep, per_job)
    populations = [job.populations() for job in jobs]
    runs = tuple(tuple(name for name, _ in some) for some in populations)
    _check_names(runs)
    windows = _window_mib(populations, request.nodes, num_ranks)
    job = Job(
        command=request.command,
        name=_job_name(request),
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


def summary(submission: Submission) -> str:
    """Return in words what a submission takes."""
    job, runs = submission.job, submission.runs
    each = " in each" if len(runs) > 1 else ""
    sizes = sorted({len(some) for some in runs})
    names = list(itertools.chain.from_iterable(runs))
    interleaved = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    together = f", {interleaved} interleaved{each}" if sizes[-1] > 1 else ""
    known = {"partial": "to be continued", "finished": "finished already"}
    states = [f"{submission.states[state]} {words}" for state, words in known.items() if submission.states[state]]
    jobs = "1 job" if len(runs) == 1 else f"an array of {len(runs)} jobs"
    return "\n".join(
        [
            f"{job.name}: {count(len(names), 'run')} in {jobs}{together}",
            f"  a job: {count(job.nodes, 'node')} x {job.ranks_per_node} ranks, {job.time}, "
            f"{job.memory_mib} MiB per node, {submission.window_mib} of them shared",
            f"  at most {submission.core_hours:,.1f} core-hours until every job was started once; one that needs more "
            "time goes on in a further start",
            f"  script: {submission.path}",
            f"  logs: {job.log}",
            f"  run files: {job.out / names[0]}.h5" + (f" to {names[-1]}.h5" if len(names) > 1 else ""),
            *(["  of the runs " + ", ".join(states)] if states else []),
        ]
    )


def submit(submission: Submission) -> str:
    """Write the script, submit it, and note which run is in which job. Returns the job's number.

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
    record = {"jobs": dict(zip(jobs, submission.runs, strict=True))}
    (out / f"{submission.job.name}-{number}.job.json").write_text(json.dumps(record, indent=1) + "\n")
    return number


def submitted(folder: Path) -> dict[str, str]:
    """Return run name -> number of the job that was submitted for it last, from the notes in a folder."""
    notes = sorted(folder.glob("*.job.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, str] = {}
    for note in notes:
        try:
            record: Any = json.loads(note.read_text())
            found.update({run: job for job, runs in record["jobs"].items() for run in runs})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{note}: expected a note of gamaml submit, got: {error!r}; remove it") from None
    return found


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
            f"--time {time!r}: expected more than {shortest} s, got {seconds_of(time)}; the job would be told to "
            "checkpoint before it has begun: choose a longer limit, or a smaller SITE_SIGNAL_SECONDS"
        )


def _job_name(request: Request) -> str:
    name = request.sweep.paths[0].stem if request.name is None else request.name
    if not name or name != Path(name).name or name.startswith("."):
        raise ConfigError(f"--name {name!r}: expected a file name without folders, got that; use --out for the folder")
    return name


def _check_names(runs: Sequence[Sequence[str]]) -> None:
    double = next((name for name, number in Counter(itertools.chain.from_iterable(runs)).items() if number > 1), None)
    if double is not None:
        raise ConfigError(f"names: expected different run names, got {double!r} twice; give other seeds or configs")


def _window_mib(jobs: Sequence[Sequence[tuple[str, Config]]], num_nodes: int, num_ranks: int) -> int:
    """Return the shared memory, in MiB, that a node needs for the largest of the jobs."""
    layouts: dict[str, Layout] = {}
    largest = 0
    for populations in jobs:
        if len({config.noise for _, config in populations}) > 1:
            raise ConfigError("noise: expected the same table for all populations of a job; set noise.* alike")
        for name, config in populations:
            # Seeds take the same, and making a problem may start an environment.
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
