"""How far is an evaluation from the machine's limit?

    python benchmarks/inner_loop.py
    python benchmarks/inner_loop.py --rows navigation,ant_direction --turns 9

Each row compares gamaml with what does the same work, in one run and in turn, by rates per CPU-second; other load on
the machine affects the ratio of two neighbouring turns least. The ratio of a row is the median over the turns.

- navigation, demo, sinusoid: evaluations of a whole run of the GA, configs/NAME.toml, through `gamaml.train`, on one
  rank, against a C loop of the same inner loop (navigation.c, sinusoid.c), which is compiled when the script runs. The
  run's CPU time is that of the whole process, from one pause between generations to another; the C loop takes its turns
  in the pauses. The first generation, with start-up and compilation, does not count. Before, the C loop evaluates some
  networks on gamaml's own draws, and must return what gamaml returns.
- navigation_alone: the same with `problem.evaluate` in place of the run.
- cheetah_direction, ant_direction: environment steps of the config's evaluations, updates included, against
  `mujoco.mj_step` alone, with the same model and frame skip, from seeded resets, with an untrained policy's random
  actions and an `MjData` of its own for each episode.
- evosax: evaluations of a whole run of navigation against the same evolution by evosax 0.3.2 as one jitted program
  (inner_loop_evosax.py), in the environment `.venv-evosax`, which the script makes if it is missing (about 1 GB); that
  process measures its own CPU time. Here the ratio is gamaml's rate over the other.
- evosax_alone: the same with `problem.evaluate` in place of the run.
- memory: MiB of temporary memory of navigation's compiled program.

Everything is pinned to one core. The script needs a C compiler, `cc`; the MuJoCo rows are left out where it is not
installed: pip install 'gamaml[mujoco]'. `--quick` only tries it, without evosax if its environment is missing.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import evosax_environment as evosax
import gamaml
from gamaml import config as cfg
from gamaml.config import Config
from gamaml.evolution import streams
from gamaml.problems import make_problem
from gamaml.types import EvaluationKey, Float32Array
from report import print_machine, print_result

FOLDER = Path(__file__).resolve().parent
CONFIGS = FOLDER / "configs"
QUICK_RUN = ("ga.population_size=8", "ga.num_parents=4", "ga.elite.candidates=0")
MIB = 2**20

Side = Callable[[], float]
"""One turn: works for some CPU time, and returns its rate per CPU-second."""

Rates = list[tuple[float, float]]
"""The rates of gamaml and of the other side, turn by turn."""


class Row(NamedTuple):
    """A comparison.

    Attributes:
        example: name of the config in configs/.
        unit: what is counted.
        bar: the most that the ratio of the other side to gamaml may be.
        at_least: whether it is the least instead, and the ratio that of gamaml to the other side.
        generations: of a run, per turn, so that a turn takes about a second.
    """

    example: str
    unit: str
    bar: float
    at_least: bool = False
    generations: int = 1

    @property
    def sign(self) -> str:
        """The bar's sign."""
        return ">=" if self.at_least else "<="

    def share(self, value: float) -> float:
        """Return how far a value is from the bar: at most 1 where it meets the bar."""
        return round(self.bar / value if self.at_least else value / self.bar, 3)


ROWS = {
    "navigation": Row("navigation", "evaluations", 3.2),
    "navigation_alone": Row("navigation", "evaluations", 3.2),
    "demo": Row("demo", "evaluations", 3.3),
    "sinusoid": Row("sinusoid", "evaluations", 3.0, generations=10),
    "cheetah_direction": Row("cheetah_direction", "steps", 1.35),
    "ant_direction": Row("ant_direction", "steps", 1.3),
    "evosax": Row("navigation", "evaluations", 2.3, at_least=True),
    "evosax_alone": Row("navigation", "evaluations", 2.3, at_least=True),
    "memory": Row("navigation", "MiB", 2.5),
}
ENVIRONMENTS = {"cheetah_direction": "HalfCheetah-v5", "ant_direction": "Ant-v5"}
EVOSAX = {"evosax", "evosax_alone"}


