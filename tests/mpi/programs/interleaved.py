"""The sphere with several seeds in one job: folder and a JSON list of seeds as arguments."""

import json
import sys
from pathlib import Path

import gamaml
from gamaml import config

seeds = json.loads(sys.argv[2])
path = Path(__file__).with_name("sphere.toml")
gamaml.train(
    [config.load(path, [f"seed={seed}"]) for seed in seeds],
    names=[f"seed{seed}" for seed in seeds],
    out=sys.argv[1],
)
