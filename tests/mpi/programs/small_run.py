"""A short run of the sphere in the folder of the first argument, with a noise table of the second's entries."""

import sys

from toys import Sphere

import gamaml

gamaml.train(
    {
        "inner": {"rounds": 1},
        "ga": {"population_size": 8, "num_parents": 2, "elite": {"candidates": 2, "episodes": 1}},
        "noise": {"size": int(sys.argv[2])},
        "stop": {"generations": 2},
    },
    task=Sphere(),
    out=sys.argv[1],
)
