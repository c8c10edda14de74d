"""How many generations per second does gamaml reach, compared with evosax on the same task?

    python benchmarks/cartpole.py

The task is CartPole with a cap of 500 steps; the population is 1024, the network 4-32-32-2 with relu, and the larger
output decides the action. Both libraries use the same core. gamaml runs through `gamaml.train`, including the run file.
evosax 0.3.2 runs its SimpleGA with its own rollouts of gymnax's CartPole, in the environment `.venv-evosax`, which the
script makes if it is missing (about 1 GB). Both libraries take turns in two situations:

- random: initial policies, whose episodes mostly end early. gamaml runs the first generations of many populations.
- solved: children of policies that hold the pole, made with tiny mutations, so all live for 500 steps.

The dynamics are the same as in gymnax and Gymnasium: Barto, Sutton and Anderson 1983, with Euler's method. `--quick`
only tries the script, without evosax if its environment is missing.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import evosax_environment as evosax
import gamaml
from gamaml.policies import mlp
from gamaml.policies.flat import Layout
from report import print_machine, print_result

BARS = {"random": 1.5, "solved": 1.2}
HIDDEN = (32, 32)
SOLVED = 0.99
"""The task counts as solved when a population takes this share of the possible steps."""


class CartPole:
    """Hold a pole upright on a cart that is pushed to the left or to the right.

    Args:
        horizon: steps after which an episode is cut.
    """

    observation_size, action_size = 4, 2

    def __init__(self, horizon: int = 500) -> None:
        self.horizon = horizon

    def sample(self, key: Any) -> Any:
        """Return the one task."""
        return ()

    def reset(self, task: Any, key: Any) -> Any:
        """Return (state, observation): position, velocity, angle, angular velocity near 0, float32[4]."""
        import jax

        state = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return state, state

    def step(self, state: Any, action: Any, task: Any, key: Any) -> Any:
        """Push to the right if the second of the action's two entries is the larger one."""
        import jax.numpy as jnp

        x, x_dot, theta, theta_dot = state
        force = jnp.where(action[1] > action[0], 10.0, -10.0)
        cos, sin = jnp.cos(theta), jnp.sin(theta)
        push = (force + 0.05 * theta_dot**2 * sin) / 1.1
        theta_acc = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        x_acc = push - 0.05 * theta_acc * cos / 1.1
        state = state + 0.02 * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])
        done = (jnp.abs(state[0]) > 2.4) | (jnp.abs(state[2]) > 12 * 2 * math.pi / 360)
        return state, state, jnp.ones(()), done


def config(options: argparse.Namespace, generations: int, **ga: Any) -> dict[str, Any]:
    return {
        "policy": {"hidden": list(HIDDEN), "std": 0.0, "std_gene": False},
        "inner": {"rounds": 0, "num_tasks": 1, "episodes": 1, "batch_size": options.batch_size},
        # SimpleGA re-evaluates no elite.
        "ga": {"population_size": options.population_size, "elite": {"candidates": 0}, **ga},
        "noise": {"size": 2**22},
        "stop": {"generations": generations},
    }


class Generations:
    """Receives a run's report of every generation."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.steps: list[int] = []

    def __call__(self, info: gamaml.GenerationInfo) -> None:
        """Note one generation."""
        self.times.append(time.perf_counter())
        self.steps.append(info.steps)

    def seconds(self, number: int) -> list[float]:
        """Return the seconds of each of the last `number` generations."""
        return np.diff(self.times)[-number:].tolist()


def random_generations(task: CartPole, options: argparse.Namespace, folder: str) -> Generations:
    """Run the first generation of many populations, one after the other."""
    told = Generations()
    seeds = range(options.generations + 1)
    gamaml.train(config(options, 1), seeds=seeds, task=task, out=folder, overwrite=True, on_generation=told)
    return told


def solved_generations(task: CartPole, options: argparse.Namespace, folder: str) -> tuple[Generations, Any]:
    """Learn the task while the mutations fade, then continue; also return the elite's parameters."""
    told, learning = Generations(), options.learning
    fading = {"mutation_std": 0.3, "mutation_std_final": 1e-4, "mutation_std_generations": learning}
    settings = config(options, learning + options.generations, **fading)
    result = gamaml.train(settings, task=task, out=folder, names=["solved"], overwrite=True, on_generation=told)
    assert isinstance(result, gamaml.TrainResult) and result.parameters is not None
    share = min(told.steps[learning:]) / (options.population_size * task.horizon)
    if share < SOLVED and not options.quick:
        sys.exit(f"cartpole.py: expected a solved task, got {share:.1%} of all steps; raise --learning")
    return told, result.parameters


