"""Catch on every rank the error that ends a run, in the way that the first argument names; then train again.

Folder second. Every rank writes one line: the error, and what the second training came to.
"""

import sys

from toys import Hopeless, Sphere

import gamaml
from gamaml.errors import GamamlError, RunFileError
from gamaml.runlog import Generation, RunLog

WAY, OUT = sys.argv[1:]
CONFIG = {
    "seed": 3,
    "ga": {"population_size": 16, "num_parents": 2, "elite": {"candidates": 2, "episodes": 2}},
    "noise": {"size": 100_000},
    "stop": {"generations": 4},
}


def commit_until_the_disk_is_full(log: RunLog, generation: Generation) -> None:
    """Commit, but for generation 2."""
    if generation.generation == 2:
        raise RunFileError(f"{log.path}: the disk is full")
    commit(log, generation)


commit = RunLog.commit
if WAY == "disk":
    RunLog.commit = commit_until_the_disk_is_full  # type: ignore[method-assign]
task = Hopeless(seconds=0.001) if WAY == "selection" else Sphere(seconds=0.001)
try:
    gamaml.train([CONFIG, {**CONFIG, "seed": 4}], task=task, out=OUT, names=["first", "second"])
    sys.exit("no error")
except GamamlError as error:
    caught = f"{type(error).__name__}: {error}"
RunLog.commit = commit  # type: ignore[method-assign]
if WAY == "disk":
    results = gamaml.train([CONFIG, {**CONFIG, "seed": 4}], task=task, out=OUT, names=["first", "second"], resume=True)
else:
    results = gamaml.train([CONFIG], task=Sphere(), out=OUT, names=["third"])
assert isinstance(results, list)
ends = [(result.num_generations, result.interrupted) for result in results]
sys.stdout.write(f"{caught} | {ends}\n")
