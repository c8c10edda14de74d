"""A small SLURM cluster on this machine, for tests. It needs no systemd, and leaves nothing behind.

    mpi/cluster start /tmp/cluster              # four nodes n1 to n4, which share address, hostname and /dev/shm
    mpi/cluster start /tmp/cluster --network    # nodes in network namespaces: each its own, with TCP between them
    . /tmp/cluster/env                          # now sinfo, sbatch, srun and squeue speak to it
    mpi/cluster link /tmp/cluster n2 down       # cut a node off (with --network)
    mpi/cluster stop /tmp/cluster               # processes, namespaces and the folder are gone

Needs root and Debian's slurm-wlm and munge (`make test-slurm` installs them). All files are in the folder, so several
clusters can run side by side, even beside one that the machine belongs to.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "ip", "nsenter", "unshare")
PARTITION = "local"
CLOSED = "closed"

_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_MARK = "GAMAML_CLUSTER_DAEMON"
_CPUS, _MEMORY_MIB = 4, 4000
_START_SECONDS, _STOP_SECONDS = 60.0, 10.0
# The folder's name chooses the network, so two clusters rarely choose the same.
_SUBNET, _CONTROLLER = "10.209.{number}", 254


class ClusterError(Exception):
    """A cluster that cannot be started or stopped: subject, expected, got, remedy."""


@dataclass(frozen=True)
class Cluster:
    """A cluster and its place.

    Attributes:
        folder: the folder of all its files.
        num_nodes: nodes n1, n2, ...
        network: whether each node has its own network namespace.
    """

    folder: Path
    num_nodes: int = 4
    network: bool = False

    @property
    def nodes(self) -> list[str]:
        """The nodes' names."""
        return [f"n{number}" for number in range(1, self.num_nodes + 1)]

    @property
    def number(self) -> int:
        """The number that distinguishes this cluster's network from others."""
        return zlib.crc32(bytes(self.folder)) % 254 + 1

    @property
    def name(self) -> str:
        """The prefix of the names of its bridge and namespaces."""
        return f"gamaml{self.number}"

    @property
    def configuration(self) -> Path:
        """The slurm.conf."""
        return self.folder / "slurm.conf"

    def address(self, host: int) -> str:
        """Return the address of the node with this number."""
        return f"{_SUBNET.format(number=self.number)}.{host}" if self.network else "127.0.0.1"

    @property
    def variables(self) -> dict[str, str]:
        """The variables that a shell needs to use the cluster."""
        return {
            "SLURM_CONF": str(self.configuration),
            "GAMAML_CLUSTER": str(self.folder),
            "GAMAML_CLUSTER_NAME": self.name,
        }

    def command(self, *words: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run one of SLURM's commands and return its output."""
        environment = {**_environment(), **self.variables}
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=timeout)


def start(cluster: Cluster) -> None:
    """Start a cluster and wait until all nodes are idle.

    Raises:
        ClusterError: the folder is in use, a program or a right is missing, or the nodes do not come up.
    """
    _check(cluster)
    cluster.folder.mkdir(parents=True)
    try:
        _write_files(cluster)
        if cluster.network:
            _make_network(cluster)
        _start_daemons(cluster)
    except BaseException:
        stop(cluster.folder)
        raise


def stop(folder: Path) -> None:
    """End all jobs, daemons and namespaces of a cluster and remove its folder; does nothing where there is none."""
    cluster = Cluster(folder.resolve())
    if not cluster.folder.exists():
        return
    if not (cluster.folder / "node").exists():
        raise ClusterError(f"{folder}: expected the folder of a cluster, got another one; remove it yourself")
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        cluster.command("scancel", "--full", f"--partition={PARTITION}", timeout=_STOP_SECONDS)
        _wait(lambda: not cluster.command("squeue", "--noheader").stdout.strip(), _STOP_SECONDS)
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in _processes(cluster):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if _wait(lambda: not list(_processes(cluster)), _STOP_SECONDS):
            break
    for namespace in _namespaces(cluster):
        _ip("netns", "delete", namespace)
    if Path(f"/sys/class/net/{cluster.name}").exists():
        _ip("link", "delete", cluster.name)
    shutil.rmtree(cluster.folder)


def link(folder: Path, node: str, state: str) -> None:
    """Set a node's link up or down.

    Raises:
        ClusterError: the cluster has no such node, or no network.
    """
    cluster = Cluster(folder.resolve())
    namespace = f"{cluster.name}-{node}"
    if namespace not in _namespaces(cluster):
        raise ClusterError(f"{node}: expected a node of a cluster started with --network, got none of that name")
    _ip("-n", namespace, "link", "set", "eth0", state)