class CLoop:
    """An inner loop in C.

    Args:
        config: the row's config.
        folder: for the compiled library.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        inner, settings = config.inner, config.task.settings
        assert len(config.policy.hidden) == 2 and len(set(config.policy.hidden)) == 1
        sizes = {"WIDTH": config.policy.hidden[0], "TASKS": inner.num_tasks, "ROUNDS": inner.rounds}
        if config.task.name == "navigation":
            sizes |= {"EPISODES": inner.episodes, "HORIZON": 100}
            sizes |= {"STD": f"{config.policy.std}f", "DISCOUNT": f"{inner.discount}f"}
        else:
            sizes |= {"SHOTS": settings["shots"], "QUERY": settings["query"]}
        self._evaluate = _compiled(config.task.name, sizes, folder).evaluate
        self._evaluate.argtypes = [*[ctypes.c_void_p] * 2, ctypes.c_uint32, *[ctypes.c_void_p] * 3]
        self._step_sizes = np.full(6, inner.step_size, np.float32)
        self._num_returns = inner.rounds + 1

    def __call__(self, params: Float32Array, seed: int, draws: tuple[Float32Array, Float32Array] | None = None) -> Any:
        """Return float32[rounds + 1], the mean return or loss, with the C loop's own draws unless some are given."""
        returns = np.empty(self._num_returns, np.float32)
        pointers = (None, None) if draws is None else [array.ctypes.data for array in draws]
        self._evaluate(params.ctypes.data, self._step_sizes.ctypes.data, seed, *pointers, returns.ctypes.data)
        return returns


def _compiled(name: str, sizes: Mapping[str, object], folder: Path) -> ctypes.CDLL:
    code, library = folder / f"{name}.o", folder / f"{name}-{sizes['ROUNDS']}.so"
    defined = [f"-D{size}={value}" for size, value in sizes.items()]
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC"]
    subprocess.run(["cc", *flags, *defined, "-c", FOLDER / f"{name}.c", "-o", code], check=True)
    # Linked apart, because a link with -ffast-math switches subnormal numbers off in the whole process.
    subprocess.run(["cc", "-shared", code, "-o", library, "-lm"], check=True)
    return ctypes.CDLL(str(library))


def keys(seed: int) -> EvaluationKey:
    return EvaluationKey(streams.key(seed, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES))


def initial(problem: Any, seed: int) -> Float32Array:
    return problem.initial(np.random.default_rng(seed).standard_normal(problem.num_params, np.float32))


def task_parts(key: Any, number: int) -> Any:
    """Return JAX keys, one per task, of the data of a key."""
    import jax

    return jax.random.split(jax.random.wrap_key_data(key), number)


def navigation_draws(config: Config, key: EvaluationKey) -> tuple[Float32Array, Float32Array]:
    """Return gamaml's goals, float32[tasks, 2], and noise, float32[tasks, rounds + 1, horizon, 2, episodes]."""
    import jax

    from gamaml.tasks.navigation import Navigation

    task, inner = Navigation(), config.inner
    split = jax.random.split

    def noise_of_episode(key: Any) -> Any:
        noise_key = split(key, 3)[1]
        with jax.threefry_partitionable(False):  # as the rollout draws it
            return jax.random.normal(noise_key, (task.horizon, 2))

    def noise_of_round(key: Any) -> Any:
        return jax.vmap(noise_of_episode)(split(key, inner.episodes))

    def noise_of_task(key: Any) -> Any:
        return jax.vmap(noise_of_round)(split(key, inner.rounds + 1))

    task_keys, episode_keys = task_parts(key.task, inner.num_tasks), task_parts(key.episode, inner.num_tasks)
    noise = np.asarray(jax.jit(jax.vmap(noise_of_task))(episode_keys))
    return np.asarray(jax.vmap(task.sample)(task_keys)), np.ascontiguousarray(noise.transpose(0, 1, 3, 4, 2))


def sinusoid_draws(config: Config, key: EvaluationKey) -> tuple[Float32Array, Float32Array]:
    """Return gamaml's waves, float32[tasks, 2], and inputs, float32[tasks, shots + query]."""
    import jax

    from gamaml.tasks.sinusoid import INPUT, Sinusoid

    settings = config.task.settings
    sample = Sinusoid(config.policy, **settings).sample

    def draw(key: Any) -> tuple[Any, Any]:
        wave, *points = jax.random.split(key, 3)
        numbers = (settings["shots"], settings["query"])
        inputs = [
            jax.random.uniform(key, (number,), minval=INPUT[0], maxval=INPUT[1])
            for key, number in zip(points, numbers, strict=True)
        ]
        return jax.numpy.stack(sample(wave)), jax.numpy.concatenate(inputs)

    waves, inputs = jax.vmap(draw)(task_parts(key.task, config.inner.num_tasks))
    return np.asarray(waves), np.asarray(inputs)


DRAWS = {"navigation": navigation_draws, "sinusoid": sinusoid_draws}


def check(loop: CLoop, config: Config, problem: Any) -> None:
    """Verify that the C loop returns what gamaml returns, exactly on the same draws, on average on its own."""
    params = initial(problem, 0)
    for seed in range(3):
        network = initial(problem, seed)
        expected = problem.evaluate(network, keys(seed)).returns
        found = loop(network, seed, DRAWS[config.task.name](config, keys(seed)))
        assert np.allclose(found, expected, rtol=1e-3), f"the C loop returns {found}, gamaml {expected}"
    theirs = [problem.evaluate(params, keys(seed)).returns[0] for seed in range(16)]
    own = [loop(params, seed)[0] for seed in range(64)]
    error = np.sqrt(np.var(theirs) / len(theirs) + np.var(own) / len(own))
    difference = abs(np.mean(own) - np.mean(theirs))
    assert difference < 4 * error, f"on its own draws, the C loop returns {np.mean(own)}, gamaml {np.mean(theirs)}"


