"""A job that ends as its first argument says: abort, exit, raise, or serve until a signal and exit 75."""

import signal
import sys
import time
from types import FrameType

from mpi4py import MPI

GRACE_SECONDS = 1.5


def serve() -> None:
    """Wait for a signal, take some time to finish, and exit with 75 on rank 0."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, ask)
    MPI.COMM_WORLD.Barrier()
    if MPI.COMM_WORLD.rank == 0:
        print("ready", flush=True)
    while not asked:
        time.sleep(0.01)
    time.sleep(GRACE_SECONDS)
    if MPI.COMM_WORLD.rank == 0:
        print("finished", flush=True)
    MPI.Finalize()
    sys.exit(75 if RANK == 0 else 0)


RANK = MPI.COMM_WORLD.rank
LAST = MPI.COMM_WORLD.size - 1
match sys.argv[1]:
    case "abort":
        if RANK == LAST:
            MPI.COMM_WORLD.Abort(75)
        MPI.COMM_WORLD.Barrier()
    case "raise":
        if RANK == LAST:
            raise RuntimeError("this rank has a bug")
        MPI.COMM_WORLD.Barrier()
    case "exit":
        MPI.Finalize()
        sys.exit(75 if RANK == 0 else 0)
    case "serve":
        serve()
    case _:
        sys.exit(f"unknown ending {sys.argv[1]}")
