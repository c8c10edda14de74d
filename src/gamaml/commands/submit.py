"""`gamaml submit`: submit a sweep to SLURM."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gamaml.commands.arguments import add_sweep, check_out, sweep_of
from gamaml.commands.console import Commands, write, write_error
from gamaml.commands.text import count
from gamaml.errors import ConfigError
from gamaml.job.exit_codes import DONE
from gamaml.slurm import site
from gamaml.slurm.site import Site

if TYPE_CHECKING:
    from gamaml.commands.submission import Submission


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "submit",
        help="submit a sweep to SLURM",
        description=(
            "Write a job script for the populations of `gamaml run`, print its cost, and submit it with sbatch.\n"
            "A job that reaches its time limit checkpoints and has itself requeued. Starts no MPI."
        ),
        epilog=(
            "examples:  gamaml submit frostbite.toml --seeds 0-9 --nodes 8 --time 12:00:00 --site csd3\n"
            "           gamaml submit atari.toml --envs Amidar,Assault --seeds 0-9 --time 90 --dry-run"
        ),
    )
    add_sweep(parser)
    parser.add_argument("--name", help="name of the job, its script and log (default: the first config's name)")
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
        help="the most populations that a job interleaves (default: as many as keep its ranks busy)",
    )
    parser.add_argument(
        "--mem-per-rank",
        metavar="MIB",
        type=int,
        help="memory per rank besides the node's shared memory (default: 512)",
    )
    parser.add_argument("--dry-run", action="store_true", help="write the script to stdout, and nothing else")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Submit a sweep, or show its script."""
    check_out(args.out)
    _check_counts(args)

    # Here, since it brings h5py, which `gamaml --help` does without.
    from gamaml.commands import submission

    planned = submission.plan(
        submission.Request(
            command=("gamaml", *args.argv),
            sweep=sweep_of(args),
            nodes=args.nodes,
            time=args.time,
            out=args.out,
            site=_site(args),
            name=args.name,
            ranks_per_node=args.ranks_per_node,
            populations_per_job=args.populations_per_job,
            rank_mib=submission.RANK_MIB if args.mem_per_rank is None else args.mem_per_rank,
            bin_folder=str(Path(sys.executable).parent),
        )
    )
    if args.dry_run:
        write_error(text(planned))
        write(planned.script.rstrip("\n"))
        return DONE
    write(text(planned))
    number = submission.send(planned)
    write(f"submitted as job {number}; see how it goes with: gamaml status {shlex.quote(str(args.out))}")
    return DONE


def text(planned: Submission) -> str:
    """Return the jobs, their cost and their files in words."""
    job, runs = planned.job, planned.runs
    each = " in each" if len(runs) > 1 else ""
    sizes = sorted({len(some) for some in runs})
    names = list(itertools.chain.from_iterable(runs))
    interleaved = "-".join(map(str, dict.fromkeys((sizes[0], sizes[-1]))))
    together = f", {interleaved} interleaved{each}" if sizes[-1] > 1 else ""
    known = {"partial": "to be continued", "finished": "finished already"}
    states = [f"{planned.states[state]} {what}" for state, what in known.items() if planned.states[state]]
    jobs = "1 job" if len(runs) == 1 else f"an array of {len(runs)} jobs"
    return "\n".join(
        [
            f"{job.name}: {count(len(names), 'run')} in {jobs}{together}",
            f"  a job: {count(job.nodes, 'node')} x {job.ranks_per_node} ranks, {job.time}, "
            f"{job.memory_mib} MiB per node, {planned.window_mib} of them shared",
            f"  at most {planned.core_hours:,.1f} core-hours until every job was started once; one that needs more "
            "time goes on in a further start",
            f"  script: {planned.path}",
            f"  logs: {job.log}",
            f"  run files: {job.out / names[0]}.h5" + (f" to {names[-1]}.h5" if len(names) > 1 else ""),
            *(["  of the runs " + ", ".join(states)] if states else []),
        ]
    )


def _check_counts(args: argparse.Namespace) -> None:
    for option in ("nodes", "ranks_per_node", "populations_per_job", "mem_per_rank"):
        value = getattr(args, option)
        if value is not None and value < 1:
            raise ConfigError(f"--{option.replace('_', '-')} {value}: expected at least 1; choose a larger value")


def _site(args: argparse.Namespace) -> Site:
    """Return the cluster, with the account and the partition that the arguments name instead of its own."""
    own = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    folders = [Path("jobscripts/sites"), Path(own) / "gamaml" / "sites"]
    changes = {name: getattr(args, name) for name in ("account", "partition") if getattr(args, name) is not None}
    return dataclasses.replace(site.find(args.site, folders) if args.site else Site(), **changes)