def repeated(work: Callable[[int], float], seconds: float) -> Side:
    """Return a turn that repeats `work(number)`, which returns how much it did, for some CPU time of this process."""

    def turn() -> float:
        done, number, start = 0.0, 0, time.process_time()
        while (spent := time.process_time() - start) < seconds or number == 0:
            done += work(number)
            number += 1
        return done / spent

    return turn


class Pauses:
    """Gives another side its turns in the pauses of a run between generations.

    Args:
        other: the other side.
        generations: of the run, per turn.
    """

    def __init__(self, other: Side, generations: int) -> None:
        self._other, self._generations = other, generations
        self._evaluations, self._start = 0, 0.0
        self.rates: Rates = []

    def __call__(self, info: gamaml.GenerationInfo) -> None:
        """Note a generation; after the last one of a turn, let the other side work."""
        self._evaluations += info.num_evaluations
        if info.generation % self._generations > 0:
            return
        if info.generation > 0:
            rate = self._evaluations / (time.process_time() - self._start)
            self.rates.append((rate, self._other()))
        self._evaluations, self._start = 0, time.process_time()


def whole_run(row: Row, config: Config, other: Side, turns: int) -> Rates:
    """Return the rates of a run and of another side."""
    pauses = Pauses(other, row.generations)
    settings = cfg.to_mapping(config) | {"stop": {"generations": 1 + turns * row.generations}}
    with tempfile.TemporaryDirectory() as folder:
        gamaml.train(settings, out=folder, on_generation=pauses)
    return pauses.rates


def alone(problem: Any, other: Side, options: argparse.Namespace, *, steps: bool) -> Rates:
    """Return the rates of `problem.evaluate`, in evaluations or in their steps, and of another side."""
    params = initial(problem, 0)

    def evaluate(number: int) -> float:
        evaluation = problem.evaluate(params, keys(number))
        return evaluation.steps if steps else 1.0

    evaluate(0)
    ours = repeated(evaluate, options.seconds)
    return [(ours(), other()) for _ in range(options.turns)]


def simulator(env_id: str, config: Config) -> Callable[[int], float]:
    """Return a function that plays the episodes of one round by `mj_step` alone, and returns their number of steps."""
    import gymnasium

    mujoco: Any = import_module("mujoco")  # whose functions its stubs do not declare
    env: Any = gymnasium.make(env_id).unwrapped
    model, frame_skip = env.model, env.frame_skip
    number, horizon = config.inner.num_tasks * config.inner.episodes, int(config.task.settings["horizon"])
    noise = np.random.default_rng(0).standard_normal((number, horizon, model.nu))
    actions = np.clip(config.policy.std * noise, env.action_space.low, env.action_space.high)
    starts: list[tuple[Any, Any]] = []
    for seed in range(number):
        env.reset(seed=seed)
        starts.append((env.data.qpos.copy(), env.data.qvel.copy()))
    episodes: list[Any] = [mujoco.MjData(model) for _ in starts]

    def play(_: int) -> float:
        for data, (position, velocity), episode in zip(episodes, starts, actions, strict=True):
            mujoco.mj_resetData(model, data)
            data.qpos[:], data.qvel[:] = position, velocity
            mujoco.mj_forward(model, data)
            control = data.ctrl
            for action in episode:
                control[:] = action
                mujoco.mj_step(model, data, frame_skip)
        return number * horizon

    return play


class Evosax:
    """The same evolution by evosax, in a process of its own that works on request.

    Args:
        config: navigation's config.
        generations: of a turn.
    """

    def __init__(self, config: Config, generations: int) -> None:
        inner, policy, ga = config.inner, config.policy, config.ga
        sizes = {"rounds": inner.rounds, "num_tasks": inner.num_tasks, "episodes": inner.episodes, "horizon": 100}
        sizes |= {"discount": inner.discount, "step_size": inner.step_size, "std": policy.std}
        sizes |= {"width": policy.hidden[0], "population_size": ga.population_size, "mutation_std": ga.mutation_std}
        command = evosax.command("inner_loop_evosax.py", json.dumps(sizes | {"generations": generations}))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=evosax.ENVIRONMENT
        )
        self._answer()

    def __enter__(self) -> Evosax:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def __call__(self) -> float:
        """Work for one turn; return evaluations per CPU-second."""
        assert self._process.stdin is not None
        self._process.stdin.write("turn\n")
        self._process.stdin.flush()
        return json.loads(self._answer())["rate"]

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"inner_loop.py: evosax ended with {self._process.wait()}")
        return line


