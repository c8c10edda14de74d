"""How many results reach rank 0 per CPU-second, and how long does one take?

    python benchmarks/relay.py                  # throughput and latency, beside the ancestors' Redis
    python benchmarks/relay.py --progress       # three ways to make progress beside a busy main thread, on this MPI

Throughput: ranks claim, record and hand over as in a run, with an empty evaluation in between; the leaders gather to
rank 0, which opens the next batch when one is complete. Claims are of one item and of blocks; a run claims short
children in blocks of about 2 ms. The ancestors' path (redis_path.py) takes turns with it: pickled results through a
Redis per node. A result here has one size, whatever the length of its genome; in the ancestors' path it carries the
genome. The CPU-seconds are those of all processes, the Redis servers included, which other load on the machine affects
least; an idle machine of two cores takes twice as many results in a second by the clock.

Latency: the time from the hand-over of a share's last record until rank 0 holds all records. Meanwhile the leaders
sleep, or are inside NumPy, a Python loop, or a compiled JAX call of 20 ms. This is time by the clock, since waiting is
what the question is about, and so are the times of --progress: measure them on an idle machine.

Progress: the same latency beside evaluations of 50 ms, and the slowdown of these evaluations, (a) with a run's helper
thread, (b) with polling between evaluations, as on an MPI below MPI_THREAD_MULTIPLE, and (c) on a leader that polls and
evaluates nothing. A further measurement is the time until all leaders know of a SIGTERM to the last one, while the main
threads are in one JAX call.

Expected effects: claims of one item are bound by the Python around four atomic operations on two cores, so blocks win
almost in proportion until a batch's fixed cost, one gather and one broadcast, shows. Large batches hide that cost, so
Redis is compared with batches of 1,000, a usual generation. Latency with idle leaders is two sleeps of the service
thread, one until it notices and one for the gather.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import threading
import time
import venv
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from threadpoolctl import threadpool_limits

from gamaml.evolution.entries import new_entries
from gamaml.evolution.records import DONE, record_dtype
from gamaml.inner.start_jax import start_jax
from gamaml.job.board_sizes import BoardSizes
from gamaml.job.signals import SignalWatch
from gamaml.parallel.board import Board, Kind
from gamaml.parallel.command import END, Command
from gamaml.parallel.guard import Guard
from gamaml.parallel.relay import Relay, split
from gamaml.parallel.service import Backoff, Duties, Service
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from report import print_machine, print_result, run_ranks

BAR_RATIO, BAR_P99_MS = 100.0, 2.0
DTYPE = record_dtype(0)
FLAGS_NBYTES = 64
BLOCKS = (1, 8, 64, 256, 1024)
COMPARED_BLOCK = 256
"""The number of items that each of two ranks claims at once of 1,000 children that take no time: a quarter."""

ENTRIES = (1, 100, 1000)
NODES = (1, 2, 3, 4)
BUSY = ("sleep", "NumPy", "Python", "JAX")
BUSY_SECONDS, EVALUATION_SECONDS = 0.02, 0.05
CALL_SECONDS, SIGNAL_AFTER_SECONDS = 1.4, 0.4
"""The call ends before a stopping job begins to break evaluations off."""

IDLE_SECONDS = 5e-3
"""The longest sleep of a run's rank when there is nothing to claim."""

REDIS = Path(__file__).resolve().parents[1] / ".venv-redis"


