"""`gamaml tasks`: the ready-made tasks."""

from __future__ import annotations

import argparse

from gamaml import problems
from gamaml.commands.console import Commands, write
from gamaml.job.exit_codes import DONE


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("tasks", help="list the ready-made tasks", description="List the ready-made tasks.")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """List every ready-made task in a line."""
    available = problems.available()
    width = max(map(len, available))
    for name, summary in available.items():
        write(f"{name:<{width}}  {summary}")
    write('A class of your own is written name = "my_module:MyTask" below [task].')
    return DONE
