"""How many results reach rank 0 in a second, and how long is one on its way?

    python benchmarks/relay.py                  # throughput and latency, beside the ancestors' Redis
    python benchmarks/relay.py --progress       # three ways to make progress beside a busy main thread, on this MPI

Throughput: ranks claim, record and hand over as a run does it, with an empty evaluation in between; the leaders gather
to rank 0, which opens the next batch. Claims are of one item and of blocks; a run claims short children in blocks of
about 2 ms. Beside it, in the same run, the ancestors' path (redis_path.py): pickled results by way of a Redis per node.

Latency: from the hand-over of the last record of a share until rank 0 holds all of them, with leaders that sleep
meanwhile, or are inside NumPy, a loop of Python, or a compiled JAX call of 20 ms.

Progress: the same latency, and how much longer the main thread takes for its own work, (a) with the helper thread that
a run has, (b) polling between evaluations, which is what an MPI below MPI_THREAD_MULTIPLE gets, and (c) on a leader
that evaluates nothing. And how soon a SIGTERM to one rank is known on all, while the main threads are in one JAX call.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.parallel.board import Board, Kind
from gamaml.parallel.guard import Guard
from gamaml.parallel.relay import END, Command, Relay, split
from gamaml.parallel.service import Service
from gamaml.parallel.signals import SignalWatch
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from gamaml.population import DONE, lineage_of, record_dtype
from report import print_machine, print_result, run_ranks

BAR_RATIO, BAR_P99 = 100.0, 2e-3
DTYPE = record_dtype(0)
FLAGS_NBYTES = 64
BLOCKS = (1, 8, 64, 256, 1024)
ENTRIES = (1, 100, 1000)
NODES = (1, 2, 3, 4)
BUSY = ("sleep", "NumPy", "Python", "JAX")
BUSY_SECONDS = 0.02
CALL_SECONDS, SIGNAL_AFTER_SECONDS = 4.0, 1.0
REDIS = Path(__file__).resolve().parents[1] / ".venv-redis"


class Job:
    """One population's board, relay and service on this rank, without an evolution: batches of empty children.

    Args:
        topology: the job.
        window: of FLAGS_NBYTES and a board.
        num_items: of a batch.
        num_batches: after which the job ends.
    """

    def __init__(self, topology: Topology, window: SharedWindow, watch: SignalWatch, items: int, batches: int) -> None:
        self._topology, self._num_items, self._num_batches = topology, items, batches
        self.board = Board(window, FLAGS_NBYTES, items, 1, DTYPE)
        self._comm = topology.relay.Dup() if topology.is_leader else None
        relays = [] if self._comm is None else [Relay(self._comm, self.board, items, 1, DTYPE)]
        self._relay = relays[0] if topology.is_root else None
        self._posted = self._received = 0
        self.latencies: list[float] = []
        self.service = Service(
            topology,
            window,
            relays,
            watch,
            master=self._advance if topology.is_root else None,
            on_give_up=lambda: None,
        )

    def close(self) -> None:
        """Wait for all ranks. Collective."""
        self.service.leave()
        if self._comm is not None:
            self._comm.Free()

    def _advance(self, closing: bool) -> bool:
        """Take results and give the next batch, as the evolution does; on rank 0, in the service thread."""
        relay = self._relay
        if relay is None or not relay.idle:
            return False
        results = relay.take_results()
        if results is not None and not closing:
            assert len(results) == self._num_items
            self.latencies.append(1e-9 * (time.monotonic_ns() - int(results["steps"].max())))
        if closing or self._posted == self._num_batches:
            relay.post(Command(END, self._posted, 0, lineage_of([])))
            return True
        shares = split(self._num_items, self._topology.node_sizes)
        relay.post(
            Command(
                Kind.CHILDREN,
                self._posted,
                0,
                lineage_of([]),
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


def throughput(topology: Topology, options: Mapping[str, Any]) -> dict[str, float]:
    """Return results per second by block size."""
    found: dict[str, float] = {}
    for block in options["blocks"]:
        batches = max(2, options["results"] * min(block, 64) // options["items"])
        with (
            SharedWindow(topology.node, FLAGS_NBYTES + Board.nbytes(options["items"], 1, DTYPE), clear=True) as window,
            SignalWatch(None) as watch,
        ):
            job = Job(topology, window, watch, options["items"], batches)
            topology.world.Barrier()
            start = time.perf_counter()
            job.service.start()
            while not job.board.ended():
                if not job.claim_and_hand_over(block):
                    time.sleep(20e-6)
            job.close()
            found[str(block)] = batches * options["items"] / (time.perf_counter() - start)
    return found


def busy_with(kind: str) -> Callable[[], object]:
    """Return something that keeps the main thread busy for about BUSY_SECONDS."""
    if kind == "sleep":
        return lambda: time.sleep(BUSY_SECONDS)
    matrix = np.random.default_rng(0).standard_normal((100, 100), np.float32)
    if kind == "NumPy":

        def product() -> None:
            value = matrix
            for _ in range(1000):
                value = np.tanh(value @ matrix)

        return repeated(product)
    if kind == "Python":
        return repeated(lambda: sum(range(100_000)))
    return jax_call(BUSY_SECONDS)


def repeated(action: Callable[[], object]) -> Callable[[], object]:
    """Return `action`, as often as makes BUSY_SECONDS when nothing else runs."""
    action()
    start = time.perf_counter()
    action()
    times = max(1, round(BUSY_SECONDS / (time.perf_counter() - start)))

    def run() -> None:
        for _ in range(times):
            action()

    return run


def jax_call(seconds: float) -> Callable[[], object]:
    """Return one compiled call that takes about `seconds`."""
    import jax  # only here, because it takes seconds to import
    import jax.numpy as jnp

    @jax.jit
    def loop(matrix: jax.Array, times: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, times, lambda _, value: jnp.tanh(value @ matrix), matrix)

    matrix, times = jnp.eye(64), 1000
    loop(matrix, times).block_until_ready()
    start = time.perf_counter()
    loop(matrix, times).block_until_ready()
    times = int(times * seconds / (time.perf_counter() - start))
    return lambda: loop(matrix, times).block_until_ready()


def latency(topology: Topology, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return latencies in seconds, and how much longer a busy main thread takes than alone."""
    kind, dedicated = options["busy"], options["dedicated"]
    evaluates = not (dedicated and topology.is_leader)
    busy = busy_with(kind)
    topology.world.Barrier()
    alone = [timed(busy) for _ in range(20)] if evaluates else [1.0]
    items = topology.num_nodes
    beside: list[float] = []
    with (
        SharedWindow(topology.node, FLAGS_NBYTES + Board.nbytes(items, 1, DTYPE), clear=True) as window,
        SignalWatch(None) as watch,
    ):
        job = Job(topology, window, watch, items, options["batches"])
        topology.world.Barrier()
        job.service.start()
        while not job.board.ended():
            if evaluates:
                job.claim_and_hand_over(1)
                beside.append(timed(busy))
            else:
                time.sleep(50e-6 if not job.service.threaded else BUSY_SECONDS)
            if not job.service.threaded:
                job.service.tick()
        job.close()
    slower = float(np.median(beside) / np.median(alone)) if evaluates else 1.0
    slowest = max(topology.world.allgather(slower))
    return {"latencies": job.latencies, "slower": slowest, "threaded": job.service.threaded}


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def stop(topology: Topology, options: Mapping[str, Any]) -> list[float]:
    """Return after how many seconds each rank knew of a SIGTERM to the last one, all being inside one JAX call."""
    call = jax_call(CALL_SECONDS)
    with (
        SharedWindow(topology.node, FLAGS_NBYTES + Board.nbytes(1, 1, DTYPE), clear=True) as window,
        SignalWatch(None) as watch,
    ):
        watch.serve()
        job = Job(topology, window, watch, 1, 10**6)
        known = sent = 0.0

        def wait_for_it() -> None:
            nonlocal known
            while not job.service.stopping:
                time.sleep(1e-3)
            known = time.monotonic()

        def send() -> None:
            nonlocal sent
            time.sleep(SIGNAL_AFTER_SECONDS)
            sent = time.monotonic()
            if topology.rank == topology.size - 1:
                os.kill(os.getpid(), signal.SIGTERM)

        threads = [threading.Thread(target=target) for target in (wait_for_it, send)]
        topology.world.Barrier()
        job.service.start()
        for thread in threads:
            thread.start()
        call()
        while not job.board.ended():
            job.claim_and_hand_over(1)
            time.sleep(1e-3)
            if not job.service.threaded:
                job.service.tick()
        for thread in threads:
            thread.join()
        job.close()
    return topology.world.allgather(known - topology.world.bcast(sent, topology.size - 1))


