"""Train, and print on every rank what train returned."""

import sys

from toys import Sphere

import gamaml

result = gamaml.train(
    {
        "ga": {"population_size": 16, "num_parents": 2, "elite": {"candidates": 2, "episodes": 2}},
        "noise": {"size": 100_000},
        "stop": {"generations": 3},
    },
    task=Sphere(),
    out=sys.argv[1],
)
assert isinstance(result, gamaml.TrainResult)
assert result.parameters is not None
sys.stdout.write(f"{result.num_generations}:{result.parameters.tobytes().hex()[:64]}\n")
