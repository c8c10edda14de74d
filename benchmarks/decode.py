"""How much CPU time does it take to make one child's parameters, compared with the machine's limit?

    python benchmarks/decode.py

A child is proposed and decoded from its cached parent, as the ranks do it, with a noise table of 1 GiB in its shared
window: at generations 1 and 10,000, at the sizes of Deep GA's LargeModel (1,693,362 parameters at 18 actions) and of
ga-dist's Atari policy (4,052,658). It is compared with the same sum in a C loop on other random offsets of the same
table, which the memory bounds, and with decoding from the root, as ga-dist did. The first two take turns. Times are CPU
time of the thread, which other load on the machine affects least. The script needs a C compiler, `cc`. `--quick` only
tries it.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gamaml.config import GAConfig
from gamaml.evolution.decode import Sources, decode
from gamaml.evolution.entries import INITIAL_STD, ROOT, Entries, new_entries
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm, proposals
from gamaml.evolution.noise_table import NoiseTable
from gamaml.evolution.rebuild import Course, rebuild
from gamaml.evolution.strategy import Space
from gamaml.parallel import noise_window as table
from gamaml.parallel.topology import Topology
from gamaml.parallel.windows import SharedWindow
from gamaml.types import Float32Array
from report import print_machine, print_result

BAR = 1.3
NUM_PARENTS = 20
STD = 0.002
GENERATIONS = (1, 10_000)
SOURCE = """
#include <stddef.h>
void child(const float *restrict parent, const float *restrict noise, float std, float *restrict out, size_t size)
{
    for (size_t i = 0; i < size; i++)
        out[i] = parent[i] + std * noise[i];
}
"""


class Policy:
    """The part of a problem that decoding needs."""

    scale: Float32Array | None = None

    def __init__(self, num_params: int) -> None:
        self.num_params = num_params

    def initial(self, noise: Float32Array) -> Float32Array:
        """Return the noise."""
        return noise


def compile_loop(folder: Path) -> Callable[[Float32Array, Float32Array, float, Float32Array], None]:
    source, library = folder / "child.c", folder / "child.so"
    source.write_text(SOURCE)
    # Without contraction the sum has NumPy's bits, so the results can be compared.
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).child
    function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p, ctypes.c_size_t]

    def child(parent: Float32Array, noise: Float32Array, std: float, out: Float32Array) -> None:
        function(parent.ctypes.data, noise.ctypes.data, std, out.ctypes.data, out.size)

    return child


def seconds_of(action: Callable[[], object]) -> float:
    start = time.thread_time()
    action()
    return time.thread_time() - start


def measure(
    num_params: int,
    noise: NoiseTable,
    parents: Float32Array,
    loop: Callable[[Float32Array, Float32Array, float, Float32Array], None],
    repeats: int,
) -> dict[str, float]:
    """Return the median CPU-seconds of a child at each generation, and of the C loop; they take turns."""
    problem, out, other = Policy(num_params), np.empty(num_params, np.float32), np.empty(num_params, np.float32)
    settings = GAConfig(population_size=max(repeats, NUM_PARENTS), num_parents=NUM_PARENTS, mutation_std=STD)
    num_offsets = noise.entries.size - num_params + 1
    sources, space = Sources.whole(noise, problem, parents), Space(num_params, num_offsets)
    random = np.random.default_rng(1)
    taken: dict[str, list[float]] = {str(generation): [] for generation in (*GENERATIONS, "C")}
    children = {
        generation: proposals(settings, 1, generation, NUM_PARENTS, settings.mutation_std, space)
        for generation in GENERATIONS
    }
    for index in range(repeats):
        for generation, proposed in children.items():

            def child(proposed: Entries = proposed, index: int = index) -> None:
                decode(proposed[index], sources, out)

            taken[str(generation)].append(seconds_of(child))
        parent = parents[int(random.integers(NUM_PARENTS))]
        block = noise.block(int(random.integers(num_offsets)), num_params)
        taken["C"].append(seconds_of(lambda parent=parent, block=block: loop(parent, block, STD, other)))
    last = children[GENERATIONS[-1]][repeats - 1]
    loop(parents[last["base"]], noise.block(int(last["offset"]), num_params), float(last["factor"]), other)
    assert np.array_equal(out, other), "the C loop computes something else"
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def print_root(num_params: int, noise: NoiseTable, lengths: list[int]) -> None:
    """Print the CPU time of decoding from the root."""
    random = np.random.default_rng(2)
    for length in lengths:
        offsets = random.integers(noise.entries.size - num_params, size=length)
        history = new_entries(length + 1)
        history["offset"][1:], history["factor"] = offsets, STD
        history["base"][0], history["offset"][0], history["factor"][0] = ROOT, 0, INITIAL_STD
        chosen = GeneticAlgorithm(GAConfig(num_parents=1))
        course = Course(chosen.start(1, Space(num_params, 1)), np.split(history, len(history)))
        seconds = seconds_of(lambda chosen=chosen, course=course: rebuild(chosen, course, noise, Policy(num_params)))
        print(f"  from the root, {length:>6,} mutations: {1e3 * seconds:10.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small table and policy: whether it runs")
    parser.add_argument("--repeats", type=int, default=200, help="children per size and generation (200)")
    args = parser.parse_args()
    if shutil.which("cc") is None:
        sys.exit("decode.py: expected a C compiler named cc, got none; install one (Debian: apt install gcc)")
    size, sizes, repeats = (2**22, (100_000,), 5) if args.quick else (2**28, (1_693_362, 4_052_658), args.repeats)
    print_machine()
    print("CPU time, medians")
    ratios: dict[str, float] = {}
    flat = baseline = 0.0
    with Topology() as topology, tempfile.TemporaryDirectory() as folder:
        loop = compile_loop(Path(folder))
        with (
            SharedWindow(topology.node, 4 * size) as noise_window,
            SharedWindow(topology.node, 4 * NUM_PARENTS * max(sizes)) as parents_window,
        ):
            noise = table.fill(topology, noise_window, size, seed=42)
            memory = np.frombuffer(parents_window.memory(), np.float32)
            memory[:] = np.random.default_rng(0).standard_normal(memory.size, np.float32)
            for num_params in sizes:
                parents = memory[: NUM_PARENTS * num_params].reshape(NUM_PARENTS, num_params)
                medians = measure(num_params, noise, parents, loop, repeats)
                baseline = medians["C"]
                print(f"{num_params:,} parameters: C loop {1e6 * baseline:.0f} us")
                for generation in GENERATIONS:
                    seconds = medians[str(generation)]
                    ratio = seconds / baseline
                    ratios[f"{num_params} at generation {generation}"] = round(ratio, 3)
                    print(f"  generation {generation:>6,}: {1e6 * seconds:.0f} us, {ratio:.2f} times the loop")
                flat = max(flat, medians[str(GENERATIONS[-1])] / medians[str(GENERATIONS[0])])
                print_root(num_params, noise, [1, 10] if args.quick else [1, 10, 100, 1000, 10_000])
    worst = max(ratios.values())
    print_result(
        "decode",
        worst,
        "times the C loop's CPU time, worst median",
        bar=f"<= {BAR}",
        meets=worst <= BAR,
        baseline=baseline,
        ratio=worst,
        ratios=ratios,
        last_to_first_generation=round(flat, 3),
    )


if __name__ == "__main__":
    main()
