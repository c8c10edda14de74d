"""A meta-task of your own: fit any line from five points by three gradient steps.

The same file runs as `python examples/custom_task.py`, under `mpiexec -n 4` and under `srun`.
"""

import jax
import jax.numpy as jnp

import gamaml
from gamaml.policies import mlp


class Lines:
    """Lines y = a x + b."""

    shapes = mlp.shapes(1, 20, 1)

    def sample(self, key):
        """Return slope and intercept."""
        return jax.random.uniform(key, (2,), minval=-1.0)

    def loss(self, params, task, key):
        """Return the squared error on five points of the line."""
        x = jax.random.uniform(key, (5, 1), minval=-1.0)
        return jnp.mean((mlp.apply(params, x) - task[0] * x - task[1]) ** 2)


if __name__ == "__main__":
    inner = {"rounds": 3, "num_tasks": 32, "step_size": 0.05, "step_size_gene": "layer"}
    ga = {"population_size": 64, "num_parents": 8, "elite": {"candidates": 4, "episodes": 4}}
    config = {"inner": inner, "ga": ga, "stop": {"generations": 30}, "noise": {"size": 2**20}}
    for info in gamaml.generations(config, task=Lines(), overwrite=True):
        print(info.incumbent_returns.round(3))