def obstacle(network: bool) -> str | None:
    """Return the reason why this machine cannot start a cluster, None if it can."""
    if os.geteuid() != 0:
        return "user: expected root, got another; SLURM's daemons start jobs as other users, so start it as root"
    missing = [program for program in PROGRAMS if shutil.which(program, path=_environment()["PATH"]) is None]
    if missing:
        return (
            f"programs: expected {', '.join(PROGRAMS)}, got no {', '.join(missing)}; on Debian or Ubuntu: "
            "apt-get install slurm-wlm munge iproute2 util-linux"
        )
    if network:
        probe = ["unshare", "--net", "--uts", "--ipc", "--mount", "ip", "link", "add", "probe", "type", "bridge"]
        done = subprocess.run(probe, env=_environment(), capture_output=True, text=True)
        if done.returncode != 0:
            return f"network: expected the right to make namespaces and bridges, got: {done.stderr.strip()}"
    return None


def _check(cluster: Cluster) -> None:
    reason = obstacle(cluster.network)
    if reason is not None:
        raise ClusterError(reason)
    if cluster.folder.exists():
        raise ClusterError(f"{cluster.folder}: expected no such folder, got one; stop that cluster, or choose another")
    if cluster.network and Path(f"/sys/class/net/{cluster.name}").exists():
        raise ClusterError(f"{cluster.name}: expected no such bridge, got one; choose another folder, or delete it")


def _write_files(cluster: Cluster) -> None:
    folder = cluster.folder
    for name in (
        "node",
        "log",
        "state",
        "munge",
        *(f"{kind}.{node}" for kind in ("spool", "tmp") for node in cluster.nodes),
    ):
        (folder / name).mkdir()
    key = folder / "munge" / "key"
    key.touch(mode=0o400)
    key.write_bytes(secrets.token_bytes(128))
    for number, node in enumerate(cluster.nodes, start=1):
        for name in (node, cluster.address(number)):
            (folder / "node" / name).write_text(node)
    if cluster.network:
        hosts = ["127.0.0.1 localhost", f"{cluster.address(_CONTROLLER)} {socket.gethostname()}"]
        hosts += [f"{cluster.address(number)} {node}" for number, node in enumerate(cluster.nodes, start=1)]
        (folder / "hosts").write_text("\n".join(hosts) + "\n")
    exports = "".join(f"export {name}='{value}'\n" for name, value in cluster.variables.items())
    (folder / "env").write_text(exports)
    cluster.configuration.write_text(_configuration(cluster))


def _configuration(cluster: Cluster) -> str:
    folder, host = cluster.folder, socket.gethostname()
    ports = _free_ports(cluster.num_nodes + 1)
    lines = [
        "ClusterName=gamaml",
        f"SlurmctldHost={host}({cluster.address(_CONTROLLER)})",
        f"SlurmctldPort={ports[0]}",
        # Credentials expire soon, since SLURM starts a requeued job only after the credentials of its last start have
        # expired.
        f"AuthInfo=socket={folder}/munge/socket,cred_expire=5",
        "AuthType=auth/munge",
        "SlurmUser=root",
        "SlurmdUser=root",
        # MPICH names its segments in /dev/shm by the number of the job, and clusters side by side share that folder.
        f"FirstJobId={1 + 1000 * secrets.randbelow(60_000)}",
        "MpiDefault=pmi2",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        # Such a job is refused at once, rather than queued until the partition changes.
        "EnforcePartLimits=ALL",
        "ReturnToService=2",
        "JobRequeue=1",
        "KillWait=5",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=5",
        "SlurmdParameters=config_overrides",
        f"StateSaveLocation={folder}/state",
        f"SlurmdSpoolDir={folder}/spool.%n",
        f"TmpFS={folder}/tmp.%n",
        f"SlurmctldPidFile={folder}/slurmctld.pid",
        f"SlurmdPidFile={folder}/slurmd.%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/slurmd.%n.log",
    ]
    for number, node in enumerate(cluster.nodes, start=1):
        hostname = node if cluster.network else host
        where = f"NodeHostname={hostname} NodeAddr={cluster.address(number)} Port={ports[number]}"
        lines.append(f"NodeName={node} {where} CPUs={_CPUS} RealMemory={_MEMORY_MIB} State=UNKNOWN")
    partition = f"Nodes=n[1-{cluster.num_nodes}] MaxTime=INFINITE State=UP"
    lines.append(f"PartitionName={PARTITION} {partition} Default=YES")
    # Only slurmdbd knows accounts; without it, a partition that asks for one refuses every account.
    lines.append(f"PartitionName={CLOSED} {partition} AllowAccounts=known")
    return "\n".join(lines) + "\n"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("", 0))
        return [opened.getsockname()[1] for opened in sockets]


