"""`gamaml inspect`: a run as table, picture or digest."""

from __future__ import annotations

import argparse
from pathlib import Path

from gamaml.commands.arguments import add_run_file, check_exists, check_picture
from gamaml.commands.console import Commands, write
from gamaml.job.exit_codes import DONE


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "inspect",
        help="show a run as table, picture or digest",
        description="Show a run, finished or still going on. Starts no MPI.",
        epilog="example:  gamaml inspect runs/navigation-seed1.h5 --plot learning.png",
    )
    add_run_file(parser)
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
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Show a run."""
    check_picture(args.plot)
    check_exists(args.run)

    # Here, since they bring h5py, which `gamaml --help` does without.
    from gamaml import runlog
    from gamaml.commands import run_table

    found = runlog.load(args.run)
    write(found.digest() if args.digest else run_table.text(found))
    if args.plot is not None:
        draw(args.run, args.plot)
    return DONE


def draw(path: Path, picture: Path) -> None:
    """Draw the run of a file, and name the pictures on stdout."""
    from gamaml import runlog
    from gamaml.commands import run_pictures

    for drawn in run_pictures.draw(runlog.load(path), picture):
        write(f"picture: {drawn}")