class Job:
    """One population's board, relay and service on this rank, with batches of empty children instead of an evolution.

    Args:
        topology: the job.
        window: room for FLAGS_NBYTES and a board.
        watch: this process's signals.
        items: number of items in a batch.
        batches: number of batches after which the job ends.
    """

    def __init__(self, topology: Topology, window: SharedWindow, watch: SignalWatch, items: int, batches: int) -> None:
        self._topology, self._num_items, self._num_batches = topology, items, batches
        sizes = BoardSizes(items, 1, DTYPE)
        self.board = Board(window, FLAGS_NBYTES, sizes)
        self._comm = topology.relay.Dup() if topology.is_leader else None
        relays = [] if self._comm is None else [Relay(self._comm, self.board, sizes)]
        self._relay = relays[0] if topology.is_root else None
        self._posted = 0
        self.latencies: list[float] = []
        duties = Duties(relays, root=self if topology.is_root else None)
        self.service = Service(topology, window, watch, duties)

    def close(self) -> None:
        """Wait for all ranks. Collective."""
        self.service.leave()
        if self._comm is not None:
            self._comm.Free()

    error = None

    def ask_for_restart(self) -> None:
        """Do nothing: without a heartbeat no node is silent."""

    def close_logs(self) -> None:
        """Do nothing: nothing is written."""

    def advance(self, *, closing: bool) -> bool:
        """Take results and give the next batch, as an evolution does; on rank 0, in the service thread."""
        relay = self._relay
        if relay is None or not relay.idle:
            return False
        results = relay.take_results()
        # A leader that knows of a stop before this one sends the records that it has.
        if results is not None and len(results) == self._num_items:
            self.latencies.append(1e-9 * (time.monotonic_ns() - int(results["steps"].max())))
        if closing or self._posted == self._num_batches:
            relay.post(Command(END, self._posted, new_entries(0)))
            return True
        shares = split(self._num_items, self._topology.node_sizes)
        relay.post(
            Command(
                Kind.CHILDREN,
                self._posted,
                new_entries(0),
                num_items=self._num_items,
                shares=shares,
                skip=np.empty(0, np.int32),
            )
        )
        self._posted += 1
        return True

    def claim_and_hand_over(self, block: int) -> bool:
        """Claim, record and hand over; return whether there was anything."""
        claim = self.board.claim(block)
        if claim is None:
            return False
        records = np.zeros(len(claim.items), DTYPE)
        records["index"], records["flags"] = claim.items, DONE
        records["steps"] = time.monotonic_ns()
        self.board.hand_over(claim, records)
        return True


@contextmanager
def job_of(topology: Topology, items: int, batches: int) -> Generator[Job, None, None]:
    """Open a job's window, start its service, and wait for all ranks at the end. Collective."""
    nbytes = FLAGS_NBYTES + BoardSizes(items, 1, DTYPE).nbytes
    with (
        SharedWindow(topology.node, nbytes, clear=True) as window,
        SignalWatch(None) as watch,
        # The measurement belongs in here too, since freeing the window is collective.
        Guard(topology),
    ):
        watch.serve()
        job = Job(topology, window, watch, items, batches)
        topology.world.Barrier()
        job.service.start()
        yield job
        job.close()


