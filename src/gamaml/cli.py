"""The command line: argv -> config -> one call into the library, and what the shell gets to see.

Exit codes: 0 done, 1 failure, 2 bad arguments or config (one line on stderr), 75 checkpointed: start again.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import sys
import time
import traceback
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from gamaml.commands import show_config
from gamaml.commands.arguments import parse_rounds, parse_seeds
from gamaml.commands.sweep import Sweep, parse_envs
from gamaml.commands.text import count
from gamaml.config import Config
from gamaml.engine.info import TrainResult
from gamaml.errors import ConfigError, EvaluationError, GamamlError, check_file_name
from gamaml.job import launcher
from gamaml.job.signals import INTERRUPTED
from gamaml.slurm import site
from gamaml.slurm.site import Site

DONE, FAILURE, MISTAKE = 0, 1, 2

_SILENT_SECONDS = 2.0
"""How long ranks other than 0 wait after an error that all ranks meet before MPI starts: a launcher may end
the job as soon as one rank has failed, and must not end rank 0 before it has said why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        The exit code. An unexpected exception passes through, so that its traceback is seen.
    """
    try:
        given = sys.argv[1:] if argv is None else list(argv)
        args = _parser().parse_args(given, argparse.Namespace(argv=given))
        return args.command(args)
    except EvaluationError as error:
        return _fail(error, FAILURE, cause=error.__cause__)
    except ConfigError as error:
        return _fail(error, MISTAKE)
    except GamamlError as error:
        return _fail(error, FAILURE)
    except KeyboardInterrupt:
        _write_error("gamaml: interrupted")
        return INTERRUPTED
    finally:
        _flush()


def _run(args: argparse.Namespace) -> int:
    # Not above: inspect and replay need neither.
    from gamaml.api import refuse, train
    from gamaml.commands.progress import display

    try:
        configs, names = _populations(args)
        _check_run(args, len(configs))
    except Exception as error:
        refuse(error)
    is_root = launcher.rank_from_environment() == 0
    terminal = launcher.terminal() if is_root else None
    width = terminal.width if terminal is not None else None
    with display(configs, names, sys.stdout, _write, terminal=terminal is not None, width=width) as progress:
        results = train(
            configs,
            names=names,
            out=args.out,
            resume=args.resume,
            overwrite=args.overwrite,
            accept_versions=args.accept_versions,
            on_start=progress.start,
            on_generation=progress.show,
        )
    results = results if isinstance(results, list) else [results]
    if not is_root:
        # Open MPI kills the other ranks as soon as one has ended with another code than 0: rank 0 has yet to speak.
        return DONE
    _report(results, args.plot)
    if any(result.exhausted for result in results):
        return FAILURE
    return INTERRUPTED if any(result.interrupted for result in results) else DONE


def _report(results: Sequence[TrainResult], plot: str | None) -> None:
    for result in results:
        number = result.num_generations
        so_far = f"{count(number, 'generation')}, {result.total_steps} steps"
        if result.exhausted:
            _write_error(
                f"gamaml: error: {result.path}: expected new records between two restarts, got none; "
                "give the job more time or make an evaluation shorter, then continue with --resume"
            )
        elif result.interrupted:
            _write(f"{result.path}: interrupted after {so_far}; continue with --resume")
        else:
            _write(f"{result.path}: done after {so_far}, elite fitness {result.elite_fitness:.6g}")
        if plot is not None and result.num_generations > 0:
            _plot(result.path, Path(plot) if plot else result.path.with_suffix(".png"))


def _inspect(args: argparse.Namespace) -> int:
    from gamaml import runlog
    from gamaml.commands import inspect

    if args.plot is not None:
        _check_picture(args.plot)
    _check_exists(args.run)
    run = runlog.load(args.run)
    _write(run.digest() if args.digest else inspect.table(run))
    if args.plot is not None:
        _plot(args.run, args.plot)
    return DONE


def _plot(run: Path, picture: Path) -> None:
    from gamaml import runlog
    from gamaml.commands import inspect

    for path in inspect.plot(runlog.load(run), picture):
        _write(f"picture: {path}")


def _replay(args: argparse.Namespace) -> int:
    _check_exists(args.run)
    _check_who(args)

    from gamaml import runlog
    from gamaml.commands.replay import replay, text

    result = replay(
        runlog.load(args.run),
        generation=args.generation,
        index=args.index,
        candidate=args.candidate,
        episode=args.episode,
        video=args.video,
    )
    _write(text(result))
    if args.video is not None:
        _write(f"video: {args.video}")
    return FAILURE if result.differences else DONE


def _export(args: argparse.Namespace) -> int:
    _check_exists(args.run)
    _check_who(args)

    from gamaml import runlog
    from gamaml.commands.export import export, text

    run = runlog.load(args.run)
    exported = export(run, args.file, generation=args.generation, index=args.index, candidate=args.candidate)
    _write(text(exported))
    return DONE


def _adapt(args: argparse.Namespace) -> int:
    if args.plot is not None:
        _check_picture(args.plot)
    rounds = None if args.rounds is None else parse_rounds(args.rounds)
    for path in (args.run, *([] if args.against is None else [args.against])):
        _check_exists(path)

    from gamaml import runlog
    from gamaml.commands.adapt import adapt, compare, plot, text

    settings = {
        "tasks": args.tasks,
        "generation": args.generation,
        "parents_mean": args.parents_mean,
        "overrides": args.set,
    }
    run = runlog.load(args.run)
    if args.against is None:
        results = [adapt(run, rounds=rounds, **settings)]
    else:
        results = compare(run, runlog.load(args.against), rounds=rounds, **settings)
    _write(text(*results))
    if args.plot is not None:
        _write(f"picture: {plot(*results, path=args.plot)}")
    return DONE


def _tasks(args: argparse.Namespace) -> int:
    from gamaml import problems

    available = problems.available()
    width = max(map(len, available))
    for name, summary in available.items():
        _write(f"{name:<{width}}  {summary}")
    _write('A class of your own is written name = "my_module:MyTask" below [task].')
    return DONE


def _submit(args: argparse.Namespace) -> int:
    from gamaml.commands import submit

    _check_folder(args.out)
    for option in ("nodes", "ranks_per_node", "populations_per_job", "mem_per_rank"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value}: expected at least 1; choose a larger value")
    own = {name: getattr(args, name) for name in ("account", "partition") if getattr(args, name) is not None}
    submission = submit.plan(
        submit.Request(
            command=("gamaml", *args.argv),
            sweep=_sweep(args),
            nodes=args.nodes,
            time=args.time,
            out=args.out,
            site=dataclasses.replace(site.find(args.site, _site_folders()) if args.site else Site(), **own),
            name=args.name,
            ranks_per_node=args.ranks_per_node,
            populations_per_job=args.populations_per_job,
            rank_mib=submit.RANK_MIB if args.mem_per_rank is None else args.mem_per_rank,
            bin_folder=str(Path(sys.executable).parent),
        )
    )
    if args.dry_run:
        _write_error(submit.summary(submission))
        _write(submission.script.rstrip("\n"))
        return DONE
    _write(submit.summary(submission))
    number = submit.submit(submission)
    _write(f"submitted as job {number}; see how it goes with: gamaml status {shlex.quote(str(args.out))}")
    return DONE


def _site_folders() -> list[Path]:
    own = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return [Path("jobscripts/sites"), Path(own) / "gamaml" / "sites"]


def _status(args: argparse.Namespace) -> int:
    from gamaml.commands import status

    _write(status.table(status.status(args.folder)))
    return DONE


def _preflight(args: argparse.Namespace) -> int:
    from gamaml.api import refuse
    from gamaml.commands import preflight

    try:
        configs = [config for _, config in _sweep(args).populations()]
        _check_folder(args.out)
    except Exception as error:
        refuse(error)
    checks = preflight.preflight(configs, args.out)
    if launcher.rank_from_environment() != 0:
        return DONE
    _write(preflight.table(checks))
    return FAILURE if any(check.finding for check in checks) else DONE


def _sweep(args: argparse.Namespace) -> Sweep:
    return Sweep(
        paths=tuple(args.configs),
        overrides=tuple(args.set),
        envs=parse_envs(args.envs) if args.envs is not None else (),
        seeds=tuple(parse_seeds(args.seeds)) if args.seeds is not None else (),
    )


def _populations(args: argparse.Namespace) -> tuple[list[Config], list[str]]:
    """Return the config and the run's name of every population: each config in each environment with each seed."""
    populations = _sweep(args).populations()
    configs = [config for _, config in populations]
    if args.name is None:
        return configs, [name for name, _ in populations]
    if len(configs) > 1:
        raise ConfigError(f"--name {args.name!r}: expected with one population, got {len(configs)}; leave it out")
    if not args.name or args.name != Path(args.name).name:
        raise ConfigError(
            f"--name {args.name!r}: expected a file name without folders, got that; use --out for the folder"
        )
    return configs, [args.name]