def run_evosax(parameters: Any, options: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Return the seconds per generation and mean steps of evosax in each situation."""
    arrays = Layout.of(mlp.shapes(4, *HIDDEN, 2)).unflatten(parameters)
    path = Path(folder) / "solved.npz"
    np.savez(path, **arrays)
    sizes = (options.population_size, options.horizon, options.generations)
    command = evosax.command("cartpole_evosax.py", path, *sizes)
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=evosax.ENVIRONMENT)
    if done.returncode != 0:
        sys.exit(f"cartpole.py: evosax ended with {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def rate(seconds: Sequence[float]) -> float:
    return 1 / statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=20, help="per situation, library and repeat (20)")
    parser.add_argument("--repeats", type=int, default=3, help="how often both libraries take turns (3)")
    parser.add_argument("--batch-size", type=int, default=64, help="gamaml's inner.batch_size (64)")
    parser.add_argument("--learning", type=int, default=50, help="generations in which gamaml learns the task (50)")
    parser.add_argument("--quick", action="store_true", help="a small population and few steps: whether it runs")
    options = parser.parse_args()
    options.population_size, options.horizon = (32, 20) if options.quick else (1024, 500)
    if options.quick:
        options.generations, options.repeats, options.batch_size, options.learning = 3, 1, 16, 3
    else:
        evosax.make()
    # Threads and evosax's process inherit the affinity, so both libraries use only one core.
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    print_machine()
    print(f"population {options.population_size}, {options.horizon} steps, on core {core} alone")

    task = CartPole(options.horizon)
    seconds: dict[str, dict[str, list[float]]] = {name: {"random": [], "solved": []} for name in ("gamaml", "evosax")}
    steps: dict[str, dict[str, float]] = {name: {} for name in seconds}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            at_random = random_generations(task, options, folder)
            solved, parameters = solved_generations(task, options, folder)
            for situation, told in (("random", at_random), ("solved", solved)):
                seconds["gamaml"][situation] += told.seconds(options.generations)
                mean = statistics.mean(told.steps[-options.generations :]) / options.population_size
                steps["gamaml"][situation] = mean
            if evosax.is_complete():
                for situation, told in run_evosax(parameters, options, folder).items():
                    seconds["evosax"][situation] += told["seconds"]
                    steps["evosax"][situation] = told["steps"]
    report(seconds, steps)


def report(seconds: dict[str, dict[str, list[float]]], steps: dict[str, dict[str, float]]) -> None:
    rates: dict[str, dict[str, float]] = {}
    ratios: dict[str, float] = {}
    for name, situations in seconds.items():
        for situation, values in situations.items():
            if not values:
                print(f"{name:<8} {situation:<8} not measured: no complete environment {evosax.PATH.name}")
                continue
            rates.setdefault(name, {})[situation] = round(rate(values), 3)
            low, high = np.percentile(values, (10, 90))
            print(
                f"{name:<8} {situation:<8} {rate(values):6.2f} generations/s: {1e3 / rate(values):6.1f} ms "
                f"({1e3 * low:.1f} to {1e3 * high:.1f}), {steps[name][situation]:.1f} steps per child"
            )
            if name == "evosax":
                ratios[situation] = round(rate(seconds["gamaml"][situation]) / rate(values), 3)
                print(f"{'':<8} {situation:<8} gamaml is {ratios[situation]:.2f} times as fast")
    print_result(
        "cartpole",
        rates["gamaml"]["solved"],
        "generations per second, solved policies",
        bar=" and ".join(f">= {bar} times evosax ({situation})" for situation, bar in BARS.items()),
        meets=all(ratios[situation] >= bar for situation, bar in BARS.items()) if ratios else None,
        baseline=rates["evosax"]["solved"] if ratios else None,
        ratio=ratios["solved"] if ratios else None,
        generations_per_second=rates,
        ratios=ratios,
        steps_per_child={name: {key: round(value, 1) for key, value in found.items()} for name, found in steps.items()},
    )


if __name__ == "__main__":
    main()
