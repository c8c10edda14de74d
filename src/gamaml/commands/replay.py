"""`gamaml replay`: repeat one evaluation and compare it with the log."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gamaml.commands.arguments import add_run_file, add_who, check_exists, check_who
from gamaml.commands.console import Commands, write
from gamaml.commands.text import table
from gamaml.engine.repetition import Replay, replay
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.job.exit_codes import DONE, FAILURE


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "replay",
        help="repeat one evaluation and compare it with the log",
        description=(
            "Repeat one evaluation of a run on one core and compare it with the logged record.\n"
            "Exit code 0 if every scientific field has the same bits, 1 if not. Starts no MPI."
        ),
        epilog=(
            "examples:  gamaml replay runs/navigation-seed1.h5 --generation 12 --index 407\n"
            "           gamaml replay runs/navigation-seed1.h5 --incumbent\n"
            "           gamaml replay runs/ant-seed1.h5 --incumbent --video ant.mp4\n\n"
            "A generation that was never finished has no records, but its children can be replayed: one\n"
            "whose evaluation raised raises again, with its traceback."
        ),
    )
    add_run_file(parser)
    add_who(parser)
    parser.add_argument(
        "--episode",
        metavar="E",
        type=int,
        help="number of the re-evaluation, of a contender or the incumbent (default: 0)",
    )
    parser.add_argument(
        "--video",
        metavar="FILE.mp4",
        type=Path,
        help="film the episodes of an environment that renders, into an .mp4 or a .gif; pip install 'gamaml[video]'",
    )
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Repeat an evaluation and show both records."""
    check_exists(args.run)
    check_who(args)

    # Here, since it brings h5py, which `gamaml --help` does without.
    from gamaml import runlog

    result = replay(
        runlog.load(args.run),
        generation=args.generation,
        index=args.index,
        contender=args.contender,
        episode=args.episode,
        video=args.video,
    )
    write(text(result))
    if args.video is not None:
        write(f"video: {args.video}")
    return FAILURE if result.differences else DONE


def text(result: Replay) -> str:
    """Return a replay as a table of both records and a verdict."""
    lines = [str(result.address), *_records(result)]
    if result.logged is None:
        lines.append("the run file holds no record of this evaluation: nothing to compare with")
    elif not result.differences:
        lines.append("equal: every scientific field has the same bits")
    else:
        lines.append(f"different: {', '.join(result.differences)}")
        lines.append(_explanation(result))
    return "\n".join(lines)


def _records(result: Replay) -> list[str]:
    rows = [("field", "replayed", "logged")]
    for name in result.record.dtype.names or ():
        if name not in NOT_SCIENCE:
            logged = "-" if result.logged is None else _value(result.logged[name])
            rows.append((name, _value(result.record[name]), logged))
    return [f"  {line}" for line in table(rows, str.ljust)]


def _value(field: np.ndarray) -> str:
    """Return a field's numbers in the fewest digits that distinguish its bits from their neighbours'."""
    return "  ".join(str(value) for value in field.ravel())


def _explanation(result: Replay) -> str:
    if not result.reproducible:
        return "the run is marked as not reproducible: its environment gives other numbers when it is asked again"
    if result.changes:
        return f"since the run, this changed: {'; '.join(result.changes)}; replay with the run's versions"
    return "libraries and CPU are the same as in the run: the task is not a pure function, or it was edited"