def _check_run(args: argparse.Namespace, num_populations: int) -> None:
    _check_folder(args.out)
    if args.accept_versions and not args.resume:
        raise ConfigError("--accept-versions: expected together with --resume, got it alone; add --resume")
    if args.plot:
        if num_populations > 1:
            raise ConfigError(
                f"--plot {args.plot!r}: expected no file name with {num_populations} populations, got one; "
                "write --plot alone, which draws DIR/NAME.png for each"
            )
        _check_picture(Path(args.plot))


def _check_folder(out: Path) -> None:
    existing = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise ConfigError(f"--out {str(out)!r}: expected a folder, got a file {str(existing)!r}; choose another")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(
            f"--out {str(out)!r}: expected a folder to write to, got {str(existing)!r} without permission; "
            "choose another"
        )


def _check_who(args: argparse.Namespace) -> None:
    if not args.elite and args.generation is None:
        raise ConfigError("--generation: expected with --index and --candidate, got none; add e.g. --generation 12")


def _check_exists(run: Path) -> None:
    # A lost run file is read from its journal, so either will do.
    if not run.is_file() and not run.with_suffix(".run").is_dir():
        raise ConfigError(f"run file {str(run)!r}: expected a file NAME.h5, got none there; check the path")


def _check_picture(path: Path) -> None:
    check_file_name("--plot", path, [".png"])


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like those of a config."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="gamaml",
        allow_abbrev=False,
        description="Meta-learning with a genetic algorithm on MPI clusters.",
        epilog="exit codes: 0 done, 1 failure, 2 bad arguments or config, 75 checkpointed (--resume)",
    )
    parser.add_argument("--version", action="version", version=f"gamaml {metadata.version('gamaml')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_inspect(commands)
    _add_replay(commands)
    _add_export(commands)
    _add_adapt(commands)
    _add_preflight(commands)
    _add_submit(commands)
    _add_status(commands)
    show_config.add(commands)  # pyright: ignore[reportArgumentType] - its parsers are of another class
    tasks = commands.add_parser("tasks", help="list what can be meta-learned", description="List the ready-made tasks.")
    tasks.set_defaults(command=_tasks)
    return parser


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "run",
        help="evolve what a config describes",
        description="Evolve what configs describe, on as many ranks as the launcher started.",
        epilog=(
            "examples:  gamaml run navigation.toml\n"
            "           mpiexec -n 8 gamaml run navigation.toml --set seed=2 --resume\n"
            "           mpiexec -n 8 gamaml run navigation.toml --seeds 0-9 --resume\n\n"
            "With --resume one command serves the first start and every restart: it starts an absent run,\n"
            "continues a partial one and leaves a finished one alone. On SIGTERM, SIGUSR1 or Ctrl-C a run\n"
            "checkpoints and exits with 75."
        ),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sweep(parser)
    parser.add_argument("--name", help="name of the run file, DIR/NAME.h5 (default: the config's name and -seedN)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="continue an existing run, or start it if there is none"
    )
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run; what it holds is lost")
    parser.add_argument(
        "--accept-versions",
        action="store_true",
        help="with --resume: continue although library versions changed, and record the change",
    )
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        nargs="?",
        const="",
        help="draw the run at its end (default file: DIR/NAME.png), as gamaml inspect --plot does",
    )
    parser.set_defaults(command=_run)


