"""Two populations side by side on all ranks, then one on each half of the ranks. Folder as argument."""

import sys
from pathlib import Path

from mpi4py import MPI
from toys import Sphere

import gamaml

out, world = Path(sys.argv[1]), MPI.COMM_WORLD
settings = {
    "ga": {"population_size": 16, "num_parents": 4, "elite": {"candidates": 2, "episodes": 2}},
    "noise": {"size": 100_000},
    "stop": {"generations": 5},
}
gamaml.train(settings, seeds=range(1, 3), task=Sphere(), out=out / "all", comm=world)
half = MPI.Intracomm(world.Split(world.rank % 2, world.rank))
gamaml.train({**settings, "seed": world.rank % 2 + 1}, task=Sphere(), out=out / "halves", comm=half)
half.Free()