def measure(name: str, row: Row, options: argparse.Namespace, folder: Path) -> Rates:
    """Return the rates of one of ROWS."""
    config = cfg.load(CONFIGS / f"{row.example}.toml", QUICK_RUN if options.quick else ())
    problem = make_problem(config)
    if name in EVOSAX:
        with Evosax(config, row.generations) as other:
            if name.endswith("_alone"):
                return alone(problem, other, options, steps=False)
            return whole_run(row, config, other, options.turns)
    if name in ENVIRONMENTS:
        limit = repeated(simulator(ENVIRONMENTS[name], config), options.seconds)
        return alone(problem, limit, options, steps=True)
    loop, params = CLoop(config, folder), initial(problem, 0)
    check(loop, config, problem)

    def evaluate(number: int) -> float:
        loop(params, number)
        return 1.0

    limit = repeated(evaluate, options.seconds)
    if name.endswith("_alone"):
        return alone(problem, limit, options, steps=False)
    return whole_run(row, config, limit, options.turns)


def report(name: str, row: Row, rates: Rates) -> dict[str, Any]:
    """Print and return a row: medians of the rates, and of the ratios of all turns."""
    ratios = [ours / other if row.at_least else other / ours for ours, other in rates]
    ratio = statistics.median(ratios)
    ours, other = (statistics.median(side) for side in zip(*rates, strict=True))
    print(
        f"{name:<18}{ours:12,.1f}{other:12,.1f} {row.unit:<12}{ratio:7.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        f"{row.sign:>5} {row.bar}",
        flush=True,
    )
    found = {"gamaml": round(ours, 1), "other": round(other, 1), "unit": f"{row.unit} per CPU-second"}
    return found | {"ratio": round(ratio, 3), "bar": f"{row.sign} {row.bar}", "share": row.share(ratio)}


def report_memory(row: Row) -> dict[str, Any]:
    """Print and return the row of the temporary memory."""
    # The problem shows its program to nobody else, and XLA reports the figure nowhere else.
    wrapped: Any = make_problem(cfg.load(CONFIGS / f"{row.example}.toml")).wrapped
    used = wrapped._program().memory_analysis().temp_size_in_bytes / MIB
    print(f"{'memory':<18}{used:12.2f}{'':12} {row.unit:<32}{row.sign:>7} {row.bar}", flush=True)
    return {"gamaml": round(used, 2), "unit": row.unit, "bar": f"{row.sign} {row.bar}", "share": row.share(used)}


def chosen_rows(parser: argparse.ArgumentParser, options: argparse.Namespace) -> dict[str, Row]:
    """Return the rows that were asked for and can be measured here; make evosax's environment if one needs it."""
    names = options.rows.split(",")
    unknown = set(names) - set(ROWS)
    if unknown:
        parser.error(f"--rows: {', '.join(sorted(unknown))}: no such row; choose from {', '.join(ROWS)}")
    if shutil.which("cc") is None:
        sys.exit("inner_loop.py: expected a C compiler named cc, got none; install one (Debian: apt install gcc)")
    left_out: dict[str, str] = {}
    if find_spec("mujoco") is None or find_spec("gymnasium") is None:
        left_out = dict.fromkeys(ENVIRONMENTS, "pip install 'gamaml[mujoco]'")
    if options.quick and not evosax.is_complete():
        left_out |= dict.fromkeys(EVOSAX, f"no complete environment {evosax.PATH.name}")
    elif EVOSAX & set(names):
        evosax.make()
    for name in names:
        if name in left_out:
            print(f"{name:<18}left out: {left_out[name]}")
    return {name: ROWS[name] for name in names if name not in left_out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"separated by commas, of {', '.join(ROWS)} (all)")
    parser.add_argument("--turns", type=int, default=7, help="of both sides of a row (7)")
    parser.add_argument("--quick", action="store_true", help="few and short turns: whether it runs")
    options = parser.parse_args()
    options.seconds = 1.0
    if options.quick:
        options.turns, options.seconds = 1, 0.01
    rows = chosen_rows(parser, options)
    # Threads and evosax's process inherit the affinity, so all use the same core.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print_machine()
    print(f"{'per CPU-second':<18}{'gamaml':>12}{'other':>12} {'':<12}{'ratio':>7} of {options.turns} turns, bar")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        found = {
            name: report_memory(row)
            if name == "memory"
            else report(name, row, measure(name, row, options, Path(folder)))
            for name, row in rows.items()
        }
    worst = max((row["share"] for row in found.values()), default=None)
    print_result(
        "inner_loop",
        worst,
        "of its bar, the row that is farthest from it",
        bar="<= 1",
        meets=None if worst is None else worst <= 1,
        rows=found,
    )


if __name__ == "__main__":
    main()
