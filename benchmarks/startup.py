"""How many CPU-seconds does a rank need until its first evaluation begins?

    python benchmarks/startup.py

The script starts `gamaml run` on an example in fresh processes of one rank (startup_rank.py), with an empty compilation
cache (cold) and with that of an earlier process (warm), in turn. It reports the CPU time of the process, all threads
included, from its start to the moment when the first evaluation is called: imports, MPI, the noise table, the run
file, the compiled program. Evaluations do not count, and neither does the end of the process. The parts:

- interpreter: Python itself, before the first line of the script.
- imports: all modules, JAX included, wherever they are imported.
- trace: starting JAX, tracing and lowering the program, or loading a finished one: the problem's `warm_up` without the
  next part.
- compile: XLA's compilation.
- rest: everything else.

CPU-seconds depend on the machine, and a little on other load, which empties the caches. Beside them the script
therefore reports, in turn too, a process that only imports JAX. All are medians; `--quick` only tries it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from report import print_machine, print_result

BARS = {"cold": 3.0, "warm": 1.0}
FOLDER = Path(__file__).resolve().parent
EXAMPLES = ("demo", "sinusoid")


def start(example: str, cache: str) -> dict[str, float]:
    """Start one rank with a compilation cache; return its CPU-seconds by part, and in total."""
    config = FOLDER.parent / "examples" / f"{example}.toml"
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, FOLDER / "startup_rank.py", config, out]
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        sys.exit(f"startup.py: the rank ended with {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def import_jax() -> dict[str, float]:
    """Return the CPU-seconds of a process that only imports JAX."""
    command = [sys.executable, "-c", "import time, jax; print(time.process_time())"]
    return {"total": float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)}


def measure(example: str, turns: int) -> dict[str, dict[str, float]]:
    """Return the medians of cold and warm starts and of importing JAX, which take turns."""
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": [], "import jax": []}
    for _ in range(turns):
        with tempfile.TemporaryDirectory() as cache:
            for state in BARS:
                found[state].append(start(example, cache))
        found["import jax"].append(import_jax())
    return {
        state: {part: round(statistics.median(each[part] for each in starts), 3) for part in starts[0]}
        for state, starts in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=7, help="processes per example and state of the cache (7)")
    parser.add_argument("--quick", action="store_true", help="one process each, of the first example: whether it runs")
    options = parser.parse_args()
    if options.quick:
        options.turns = 1
    print_machine()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for example in EXAMPLES[:1] if options.quick else EXAMPLES:
        rows[example] = measure(example, options.turns)
        for state, parts in rows[example].items():
            print(f"{example:<9} {state:<10} " + ", ".join(f"{part} {value:.2f}" for part, value in parts.items()))
    demo = {state: rows["demo"][state]["total"] for state in BARS}
    print_result(
        "startup",
        demo["warm"],
        "CPU-seconds of a warm start of demo.toml, median",
        bar=", ".join(f"{state} <= {bar}" for state, bar in BARS.items()),
        meets=all(demo[state] <= bar for state, bar in BARS.items()),
        baseline=rows["demo"]["import jax"]["total"],
        ratio=round(demo["warm"] / rows["demo"]["import jax"]["total"], 2),
        rows=rows,
    )


if __name__ == "__main__":
    main()
