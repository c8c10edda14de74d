"""`gamaml preflight`: check a job before it costs core-hours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from gamaml import api
from gamaml.commands import job_checks
from gamaml.commands.arguments import add_sweep, check_out, sweep_of
from gamaml.commands.console import Commands, write
from gamaml.commands.job_checks import Check
from gamaml.commands.text import count
from gamaml.job import launcher
from gamaml.job.exit_codes import DONE, FAILURE


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "preflight",
        help="check a job before it costs core-hours",
        description=(
            "Check nodes, memory, cores, network, versions, clocks and folder of a job, on its own ranks.\n"
            "One line per check. Exit code 0 if all is well, 1 if something was found; each finding names its remedy."
        ),
        epilog=(
            "examples:  gamaml preflight\n"
            "           srun --mpi=pmi2 gamaml preflight frostbite.toml --seeds 0-3 --out runs"
        ),
    )
    add_sweep(parser, configs="*")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Check the job that this process is a rank of."""
    try:
        configs = [config for _, config in sweep_of(args).populations()]
        check_out(args.out)
    except Exception as error:
        api.refuse(error)
    checks = job_checks.check(configs, args.out)
    if launcher.rank_from_environment() != 0:
        return DONE
    write(text(checks))
    return FAILURE if any(check.finding for check in checks) else DONE


def text(checks: Sequence[Check]) -> str:
    """Return one line per check, and a verdict."""
    width = max(len(check.name) for check in checks)
    lines = [f"{'FOUND' if check.finding else 'ok':<5}  {check.name:<{width}}  {check.text}" for check in checks]
    findings = sum(check.finding for check in checks)
    end = "this job can run" if not findings else f"{count(findings, 'finding')}; see docs/running.md"
    return "\n".join([*lines, f"preflight: {end}"])