def throughput(topology: Topology, options: Mapping[str, Any]) -> dict[str, float]:
    """Return results per CPU-second of all ranks, by block size."""
    items = options["items"]
    found: dict[str, float] = {}
    for block in options["blocks"]:
        batches = max(2, options["results"] * min(block, 32) // items)
        with job_of(topology, items, batches) as job:
            start = time.process_time()
            backoff = Backoff(IDLE_SECONDS)
            while not job.board.ended():
                if job.claim_and_hand_over(block):
                    backoff.reset()
                else:
                    backoff.sleep()
            spent = time.process_time() - start
        everyone = topology.world.allreduce(spent)
        if topology.is_root:
            assert len(job.latencies) == batches, "results were lost"
            found[str(block)] = batches * items / everyone
    return found


def busy_with(kind: str, seconds: float) -> Callable[[], object]:
    """Return an action that keeps the main thread busy for about `seconds`."""
    if kind == "sleep":
        return lambda: time.sleep(seconds)
    if kind == "NumPy":
        matrix = np.random.default_rng(0).standard_normal((200, 200), np.float32)
        product = np.empty_like(matrix)
        return repeated(lambda: np.matmul(matrix, matrix, out=product), seconds)
    if kind == "Python":
        return repeated(lambda: sum(number for number in range(5_000)), seconds)
    return jax_call(seconds)


def repeated(action: Callable[[], object], seconds: float) -> Callable[[], object]:
    """Return an action that repeats `action` as often as fits into `seconds` on an idle machine."""
    times = max(1, round(seconds / min(timed(action) for _ in range(20))))

    def run() -> None:
        for _ in range(times):
            action()

    return run


def jax_call(seconds: float) -> Callable[[], object]:
    """Return one compiled call that takes about `seconds`, on one thread as in a run."""
    start_jax()
    import jax  # only here, because it takes seconds to import
    import jax.numpy as jnp

    @jax.jit
    def loop(matrix: jax.Array, times: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, times, lambda _, value: jnp.tanh(value @ matrix), matrix)

    def call(times: int) -> None:
        loop(matrix, times).block_until_ready()

    matrix = jnp.eye(64)
    call(1)
    times = round(1000 * seconds / min(timed(lambda: call(1000)) for _ in range(5)))
    return lambda: call(times)


def latency(topology: Topology, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return latencies in seconds, and the slowdown of a busy main thread."""
    evaluates = not (options["dedicated"] and topology.is_leader)
    busy = busy_with(options["busy"], options["seconds"])
    alone: list[float] = []
    beside: list[float] = []

    def work_alone() -> None:
        topology.wait_for_all()
        alone.extend(timed(busy) for _ in range(options["batches"] // 4 if evaluates else 0))
        topology.wait_for_all()

    work_alone()
    with job_of(topology, topology.num_nodes, options["batches"]) as job:
        # A dedicated leader leaves at once, and polls until the others have left.
        while evaluates and not job.board.ended():
            job.claim_and_hand_over(1)
            beside.append(timed(busy))
            if not job.service.threaded:
                job.service.tick()
    # Measured before and after, so a drift of the machine's speed is not attributed to the service.
    work_alone()
    assert not topology.is_root or len(job.latencies) == options["batches"], "results were lost"
    slower = statistics.median(beside) / statistics.median(alone) if evaluates else None
    slowness = [ratio for ratio in topology.world.allgather(slower) if ratio is not None]
    return {"latencies": job.latencies, "slower": statistics.mean(slowness), "threaded": job.service.threaded}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def stop(topology: Topology, options: Mapping[str, Any]) -> list[float]:
    """Return the seconds until all leaders know of a SIGTERM to the last one, beside busy main threads."""
    evaluates = not (options["dedicated"] and topology.is_leader)
    call = busy_with(options["busy"], CALL_SECONDS)
    found: list[float] = []
    for _ in range(options["repeats"]):
        with job_of(topology, topology.num_nodes, 10**9) as job:
            sent, known = signal_and_listen(job, topology.is_leader and topology.node_index == topology.num_nodes - 1)
            while evaluates and not job.board.ended():
                job.claim_and_hand_over(1)
                # A run that stops breaks its evaluations off.
                call() if not job.service.stop else time.sleep(1e-3)
                if not job.service.threaded:
                    job.service.tick()
        times = topology.relay.allgather((sent(), known())) if topology.is_leader else [(0.0, 0.0)]
        found.append(max(pair[1] for pair in times) - max(pair[0] for pair in times))
    return found


def signal_and_listen(job: Job, signalled: bool) -> tuple[Callable[[], float], Callable[[], float]]:
    """Start threads that signal this process, if `signalled`, and wait until it knows of a stop.

    Returns:
        Two functions that wait for the threads and return the times; 0 without a signal.
    """
    sent = known = 0.0

    def send() -> None:
        nonlocal sent
        time.sleep(SIGNAL_AFTER_SECONDS)
        sent = time.monotonic()
        os.kill(os.getpid(), signal.SIGTERM)

    def listen() -> None:
        nonlocal known
        while not job.service.stop:
            time.sleep(2e-4)
        known = time.monotonic()

    sender, listener = threading.Thread(target=send), threading.Thread(target=listen)
    listener.start()
    if signalled:
        sender.start()

    def when_sent() -> float:
        if signalled:
            sender.join()
        return sent

    def when_known() -> float:
        listener.join()
        return known

    return when_sent, when_known


MEASUREMENTS: dict[str, Callable[[Topology, Mapping[str, Any]], Any]] = {
    "throughput": throughput,
    "latency": latency,
    "stop": stop,
}


def work(arguments: Mapping[str, Any]) -> None:
    """Measure as one of the ranks; rank 0 prints."""
    with threadpool_limits(1), Topology() as topology, Guard(topology):
        found = MEASUREMENTS[arguments["what"]](topology, arguments)
        if topology.is_root:
            print(json.dumps({"mpi": MPI.get_vendor()[0], "found": found}))


class Measurement(NamedTuple):
    """Rank 0's result.

    Attributes:
        mpi: name of the MPI.
        found: the result of the measurement.
    """

    mpi: str
    found: Any


def measure(what: str, layout: list[str], variables: Mapping[str, str] | None = None, **arguments: Any) -> Measurement:
    """Run one of MEASUREMENTS under mpiexec, with environment variables on top of this process's."""
    os.environ.update(variables or {})
    try:
        stdout = run_ranks(__file__, layout, {"what": what, **arguments})
    finally:
        for name in variables or {}:
            del os.environ[name]
    return Measurement(**json.loads(stdout.splitlines()[-1]))


def nodes(number: int, ranks: int = 1) -> list[str]:
    return ["--emulate", "--nodes", str(number), "--ranks-per-node", str(ranks)]


def redis_environment() -> Path | None:
    """Return the interpreter of an environment with redis-py, made on first need; None without redis-server."""
    if shutil.which("redis-server") is None:
        print("no baseline: expected redis-server on PATH, got none; apt-get install redis-server")
        return None
    python = REDIS / "bin" / "python"
    if not (REDIS / "ready").exists():
        venv.create(REDIS, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "redis>=5,<7"]
        subprocess.run(install, check=True)
        (REDIS / "ready").touch()
    return python


def redis_path(python: Path, entries: int, results: int) -> float:
    """Return results per CPU-second of the ancestors' path."""
    command = [python, Path(__file__).with_name("redis_path.py"), str(results), str(entries)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 99th percentile, without the first ten, which pay for warming up."""
    values = np.array(seconds[10:] or seconds)
    return float(np.median(values)), float(np.quantile(values, 0.99))


def compare_throughput(options: argparse.Namespace) -> tuple[dict[str, dict[str, float]], dict[int, float]]:
    """Print and return results per CPU-second; Redis takes turns.

    Returns:
        Medians by layout and batch, then by block; Redis's by entries, empty without it.
    """
    python = None if options.quick else redis_environment()
    layouts = {
        f"{options.ranks} ranks on one node": ["-n", str(options.ranks)],
        f"2 emulated nodes of {options.ranks // 2}": nodes(2, options.ranks // 2),
    }
    rates: dict[tuple[str, str], list[float]] = {}
    theirs: dict[int, list[float]] = {}
    for _ in range(options.repeats):
        for (name, layout), items in itertools.product(layouts.items(), options.items):
            told = measure("throughput", layout, blocks=BLOCKS, results=options.results, items=items)
            for block, rate in told.found.items():
                rates.setdefault((f"{name}, batches of {items:,}", block), []).append(rate)
        if python is not None:
            for entries in ENTRIES:
                theirs.setdefault(entries, []).append(redis_path(python, entries, options.results // 4))
    print(f"results per CPU-second, median of {options.repeats} (least to most):")
    found: dict[str, dict[str, float]] = {}
    for (name, block), values in rates.items():
        found.setdefault(name, {})[block] = round(statistics.median(values))
        print(f"  {name}, claims of {block:>4}: {spread(values)}")
    for entries, values in theirs.items():
        print(f"  Redis, {entries:>5} genome entries: {spread(values)}")
    return found, {entries: round(statistics.median(values)) for entries, values in theirs.items()}


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):11,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def compare_latencies(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print and return latencies in milliseconds by number of nodes and by the leaders' occupation."""
    print(f"from the last record to rank 0 by the clock, median / p99 in ms, load {os.getloadavg()[0]:.1f}:")
    found: dict[str, dict[str, float]] = {}
    for number, busy in itertools.product(options.node_counts, options.activities):
        arguments = {"busy": busy, "seconds": BUSY_SECONDS, "batches": options.batches, "dedicated": False}
        median, p99 = quantiles(measure("latency", nodes(number), None, **arguments).found["latencies"])
        found[f"{number} nodes, {busy}"] = {"median": round(1e3 * median, 3), "p99": round(1e3 * p99, 3)}
        print(f"  {number} nodes, leaders in {busy:<7} {1e3 * median:8.2f} / {1e3 * p99:8.2f}")
    return found


def compare_with_redis(options: argparse.Namespace) -> None:
    """Measure throughput and latency; print the result."""
    rates, theirs = compare_throughput(options)
    latencies = compare_latencies(options)
    # The first layout has one node and the smaller batches.
    name = next(iter(rates))
    value, baseline = rates[name][str(COMPARED_BLOCK)], theirs.get(ENTRIES[-1])
    p99 = max(row["p99"] for name, row in latencies.items() if name.endswith("sleep"))
    print_result(
        "relay",
        value,
        f"results per CPU-second, {name}, claims of {COMPARED_BLOCK}",
        bar=f">= {BAR_RATIO:.0f} times Redis at {ENTRIES[-1]} entries, p99 <= {BAR_P99_MS} ms with idle leaders",
        meets=None if baseline is None else value >= BAR_RATIO * baseline and p99 <= BAR_P99_MS,
        baseline=baseline,
        ratio=None if baseline is None else round(value / baseline, 1),
        idle_p99_ms=p99,
        rates=rates,
        redis=theirs,
        latencies_ms=latencies,
    )


def compare_ways(options: argparse.Namespace) -> None:
    """Print the cost of each way to make progress on this environment's MPI."""
    polling = {"MPI4PY_RC_THREAD_LEVEL": "serialized"}
    ways: list[tuple[str, list[str], dict[str, str], bool]] = [
        ("helper thread", nodes(2), {}, False),
        ("polling between", nodes(2), polling, False),
        ("dedicated leader", nodes(2, 2), polling, True),
    ]
    print(
        "2 nodes; latency median / p99 in ms by the clock, and an evaluation's time relative to that without any of it"
    )
    print("a dedicated leader costs its rank besides: 1 / ranks per node of the throughput, 3 % of 32")
    stopping = {"busy": options.activities[-1], "repeats": options.repeats}
    mpi = ""
    rows: dict[str, dict[str, Any]] = {}
    for name, layout, variables, dedicated in ways:
        rows[name] = {}
        for busy in options.activities:
            arguments = {"busy": busy, "seconds": options.seconds, "batches": options.batches}
            mpi, found = measure("latency", layout, variables, **arguments, dedicated=dedicated)
            assert found["threaded"] is (not variables)
            median, p99 = quantiles(found["latencies"])
            rows[name][busy] = {"median_ms": 1e3 * median, "p99_ms": 1e3 * p99, "slower": found["slower"]}
            print(f"  {mpi}, {name:<16} {busy:<7} {1e3 * median:8.2f} / {1e3 * p99:8.2f}   {found['slower']:.3f}")
        known = measure("stop", layout, variables, **stopping, dedicated=dedicated).found
        rows[name]["stop_ms"] = [1e3 * seconds for seconds in known]
        print(
            f"  {mpi}, {name:<16} a signal is known on all leaders after {1e3 * statistics.median(known):.1f} ms "
            f"({1e3 * min(known):.1f} to {1e3 * max(known):.1f})"
        )
    print_result(
        "relay --progress",
        round(max(rows["helper thread"][busy]["p99_ms"] for busy in options.activities), 3),
        f"ms, worst p99 with the helper thread, {mpi}",
        ways=rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--progress", action="store_true", help="compare three ways to make progress")
    parser.add_argument("--ranks", type=int, default=2, help="ranks that claim, an even number (2)")
    parser.add_argument("--items", type=int, nargs="+", default=[1000, 20_000], help="of a batch (1000 20000)")
    parser.add_argument("--batches", type=int, default=200, help="batches whose latency is measured (200)")
    parser.add_argument("--repeats", type=int, default=3, help="of throughputs and signals (3)")
    parser.add_argument("--quick", action="store_true", help="few results, and no Redis: whether it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(json.loads(options.worker))
        return
    options.results, options.seconds = 20_000, EVALUATION_SECONDS
    options.node_counts, options.activities = NODES, BUSY
    if options.quick:
        options.results, options.seconds = 500, EVALUATION_SECONDS / 10
        options.items, options.batches, options.repeats = [200], 15, 1
        options.node_counts, options.activities = NODES[:2], BUSY[:1] if options.progress else BUSY[:2]
    print_machine()
    if options.progress:
        compare_ways(options)
    else:
        compare_with_redis(options)


if __name__ == "__main__":
    main()
