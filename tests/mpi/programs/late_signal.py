"""Get a signal when the last generation is told; the result must be whole nevertheless. Folder as argument."""

import os
import signal
import sys
import time

import numpy as np
from toys import Sphere

import gamaml


def tell(info: gamaml.GenerationInfo) -> None:
    """Interrupt this job once everything is selected."""
    if info.generation == 2:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.5)


result = gamaml.train(
    {
        "ga": {"population_size": 16, "num_parents": 4, "elite": {"candidates": 2, "episodes": 2}},
        "noise": {"size": 100_000},
        "stop": {"generations": 3},
    },
    task=Sphere(),
    out=sys.argv[1],
    on_generation=tell,
)
assert isinstance(result, gamaml.TrainResult)
assert not result.interrupted
expected = gamaml.load(result.path).incumbent_parameters()
assert result.parameters is not None
sys.stdout.write(f"{np.array_equal(result.parameters, expected)}\n")
