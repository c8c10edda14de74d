"""The ancestors' path of a result to the master. relay.py runs it in an environment with redis-py, for comparison.

    python redis_path.py RESULTS ENTRIES

A worker pushes each pickled (task id, genome, return) to the Redis of its node over a unix socket; a relay process pops
the waiting results, waits 1 ms for more, and pushes them to the master's Redis over TCP; the master pops and unpickles.
Two workers push as fast as they can. The script prints the results that the master receives per CPU-second of all these
processes, servers included.
"""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis  # pyright: ignore[reportMissingImports] (in an environment of its own)

KEY = "results"
NUM_WORKERS = 2
BATCH_SECONDS = 1e-3


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_server(folder: Path, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    command = ["redis-server", "--save", "", "--appendonly", "no", "--dir", str(folder), *arguments]
    return subprocess.Popen(command, stdout=(folder / name).open("wb"), stderr=subprocess.STDOUT)


def wait_for(client: redis.Redis) -> redis.Redis:
    for _ in range(500):
        try:
            client.ping()
            return client
        except redis.ConnectionError:
            time.sleep(0.01)
    raise SystemExit("redis_path.py: expected redis-server to answer within 5 s, got nothing")


def work(path: str, results: int, entries: int) -> None:
    client = redis.Redis(unix_socket_path=path)
    genome = [123_456_789 + index for index in range(entries)]
    for task in range(results):
        client.rpush(KEY, pickle.dumps((task, genome, 1.5)))


def relay(path: str, port: int) -> None:
    local, master = redis.Redis(unix_socket_path=path), redis.Redis(port=port)
    while True:
        batch = [local.blpop(KEY)[1]]
        until = time.monotonic() + BATCH_SECONDS
        while time.monotonic() < until:
            more = local.lpop(KEY)
            if more is None:
                break
            batch.append(more)
        master.rpush(KEY, *batch)


def main() -> None:
    results, entries = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        path, port = str(Path(folder) / "relay.sock"), free_port()
        servers = [
            start_server(Path(folder), "relay.log", "--port", "0", "--unixsocket", path),
            start_server(Path(folder), "master.log", "--port", str(port), "--bind", "127.0.0.1"),
        ]
        processes: list[multiprocessing.Process] = []
        try:
            wait_for(redis.Redis(unix_socket_path=path))
            master = wait_for(redis.Redis(port=port))
            processes.append(multiprocessing.Process(target=relay, args=(path, port)))
            share = results // NUM_WORKERS
            processes += [multiprocessing.Process(target=work, args=(path, share, entries)) for _ in range(NUM_WORKERS)]
            for process in processes:
                process.start()
            start = time.process_time()
            for _ in range(NUM_WORKERS * share):
                pickle.loads(master.blpop(KEY)[1])
            spent = time.process_time() - start
        finally:
            for process in processes:
                process.kill()
                process.join()
            for server in servers:
                server.kill()
                server.wait()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(NUM_WORKERS * share / (spent + children.ru_utime + children.ru_stime))


if __name__ == "__main__":
    main()
