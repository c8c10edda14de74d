"""Rank 1 ends the job with 75 when the file `go` is there, in the folder given; `up` tells that it waits for it."""

import sys
import time
from pathlib import Path

from mpi4py import MPI

from gamaml.parallel.service import abort

folder, world = Path(sys.argv[1]), MPI.COMM_WORLD
world.Barrier()
if world.rank == 1:
    (folder / "up").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    abort(world, 75)
time.sleep(60)
