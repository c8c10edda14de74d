r"""How much faster is a real run on more ranks?

    python benchmarks/scaling.py                          # navigation on 1 and 2 ranks here
    python benchmarks/scaling.py --ranks 32,64,128 --ranks-per-node 32 \
        --launch "srun --mpi=pmi2 --nodes={nodes} --ntasks-per-node=32 -n {ranks}"    # in a SLURM job of 4 nodes

Strong scaling has the same run on all numbers of ranks; weak scaling has a population that grows with the ranks. The
comparison is by evaluations per second after the first generation, which pays for starting and compiling; the seconds
of the whole command are in the table too. Numbers of ranks take turns, and medians are reported. The script writes
scaling.csv and scaling.png.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gamaml
from gamaml import config as cfg
from report import print_machine, print_result

ROOT = Path(__file__).resolve().parents[1]
_LAUNCH_WORDS = [sys.executable, str(ROOT / "mpi" / "launch.py"), "--env", sys.prefix]
LAUNCH = shlex.join(_LAUNCH_WORDS) + " -n {ranks} --"
BAR = 1.9
KINDS = ("strong", "weak")


class Row(NamedTuple):
    """One command.

    Attributes:
        kind: "strong" or "weak".
        ranks: MPI ranks.
        population_size: children per generation of each population.
        rate: evaluations per second after the first generation, of all populations.
        seconds: seconds of the whole command.
    """

    kind: str
    ranks: int
    population_size: int
    rate: float
    seconds: float


def run(options: argparse.Namespace, kind: str, ranks: int) -> Row:
    """Run the config on some ranks."""
    config = cfg.load(options.config, options.set)
    size = config.ga.population_size
    if kind == "weak":
        size = size * ranks // max(options.ranks)
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *shlex.split(options.launch.format(ranks=ranks, nodes=ranks // options.ranks_per_node)),
            *("gamaml", "run", str(options.config), "--out", folder, "--seeds", f"0-{options.populations - 1}"),
        ]
        for setting in [*options.set, f"stop.generations={options.generations}", f"ga.population_size={size}"]:
            command += ["--set", setting]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode != 0:
            sys.exit(f"scaling.py: {shlex.join(command)} ended with {done.returncode}\n{done.stderr}")
        runs = [gamaml.load(path) for path in sorted(Path(folder).glob("*.h5"))]
    number = sum(table[1:].size for one in runs for table in (one.records, one.reevaluations))
    rate = number / max(float(one.summary["seconds"][1:].sum()) for one in runs)
    return Row(kind, ranks, size, rate, seconds)


def median_rates(rows: Sequence[Row], kind: str) -> dict[int, float]:
    """Return evaluations per second by number of ranks."""
    ranks = sorted({row.ranks for row in rows})
    return {
        number: statistics.median(row.rate for row in rows if (row.kind, row.ranks) == (kind, number))
        for number in ranks
    }


def plot(path: Path, rates: dict[str, dict[int, float]]) -> None:
    import matplotlib.figure  # only here, because it takes a second to import

    figure = matplotlib.figure.Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for (kind, by_ranks), mark in zip(rates.items(), "os", strict=True):
        ranks = list(by_ranks)
        axes.plot(
            ranks, [by_ranks[number] / by_ranks[ranks[0]] for number in ranks], marker=mark, label=f"{kind} scaling"
        )
    first = next(iter(rates["strong"]))
    axes.plot(list(rates["strong"]), [number / first for number in rates["strong"]], "k--", linewidth=1, label="ideal")
    axes.set_xlabel("ranks")
    axes.set_ylabel(f"evaluations per second, relative to {first} rank{'s' * (first > 1)}")
    axes.set_xticks(list(rates["strong"]))
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", default="1,2", help="numbers of ranks, e.g. 1,2,4")
    parser.add_argument("--config", type=Path, default=ROOT / "examples" / "navigation.toml")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the config")
    parser.add_argument("--populations", type=int, default=1, help="interleaved populations (1)")
    parser.add_argument("--generations", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=3, help="runs per number of ranks and kind (3)")
    parser.add_argument("--launch", default=LAUNCH, help="command that starts {ranks} ranks, on {nodes} nodes")
    parser.add_argument("--ranks-per-node", type=int, default=1, help="ranks per node, for {nodes} in --launch (1)")
    parser.add_argument("--out", type=Path, default=Path("scaling"), help="folder of the table and the plot")
    parser.add_argument("--quick", action="store_true", help="a few small generations: whether it runs")
    options = parser.parse_args()
    options.ranks = sorted(int(number) for number in options.ranks.split(","))
    if any(number % options.ranks_per_node for number in options.ranks):
        parser.error(f"--ranks: expected multiples of --ranks-per-node {options.ranks_per_node}")
    if options.quick:
        options.generations, options.repeats = 2, 1
        options.set += ["ga.population_size=20", "ga.num_parents=4", "ga.elite.candidates=2", "noise.size=1_000_000"]
        options.set += ["ga.elite.episodes=1", "inner.rounds=1", "inner.num_tasks=1", "task.horizon=5"]
    print_machine()
    rows: list[Row] = []
    for repeat in range(options.repeats):
        # Upwards and downwards in turn, so slow spells of the machine do not always hit the same number.
        order = options.ranks if repeat % 2 == 0 else options.ranks[::-1]
        for kind, ranks in itertools.product(KINDS, order):
            rows.append(run(options, kind, ranks))
            print(
                f"  {kind:<6} {ranks:>5} ranks, populations of {rows[-1].population_size:>6}: {rows[-1].rate:9.2f} "
                f"evaluations/s, {rows[-1].seconds:7.1f} s in all",
                flush=True,
            )
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "scaling.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    rates = {kind: median_rates(rows, kind) for kind in KINDS}
    plot(options.out / "scaling.png", rates)
    first, last = options.ranks[0], options.ranks[-1]
    speed_ups = {kind: by_ranks[last] / by_ranks[first] for kind, by_ranks in rates.items()}
    for kind, speed_up in speed_ups.items():
        print(f"{kind} scaling, {first} -> {last} ranks: {speed_up:.2f} of {last / first:g}")
    print(f"{options.out / 'scaling.csv'} and {options.out / 'scaling.png'}")
    bar = BAR * last / first / 2
    print_result(
        "scaling",
        round(speed_ups["strong"], 3),
        f"evaluations per second on {last} ranks over those on {first}",
        bar=f">= {bar:g}",
        meets=speed_ups["strong"] >= bar,
        baseline=rates["strong"][first],
        ratio=round(speed_ups["strong"], 3),
        rates=rates,
    )


if __name__ == "__main__":
    main()