def _add_sweep(parser: argparse.ArgumentParser, configs: str = "+") -> None:
    parser.add_argument(
        "configs",
        metavar="CONFIG.toml",
        type=Path,
        nargs=configs,
        help="the config; several run side by side, which keeps the cores busy while one waits for its last episodes",
    )
    parser.add_argument(
        "--seeds", metavar="SEEDS", help="run each config once per seed, side by side, e.g. 0-9 or 1,4,10-12"
    )
    parser.add_argument(
        "--envs",
        metavar="ENVS",
        help="run each config once per environment: ids, or what differs from its own, e.g. Amidar,Assault",
    )
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="override an entry of the config by its dotted name, e.g. policy.hidden=[32,32]; repeatable",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("runs"), help="folder of run files (default: runs)"
    )


def _add_inspect(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "inspect",
        help="show a run as table, picture or digest",
        description="Show a run, finished or still going on. Starts no MPI.",
        allow_abbrev=False,
        epilog="example:  gamaml inspect runs/navigation-seed1.h5 --plot learning.png",
    )
    parser.add_argument("run", metavar="RUN.h5", type=Path, help="the run file")
    parser.add_argument(
        "--plot",
        metavar="FILE.png",
        type=Path,
        help="also draw the learning curve, and FILE-rounds.png: return per round",
    )
    parser.add_argument(
        "--digest",
        action="store_true",
        help="print only a hash of everything scientific in the run: the same wherever the run was computed",
    )
    parser.set_defaults(command=_inspect)


