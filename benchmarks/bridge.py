"""Which share of its native step rate does an environment keep in another interpreter?

    python benchmarks/bridge.py [ENV_ID ...] [--python .venv-roboschool/bin/python] [--modules roboschool]

A loop inside the other interpreter and the same loop here, over the bridge, take turns with the same actions, all on
one core. Resets are not counted. The script prints the median microseconds per step over the turns; the share is the
median of the turns' ratios, which other load moves least. `make .venv-roboschool/ready` makes the interpreter.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.envs.bridge import BridgedEnv
from report import print_machine, print_result

BAR = 0.85
PYTHON = Path(__file__).resolve().parents[1] / ".venv-roboschool" / "bin" / "python"
ENV_IDS = ("RoboschoolAnt-v1", "RoboschoolHalfCheetah-v1")

NATIVE = """
import importlib, json, sys, time, warnings
warnings.simplefilter("ignore")
import gym, numpy as np
env_id, modules, steps = json.loads(sys.argv[1])
for module in modules:
    importlib.import_module(module)
env = gym.make(env_id)
actions = np.random.default_rng(1).uniform(-1.0, 1.0, (steps,) + env.action_space.shape).astype(np.float32)
for line in sys.stdin:
    env.seed(int(line))
    env.reset()
    seconds, start = 0.0, time.perf_counter()
    for action in actions:
        _, _, done, _ = env.step(action)
        if done:
            seconds += time.perf_counter() - start
            env.reset()
            start = time.perf_counter()
    seconds += time.perf_counter() - start
    print(json.dumps(seconds / len(actions)), flush=True)
"""
"""Script that answers each seed with the seconds per step of one turn."""


def bridged_seconds(env: BridgedEnv, actions: Any, seed: int) -> float:
    """Return the seconds per step of one turn, measured line by line as in NATIVE."""
    env.reset(seed=seed)
    seconds, start = 0.0, time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            seconds += time.perf_counter() - start
            env.reset()
            start = time.perf_counter()
    seconds += time.perf_counter() - start
    return seconds / len(actions)


def measure(python: Path, env_id: str, modules: list[str], steps: int, turns: int) -> tuple[list[float], list[float]]:
    """Return the seconds per step of each turn, native and bridged."""
    with BridgedEnv(python, env_id, modules) as env:
        shape = (steps, *env.action_space.shape)
        actions = np.random.default_rng(1).uniform(-1.0, 1.0, shape).astype(np.float32)
        command = [python, "-c", NATIVE, json.dumps([env_id, modules, steps])]
        pairs: list[tuple[float, float]] = []
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as native:
            assert native.stdin is not None
            assert native.stdout is not None
            for seed in range(turns + 1):
                native.stdin.write(f"{seed}\n")
                native.stdin.flush()
                there = float(json.loads(native.stdout.readline()))
                pairs.append((there, bridged_seconds(env, actions, seed)))
            native.stdin.close()
    return [pair[0] for pair in pairs[1:]], [pair[1] for pair in pairs[1:]]  # the first turn warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=ENV_IDS, metavar="ENV_ID", help=f"default: {' '.join(ENV_IDS)}")
    parser.add_argument("--python", type=Path, default=PYTHON, help="the other interpreter")
    parser.add_argument(
        "--modules", nargs="*", default=["roboschool"], help="imported there before the environment is made"
    )
    parser.add_argument("--quick", action="store_true", help="a few steps only, to try the script")
    args = parser.parse_args()
    if not args.python.exists():
        sys.exit(
            f"--python {args.python}: expected an interpreter, got none; make .venv-roboschool/ready, or give another"
        )
    print_machine()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    steps, turns = (20, 2) if args.quick else (400, 25)
    shares: dict[str, float] = {}
    micros: dict[str, list[float]] = {}
    for env_id in args.env_ids:
        native, bridged = measure(args.python, env_id, args.modules, steps, turns)
        shares[env_id] = statistics.median(there / here for there, here in zip(native, bridged, strict=True))
        micros[env_id] = [round(statistics.median(seconds) * 1e6, 1) for seconds in (native, bridged)]
        print(
            f"{env_id}: {micros[env_id][0]:.0f} us per step native, {micros[env_id][1]:.0f} us bridged: "
            f"{shares[env_id]:.1%} of the native rate"
        )
    worst = min(shares.values())
    print_result(
        "bridge",
        worst,
        "of the native step rate",
        bar=f">= {BAR}",
        meets=worst >= BAR,
        ratio=worst,
        shares=shares,
        microseconds=micros,
    )


if __name__ == "__main__":
    main()
