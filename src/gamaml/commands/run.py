"""`gamaml run`: evolve the populations of configs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from gamaml import api
from gamaml.commands.arguments import add_sweep, check_name, check_out, check_picture, sweep_of
from gamaml.commands.console import Commands, write, write_error
from gamaml.commands.inspect import draw
from gamaml.commands.progress import display
from gamaml.commands.text import count
from gamaml.config import Config
from gamaml.engine.info import TrainResult
from gamaml.errors import ConfigError
from gamaml.job import launcher
from gamaml.job.exit_codes import DONE, FAILURE, INTERRUPTED


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "run",
        help="evolve the populations of configs",
        description="Evolve the populations of configs, on all ranks that the launcher started.",
        epilog=(
            "examples:  gamaml run navigation.toml\n"
            "           mpiexec -n 8 gamaml run navigation.toml --set seed=2 --resume\n"
            "           mpiexec -n 8 gamaml run navigation.toml --seeds 0-9 --resume\n\n"
            "With --resume one command serves the first start and every restart: it starts an absent run,\n"
            "continues a partial one and leaves a finished one alone. On SIGTERM, SIGUSR1 or Ctrl-C a run\n"
            "checkpoints and exits with 75."
        ),
    )
    add_sweep(parser)
    parser.add_argument("--name", help="name of the run file, DIR/NAME.h5 (default: the config's name and -seedN)")
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--resume", action="store_true", help="continue an existing run, or start it if there is none"
    )
    existing.add_argument("--overwrite", action="store_true", help="replace an existing run; its contents are lost")
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
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Evolve; rank 0 shows each generation as it finishes."""
    try:
        configs, names = _populations(args)
        _check(args, len(configs))
    except Exception as error:
        api.refuse(error)
    is_root = launcher.rank_from_environment() == 0
    terminal = launcher.terminal() if is_root else None
    width = terminal.width if terminal is not None else None
    with display(configs, names, sys.stdout, write, terminal=terminal is not None, width=width) as progress:
        results = api.train(
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
        # Open MPI kills the other ranks as soon as one has ended with a code other than 0, and rank 0 still has to
        # report.
        return DONE
    for result in results:
        _report(result, args.plot)
    if any(result.exhausted for result in results):
        return FAILURE
    return INTERRUPTED if any(result.interrupted for result in results) else DONE


def _populations(args: argparse.Namespace) -> tuple[list[Config], list[str]]:
    """Return the config and the run's name of every population: each config in each environment with each seed."""
    populations = sweep_of(args).populations()
    configs = [config for _, config in populations]
    if args.name is None:
        return configs, [name for name, _ in populations]
    if len(configs) > 1:
        raise ConfigError(f"--name {args.name!r}: expected with one population, got {len(configs)}; leave it out")
    return configs, [check_name(args.name)]


def _check(args: argparse.Namespace, num_populations: int) -> None:
    check_out(args.out)
    if args.accept_versions and not args.resume:
        raise ConfigError("--accept-versions: expected together with --resume, got it alone; add --resume")
    if args.plot:
        if num_populations > 1:
            raise ConfigError(
                f"--plot {args.plot!r}: expected no file name with {num_populations} populations, got one; "
                "write --plot alone, which draws DIR/NAME.png for each"
            )
        check_picture(Path(args.plot))


def _report(result: TrainResult, plot: str | None) -> None:
    so_far = f"{count(result.num_generations, 'generation')}, {result.total_steps} steps"
    if result.exhausted:
        write_error(
            f"gamaml: error: {result.path}: expected new records between two restarts, got none; "
            "give the job more time or make an evaluation shorter, then continue with --resume"
        )
    elif result.interrupted:
        write(f"{result.path}: interrupted after {so_far}; continue with --resume")
    else:
        write(f"{result.path}: done after {so_far}, incumbent fitness {result.incumbent_fitness:.6g}")
    if plot is not None and result.num_generations > 0:
        draw(result.path, Path(plot) if plot else result.path.with_suffix(".png"))