MEASUREMENTS: dict[str, Callable[[Topology, Mapping[str, Any]], Any]] = {
    "throughput": throughput,
    "latency": latency,
    "stop": stop,
}


def work(arguments: Mapping[str, Any]) -> None:
    """Measure as one of the ranks; rank 0 prints."""
    with Topology() as topology, Guard(topology):
        found = MEASUREMENTS[arguments["what"]](topology, arguments)
        if topology.is_root:
            print(json.dumps(found))


def measure(what: str, layout: list[str], variables: Mapping[str, str] | None = None, **arguments: Any) -> Any:
    os.environ.update(variables or {})
    try:
        return json.loads(run_ranks(__file__, layout, {"what": what, **arguments}).splitlines()[-1])
    finally:
        for name in variables or {}:
            del os.environ[name]


def nodes(number: int, ranks: int = 1) -> list[str]:
    return ["--nodes", ",".join([str(ranks)] * number)]


def redis_path(results: int) -> dict[int, float] | None:
    """Return results per second of the ancestors' path by entries of the genome; None without redis-server."""
    if shutil.which("redis-server") is None:
        print("no baseline: expected redis-server on PATH, got none; apt-get install redis-server")
        return None
    python = REDIS / "bin" / "python"
    if not python.exists():
        venv.create(REDIS, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", "redis>=5,<7"], check=True)
    found: dict[int, float] = {}
    for entries in ENTRIES:
        command = [python, Path(__file__).with_name("redis_path.py"), str(results), str(entries)]
        found[entries] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def quantiles(seconds: list[float]) -> tuple[float, float]:
    """Return median and 99th percentile, without the first ten, which pay for warming up."""
    values = np.array(seconds[10:] or seconds)
    return float(np.median(values)), float(np.quantile(values, 0.99))


def compare_ways(batches: int, activities: Sequence[str]) -> None:
    """Print what each way to make progress costs on this environment's MPI."""
    polling = {"MPI4PY_RC_THREAD_LEVEL": "serialized"}
    ways: list[tuple[str, list[str], dict[str, str], bool]] = [
        ("helper thread", nodes(2), {}, False),
        ("polling between", nodes(2), polling, False),
        ("dedicated leader", nodes(2, 2), polling, True),
    ]
    print("2 nodes; latency median / p99 in ms, and the main thread's time relative to working alone")
    medians: dict[str, dict[str, Any]] = {}
    for name, layout, variables, dedicated in ways:
        rows = medians[name] = {}
        for busy in activities:
            found = measure("latency", layout, variables, busy=busy, batches=batches, dedicated=dedicated)
            assert found["threaded"] is (not variables)
            median, p99 = quantiles(found["latencies"])
            rows[busy] = {"median": median, "p99": p99, "slower": found["slower"]}
            print(f"  {name:<17} {busy:<7} {1e3 * median:8.2f} / {1e3 * p99:8.2f}   {found['slower']:.2f}")
        if not dedicated:
            known = measure("stop", layout, variables)
            rows["stop"] = known
            print(
                f"  {name:<17} a signal is known on all ranks after {max(known):.3f} s, in a call of {CALL_SECONDS} s"
            )
    print_result(
        "relay progress",
        round(1e3 * max(row["p99"] for busy, row in medians["helper thread"].items() if busy != "stop"), 3),
        "ms, worst p99 with the helper thread",
        ways=medians,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--progress", action="store_true", help="compare three ways to make progress")
    parser.add_argument("--ranks", type=int, default=2, help="ranks that claim, on one node (2)")
    parser.add_argument("--items", type=int, default=20_000, help="items of a batch (20,000)")
    parser.add_argument("--batches", type=int, default=200, help="batches whose latency is measured (200)")
    parser.add_argument("--quick", action="store_true", help="few results, and no Redis: whether it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(json.loads(options.worker))
        return
    print_machine()
    results, items, batches = (500, 200, 15) if options.quick else (50_000, options.items, options.batches)
    node_counts, activities = (NODES[:2], BUSY[:2]) if options.quick else (NODES, BUSY)
    if options.progress:
        compare_ways(batches, activities)
        return
    layout = ["-n", str(options.ranks)]
    rates = measure("throughput", layout, blocks=BLOCKS, results=results, items=items)
    print(f"results per second, {options.ranks} ranks on one node, batches of {items}:")
    for block, rate in rates.items():
        print(f"  claims of {block:>5}: {rate:12,.0f}")
    theirs = None if options.quick else redis_path(results // 2)
    for entries, rate in (theirs or {}).items():
        print(f"  Redis, {entries:>5} genome entries: {rate:,.0f}")
    idle: list[float] = []
    found: dict[str, dict[str, float]] = {}
    print("latency from the last record to rank 0, median / p99 in ms:")
    for number, busy in itertools.product(node_counts, activities):
        measured = measure("latency", nodes(number), busy=busy, batches=batches, dedicated=False)
        median, p99 = quantiles(measured["latencies"])
        found[f"{number} nodes, {busy}"] = {"median": median, "p99": p99}
        idle += [p99] if busy == "sleep" else []
        print(f"  {number} nodes, leaders in {busy:<7} {1e3 * median:8.2f} / {1e3 * p99:8.2f}")
    best = max(rates.values())
    ratio = None if theirs is None else best / theirs[ENTRIES[-1]]
    print_result(
        "relay",
        round(best),
        f"results per second, claims of {max(rates, key=lambda block: rates[block])}",
        bar=f">= {BAR_RATIO:.0f} times Redis at {ENTRIES[-1]} entries, p99 <= {1e3 * BAR_P99} ms with idle leaders",
        meets=None if ratio is None else ratio >= BAR_RATIO and max(idle) <= BAR_P99,
        baseline=None if theirs is None else round(theirs[ENTRIES[-1]]),
        ratio=None if ratio is None else round(ratio, 1),
        rates=rates,
        redis=theirs,
        latencies=found,
    )


if __name__ == "__main__":
    main()
