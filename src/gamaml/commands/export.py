"""`gamaml export`: a policy's arrays as an .npz file."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from gamaml.commands.arguments import add_run_file, add_who, check_exists, check_who
from gamaml.commands.console import Commands, write
from gamaml.commands.text import named
from gamaml.engine.policy_file import Exported, export
from gamaml.job.exit_codes import DONE


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "export",
        help="write a policy's arrays to an .npz file",
        description="Write a policy's arrays, by name and without pickle, for programs without gamaml. Starts no MPI.",
        epilog="example:  gamaml export runs/ant-seed1.h5 --incumbent policy.npz",
    )
    add_run_file(parser)
    parser.add_argument("file", metavar="FILE.npz", type=Path, help="the file to write")
    add_who(parser)
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Write a policy and list its arrays."""
    check_exists(args.run)
    check_who(args)

    # Here, since it brings h5py, which `gamaml --help` does without.
    from gamaml import runlog

    found = runlog.load(args.run)
    exported = export(found, args.file, generation=args.generation, index=args.index, contender=args.contender)
    write(text(exported))
    return DONE


def text(exported: Exported) -> str:
    """Return a line for each array that was written, and one for the file."""
    arrays = {name: np.asarray(array) for name, array in exported.arrays.items()}
    lines = named({name: f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()})
    size = exported.path.stat().st_size
    source = "" if exported.genome is None else f", from a genome of {exported.genome.nbytes:,} bytes"
    lines.append(f"{exported.path}: {exported.num_params:,} parameters, {size:,} bytes{source}")
    return "\n".join(lines)
