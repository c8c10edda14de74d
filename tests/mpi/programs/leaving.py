"""Leave the loop over generations after the third, in the way that the first argument names."""

import sys

from toys import Sphere

import gamaml

way, out = sys.argv[1:]
config = {
    "ga": {"population_size": 16, "num_parents": 2, "elite": {"candidates": 2, "episodes": 2}},
    "noise": {"size": 100_000},
    "stop": {"generations": 50},
}
held = gamaml.generations(config, task=Sphere(seconds=0.01), out=out)
for info in held if way == "held" else gamaml.generations(config, task=Sphere(seconds=0.01), out=out):
    print("body", info.generation, flush=True)
    if info.generation == 2:
        if way == "break":
            break
        if way == "raise":
            raise RuntimeError("the caller's bug")
        sys.exit({"exit": 3, "held": 4}[way])