def _make_network(cluster: Cluster) -> None:
    _ip("link", "add", cluster.name, "type", "bridge")
    _ip("address", "add", f"{cluster.address(_CONTROLLER)}/24", "dev", cluster.name)
    _ip("link", "set", cluster.name, "up")
    for number, node in enumerate(cluster.nodes, start=1):
        namespace, outside = f"{cluster.name}-{node}", f"gm{cluster.number}-{node}"
        _ip("netns", "add", namespace)
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", outside, "master", cluster.name, "up")
        _ip("-n", namespace, "address", "add", f"{cluster.address(number)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")


def _start_daemons(cluster: Cluster) -> None:
    munge = cluster.folder / "munge"
    files = [
        f"--{name}={munge}/{name.split('-')[0]}" for name in ("socket", "key-file", "pid-file", "seed-file", "log-file")
    ]
    # With --force the folder need not be open to all users.
    _daemon(cluster, "munged", "--foreground", "--force", *files)
    _await(cluster, (munge / "socket").exists, "munged to open its socket", "munged")
    _daemon(cluster, "slurmctld", "-D")
    for node in cluster.nodes:
        words = ["slurmd", "-D", "-N", node]
        _daemon(
            cluster, *([str(HERE / "network-node"), node, *words] if cluster.network else words), name=f"slurmd.{node}"
        )
    idle = ["sinfo", "--noheader", "--Node", "--states=idle", f"--partition={PARTITION}", "--format=%N"]
    _await(
        cluster, lambda: len(cluster.command(*idle).stdout.split()) == cluster.num_nodes, "all nodes idle", "slurmctld"
    )


def _daemon(cluster: Cluster, *words: str, name: str = "") -> None:
    environment = {**_environment(), **cluster.variables, _MARK: str(cluster.folder)}
    with (cluster.folder / "log" / f"{name or words[0]}.out").open("wb") as log:
        subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )


def _await(cluster: Cluster, condition: Callable[[], bool], what: str, daemon: str) -> None:
    if not _wait(condition, _START_SECONDS):
        said = [path.read_text(errors="replace").strip()[-500:] for path in cluster.folder.glob(f"log/{daemon}*")]
        raise ClusterError(f"{what}: expected within {_START_SECONDS:.0f} s, got: {' | '.join(filter(None, said))}")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _processes(cluster: Cluster) -> Iterator[int]:
    """Yield the cluster's processes: its daemons, its jobs, and everything in its namespaces."""
    inside = [int(pid) for name in _namespaces(cluster) for pid in _ip("netns", "pids", name).split()]
    yield from inside
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in inside:
            with contextlib.suppress(OSError):
                words = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
                variables = dict(word.split("=", 1) for word in words if "=" in word)
                # A shell that sourced the env file also has the configuration, but no job.
                in_job = "SLURM_JOB_ID" in variables and variables.get("SLURM_CONF") == str(cluster.configuration)
                if variables.get(_MARK) == str(cluster.folder) or in_job:
                    yield int(entry.name)


def _namespaces(cluster: Cluster) -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{cluster.name}-*")) if folder.exists() else []


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], env=_environment(), capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"ip {' '.join(words)}: expected to succeed, got: {done.stderr.strip()}")
    return done.stdout


def _environment() -> Mapping[str, str]:
    # The daemons pass on their environment, so no variable of a surrounding job may enter it.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PMI", "OMPI_"))}
    return {**kept, "PATH": f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}"}


def main(argv: Sequence[str]) -> int:
    """Run the command and return 0, 1 for a failure or 2 for a mistake in the arguments."""
    parser = argparse.ArgumentParser(prog="mpi/cluster", description="A SLURM cluster on this machine, for tests.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    starting = commands.add_parser("start", help="start a cluster and wait until its nodes are idle")
    starting.add_argument("folder", type=Path, metavar="DIR", help="a folder that does not exist yet")
    starting.add_argument("--nodes", type=int, metavar="N", default=4, help="number of nodes (default: 4)")
    starting.add_argument("--network", action="store_true", help="give each node a network namespace")
    stopping = commands.add_parser("stop", help="end it and remove the folder")
    stopping.add_argument("folder", type=Path, metavar="DIR")
    linking = commands.add_parser("link", help="cut a node off, or connect it again")
    linking.add_argument("folder", type=Path, metavar="DIR")
    linking.add_argument("node", metavar="NODE")
    linking.add_argument("state", choices=("up", "down"))
    options = parser.parse_args(argv)
    try:
        if options.command == "start":
            start(Cluster(options.folder.resolve(), options.nodes, options.network))
        elif options.command == "stop":
            stop(options.folder)
        else:
            link(options.folder, options.node, options.state)
    except ClusterError as error:
        sys.stderr.write(f"mpi/cluster: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
