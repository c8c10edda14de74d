"""`gamaml status`: the state of a folder's runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gamaml.commands.console import Commands, write
from gamaml.commands.text import duration, table
from gamaml.job.exit_codes import DONE

if TYPE_CHECKING:
    from gamaml.commands.run_status import RunStatus


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "status",
        help="show the state of a folder's runs",
        description="Show every run of a folder, going on or not, and its job in the queue. Starts no MPI.",
        epilog="example:  gamaml status runs",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of run files")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Show the runs of a folder."""
    # Here, since it brings h5py, which `gamaml --help` does without.
    from gamaml.commands import run_status

    write(text(run_status.find(args.folder)))
    return DONE


def text(found: Sequence[RunStatus]) -> str:
    """Return a table with a line per run."""
    metrics = "/".join(sorted({one.metric for one in found if one.metric}, reverse=True)) or "return"
    rows = [("run", "gen", metrics, "eta", "state", "job", "restarts")]
    rows += [
        (one.name, one.generation, one.returns, duration(one.eta_seconds), one.state, one.job or "-", str(one.restarts))
        for one in found
    ]
    return "\n".join(table(rows, str.ljust))