def _add_replay(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "replay",
        help="repeat one evaluation and compare it with the log",
        description=(
            "Repeat one evaluation of a run on one core and compare it with the logged record.\n"
            "Exit code 0 if every scientific field has the same bits, 1 if not. Starts no MPI."
        ),
        epilog=(
            "examples:  gamaml replay runs/navigation-seed1.h5 --generation 12 --index 407\n"
            "           gamaml replay runs/navigation-seed1.h5 --elite\n"
            "           gamaml replay runs/ant-seed1.h5 --elite --video ant.mp4\n\n"
            "A generation that was never finished has no records, but its children can be replayed: one\n"
            "whose evaluation raised raises again, with its traceback."
        ),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN.h5", type=Path, help="the run file")
    _add_who(parser)
    parser.add_argument(
        "--episode",
        metavar="E",
        type=int,
        help="number of the re-evaluation, of a candidate or the elite (default: 0)",
    )
    parser.add_argument(
        "--video",
        metavar="FILE.mp4",
        type=Path,
        help="film the episodes of an environment that renders, into an .mp4 or a .gif; pip install 'gamaml[video]'",
    )
    parser.set_defaults(command=_replay)


def _add_export(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "export",
        help="write a policy's arrays to an .npz file",
        description="Write a policy's arrays, by name and without pickle, for programs without gamaml. Starts no MPI.",
        epilog="example:  gamaml export runs/ant-seed1.h5 --elite policy.npz",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN.h5", type=Path, help="the run file")
    parser.add_argument("file", metavar="FILE.npz", type=Path, help="the file to write")
    _add_who(parser)
    parser.set_defaults(command=_export)


def _add_who(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--generation", metavar="G", type=int, help="from 0; for --elite the last finished one by default"
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--index", metavar="I", type=int, help="the child I")
    who.add_argument("--candidate", metavar="C", type=int, help="the re-evaluated candidate C")
    who.add_argument("--elite", action="store_true", help="the elite that the generation selected")


def _add_adapt(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "adapt",
        help="let what a run found adapt to tasks that it never met",
        description=(
            "Let the elite of a run adapt to held-out tasks, and show its return or loss after each inner round, with\n"
            "95 % bootstrap confidence intervals over the tasks. One rank, no MPI."
        ),
        epilog=(
            "examples:  gamaml adapt runs/navigation-seed1.h5 --tasks 500 --rounds 0-6 --plot adaptation.png\n"
            "           gamaml adapt runs/navigation-seed1.h5 --against runs/navigation-seed2.h5\n"
            "           gamaml adapt runs/frostbite-seed1.h5 --tasks 30        30 fresh episodes"
        ),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN.h5", type=Path, help="the run file")
    parser.add_argument(
        "--tasks", metavar="N", type=int, default=40, help="held-out tasks, or fresh episodes (default: 40)"
    )
    parser.add_argument(
        "--rounds",
        metavar="ROUNDS",
        help="numbers of inner rounds to show, e.g. 0-10 or 0,1,5,10, also beyond those trained (default: those)",
    )
    parser.add_argument(
        "--against", metavar="OTHER.h5", type=Path, help="another run, and the difference on the same tasks"
    )
    parser.add_argument(
        "--generation", metavar="G", type=int, help="evaluate what this generation found, instead of the last"
    )
    parser.add_argument(
        "--parents-mean",
        action="store_true",
        help="evaluate the mean of the parents, often the safer choice, instead of the elite",
    )
    parser.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="change the config for this, as in gamaml run"
    )
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="also draw it")
    parser.set_defaults(command=_adapt)


def _add_preflight(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "preflight",
        help="check a job before it costs core-hours",
        description=(
            "Check nodes, memory, cores, network, versions, clocks and folder of a job, on its own ranks.\n"
            "One line per check. Exit code 0 if all is well, 1 if something was found; each finding says its cure."
        ),
        epilog=(
            "examples:  gamaml preflight\n"
            "           srun --mpi=pmi2 gamaml preflight frostbite.toml --seeds 0-3 --out runs"
        ),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sweep(parser, configs="*")
    parser.set_defaults(command=_preflight)


def _add_submit(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "submit",
        help="submit a sweep to SLURM",
        description=(
            "Write a job script for what `gamaml run` would run, tell what it takes, and submit it with sbatch.\n"
            "A job that reaches its time limit checkpoints and has itself requeued. Starts no MPI."
        ),
        epilog=(
            "examples:  gamaml submit frostbite.toml --seeds 0-9 --nodes 8 --time 12:00:00 --site csd3\n"
            "           gamaml submit atari.toml --envs Amidar,Assault --seeds 0-9 --time 90 --dry-run"
        ),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sweep(parser)
    parser.add_argument("--name", help="name of the job, its script and log (default: that of the first config)")
    parser.add_argument("--nodes", metavar="N", type=int, default=1, help="nodes per job (default: 1)")
    parser.add_argument(
        "--ranks-per-node", metavar="N", type=int, help="ranks on each node (default: the site's cores per node)"
    )
    parser.add_argument("--time", metavar="LIMIT", required=True, help="time limit of a job, as SLURM takes it")
    parser.add_argument(
        "--site",
        metavar="SITE",
        help="facts of the cluster: a file, or NAME of NAME.env in jobscripts/sites or ~/.config/gamaml/sites",
    )
    parser.add_argument("--account", help="account to charge (default: the site's)")
    parser.add_argument("--partition", help="partition to use (default: the site's)")
    parser.add_argument(
        "--populations-per-job",
        metavar="N",
        type=int,
        help="populations that a job interleaves at most (default: as many as keep its ranks busy)",
    )
    parser.add_argument(
        "--mem-per-rank", metavar="MIB", type=int, help="memory per rank besides what a node shares (default: 512)"
    )
    parser.add_argument("--dry-run", action="store_true", help="write the script to stdout, and nothing else")
    parser.set_defaults(command=_submit)


def _add_status(commands: argparse._SubParsersAction[_Parser]) -> None:  # pyright: ignore[reportPrivateUsage] - its only name
    parser = commands.add_parser(
        "status",
        help="show how the runs of a folder stand",
        description="Show every run of a folder, going on or not, and its job in the queue. Starts no MPI.",
        allow_abbrev=False,
        epilog="example:  gamaml status runs",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of run files")
    parser.set_defaults(command=_status)


def _write(text: str) -> None:
    """Print one text on stdout; a reader that went away (`| head`) ends the output, not the run."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_stdout()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()


def _drop_stdout() -> None:
    # The interpreter flushes once more at its end, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: GamamlError, code: int, cause: BaseException | None = None) -> int:
    if launcher.rank_from_environment() != 0:
        time.sleep(_SILENT_SECONDS)
        return code
    if cause is not None:
        traceback.print_exception(cause)
    _write_error(f"gamaml: error: {' '.join(str(error).splitlines())}")
    return code


def _write_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
