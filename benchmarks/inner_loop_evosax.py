"""The other side of inner_loop.py, which starts it in evosax's environment: gamaml's navigation example by evosax.

    python benchmarks/inner_loop_evosax.py '{"population_size": 64, "rounds": 3, ...}'

A generation is one jitted program: evosax's SimpleGA asks, all children run the whole inner loop side by side by
`jax.vmap`, SimpleGA tells. Every line on stdin asks for one turn of generations; the answer on stdout is the number of
evaluations per CPU-second of this process.
"""

# pyright: reportMissingImports=false
# None of these libraries is installed where gamaml is checked.

from __future__ import annotations

import json
import sys
import time
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from evosax.algorithms import SimpleGA

MAX_VELOCITY, GOAL_BOUND, GOAL_DISTANCE = 0.1, 0.5, 0.01


def forward(network: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    x = jax.nn.relu(x @ network["w0"] + network["b0"])
    x = jax.nn.relu(x @ network["w1"] + network["b1"])
    return x @ network["w2"] + network["b2"]


def play(sizes: Any, network: Any, std: jax.Array, goal: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
    """Return positions, actions, rewards and whether the episode still ran, each with a leading dimension [horizon]."""

    def step(now: Any, noise: jax.Array) -> Any:
        position, alive = now
        action = forward(network, position) + std * noise
        moved = position + jnp.clip(action, -MAX_VELOCITY, MAX_VELOCITY)
        squared = jnp.sum((moved - goal) ** 2)
        following = jnp.where(alive, moved, position), alive & (squared >= GOAL_DISTANCE**2)
        return following, (position, action, jnp.where(alive, -squared, 0.0), alive)

    noise = jax.random.normal(key, (sizes.horizon, 2))
    return jax.lax.scan(step, (jnp.zeros(2), jnp.array(True)), noise)[1]


def advantages(sizes: Any, rewards: jax.Array, alive: jax.Array) -> jax.Array:
    """Return normalised rewards-to-go above the mean of the episodes at the same step, [episodes, horizon]."""

    def add(following: jax.Array, reward: jax.Array) -> tuple[jax.Array, jax.Array]:
        total = reward + sizes.discount * following
        return total, total

    to_go = jax.lax.scan(add, jnp.zeros(len(rewards)), rewards.T, reverse=True)[1].T
    mean = jnp.sum(to_go * alive, axis=0) / jnp.maximum(jnp.sum(alive, axis=0), 1)
    above = (to_go - mean) * alive
    centred = (above - jnp.sum(above) / jnp.sum(alive)) * alive
    return centred / (jnp.sqrt(jnp.sum(centred**2) / jnp.sum(alive)) + 1e-8)


def loss(network: Any, std: jax.Array, batch: tuple[jax.Array, ...], weights: jax.Array) -> jax.Array:
    positions, actions, _, alive = batch
    log_probs = jax.scipy.stats.norm.logpdf(actions, forward(network, positions), std).sum(axis=-1)
    return -jnp.sum(log_probs * weights) / jnp.sum(alive)


def adapted_return(sizes: Any, genome: Any, goal: jax.Array, key: jax.Array) -> jax.Array:
    """Return the mean return on one task after the last round."""
    std = jnp.exp(genome["log_std"])
    step_sizes = jax.tree.map(jnp.exp, genome["log_step_sizes"])

    def collect(network: Any, key: jax.Array) -> Any:
        return jax.vmap(partial(play, sizes, network, std, goal))(jax.random.split(key, sizes.episodes))

    def update(network: Any, key: jax.Array) -> Any:
        batch = collect(network, key)
        gradient = jax.grad(loss)(network, std, batch, advantages(sizes, batch[2], batch[3]))
        return jax.tree.map(lambda array, step, size: array - size * step, network, gradient, step_sizes), None

    *rounds, last = jax.random.split(key, sizes.rounds + 1)
    network = jax.lax.scan(update, genome["network"], jnp.stack(rounds))[0]
    return jnp.mean(jnp.sum(collect(network, last)[2], axis=1))


def fitness(sizes: Any, genome: Any, goals: jax.Array, key: jax.Array) -> jax.Array:
    return jnp.mean(jax.vmap(partial(adapted_return, sizes, genome))(goals, jax.random.split(key, sizes.num_tasks)))


def genomes(sizes: Any, key: jax.Array) -> Any:
    """Return a population of initial genomes."""
    shapes = {"w0": (2, sizes.width), "w1": (sizes.width, sizes.width), "w2": (sizes.width, 2)}
    scales = {"w0": 1.0, "w1": (2 / sizes.width) ** 0.5, "w2": 0.01 * (2 / sizes.width) ** 0.5}
    network = {
        name: scales[name] * jax.random.normal(key, (sizes.population_size, *shape))
        for key, (name, shape) in zip(jax.random.split(key, 3), shapes.items(), strict=True)
    }
    network |= {f"b{name[1]}": jnp.zeros((sizes.population_size, shape[-1])) for name, shape in shapes.items()}
    numbers = jnp.zeros(sizes.population_size)
    log_step_sizes = {name: numbers + jnp.log(sizes.step_size) for name in network}
    return {"network": network, "log_step_sizes": log_step_sizes, "log_std": numbers + jnp.log(sizes.std)}


def main() -> None:
    sizes = SimpleNamespace(**json.loads(sys.argv[1]))
    population = genomes(sizes, jax.random.key(0))
    solution = jax.tree.map(lambda leaf: leaf[0], population)
    schedule = optax.constant_schedule(sizes.mutation_std)
    algorithm = SimpleGA(sizes.population_size, solution, std_schedule=schedule)
    parameters = algorithm.default_params

    @jax.jit
    def generation(state: Any, key: jax.Array) -> Any:
        ask_key, task_key, episode_key, tell_key = jax.random.split(key, 4)
        children, state = algorithm.ask(ask_key, state, parameters)
        goals = jax.random.uniform(task_key, (sizes.num_tasks, 2), minval=-GOAL_BOUND, maxval=GOAL_BOUND)
        keys = jax.random.split(episode_key, sizes.population_size)
        found = jax.vmap(partial(fitness, sizes), in_axes=(0, None, 0))(children, goals, keys)
        return algorithm.tell(tell_key, children, -found, state, parameters)[0], jnp.max(found)

    state = algorithm.init(jax.random.key(1), population, jnp.zeros(sizes.population_size), parameters)
    key = jax.random.key(2)
    state, best = jax.block_until_ready(generation(state, key))
    print(f"compiled; best return {best:.1f}", flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        for _ in range(sizes.generations):
            key = jax.random.split(key, 1)[0]
            state, best = jax.block_until_ready(generation(state, key))
        rate = sizes.generations * sizes.population_size / (time.process_time() - start)
        print(json.dumps({"rate": rate, "best": float(best)}), flush=True)


if __name__ == "__main__":
    main()
