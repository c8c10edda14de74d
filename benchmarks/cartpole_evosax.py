"""The other side of cartpole.py, which starts it in evosax's environment: evosax's SimpleGA on gymnax's CartPole.

    python benchmarks/cartpole_evosax.py SOLVED.npz POPULATION_SIZE HORIZON GENERATIONS

It follows evosax's own examples: jitted ask, GymnaxProblem (a scan over all steps, vmapped over the population), jitted
tell. All steps of every episode are computed, whatever the policies. It prints one JSON object: situation -> seconds of
each generation and mean steps of a child in the last one.
"""

# pyright: reportMissingImports=false
# None of these libraries is installed where gamaml is checked.

from __future__ import annotations

import json
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from evosax.algorithms import SimpleGA
from evosax.problems import GymnaxProblem
from evosax.problems.networks import MLP
from flax import linen

WARM_UP = 2
STDS = {"random": 0.1, "solved": 1e-4}


def larger_output(x: jax.Array, key: Any = None) -> jax.Array:
    return jnp.argmax(x, axis=-1)


def solved_solution(path: str) -> dict[str, Any]:
    """Return gamaml's arrays w0, b0, w1, ... as the parameters of evosax's network."""
    arrays = np.load(path)
    layers = {
        f"Dense_{i}": {"kernel": jnp.asarray(arrays[f"w{i}"]), "bias": jnp.asarray(arrays[f"b{i}"])}
        for i in range(len(arrays) // 2)
    }
    return {"params": layers}


def evolve(problem: Any, population: Any, std: float, generations: int) -> dict[str, Any]:
    """Evolve from `population`, leaves [population_size, ...]; return the results for cartpole.py."""
    size = len(jax.tree.leaves(population)[0])
    solution = jax.tree.map(lambda leaf: leaf[0], population)
    algorithm = SimpleGA(size, solution, std_schedule=optax.constant_schedule(std))
    parameters = algorithm.default_params
    key = jax.random.key(1)
    state = algorithm.init(key, population, jnp.zeros(size), parameters)
    problem_state = problem.init(key)
    seconds: list[float] = []
    fitness = jnp.zeros(size)
    for _ in range(WARM_UP + generations):
        start = time.perf_counter()
        key, ask_key, evaluation_key, tell_key = jax.random.split(key, 4)
        children, state = algorithm.ask(ask_key, state, parameters)
        fitness, problem_state, _ = problem.eval(evaluation_key, children, problem_state)
        state, _ = algorithm.tell(tell_key, children, -fitness, state, parameters)
        jax.block_until_ready(state)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds[WARM_UP:], "steps": float(fitness.mean())}


def main() -> None:
    path, size, horizon, generations = sys.argv[1], *map(int, sys.argv[2:])
    policy = MLP(layer_sizes=(32, 32, 2), activation=linen.relu, output_fn=larger_output)
    problem = GymnaxProblem("CartPole-v1", policy, episode_length=horizon, use_normalize_obs=False)
    at_random = jax.vmap(problem.sample)(jax.random.split(jax.random.key(0), size))
    solved = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)), solved_solution(path))
    populations = {"random": at_random, "solved": solved}
    print(json.dumps({name: evolve(problem, populations[name], STDS[name], generations) for name in populations}))


if __name__ == "__main__":
    main()
