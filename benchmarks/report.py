"""The common output of all benchmarks: the machine first, one JSON object last."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gamaml.job.versions import library_versions, machine_description

_LAUNCH = Path(__file__).resolve().parents[1] / "mpi" / "launch.py"


def run_ranks(script: str, layout: list[str], arguments: Mapping[str, Any]) -> str:
    """Start a benchmark again as `SCRIPT --worker ARGUMENTS` on MPI ranks of this environment; return its stdout.

    Args:
        script: its `__file__`.
        layout: options of mpi/launch for ranks and nodes, such as ["-n", "2"].
        arguments: arguments of the ranks, passed as JSON.
    """
    command = [sys.executable, str(_LAUNCH), "--env", sys.prefix, *layout, "--", "python", str(Path(script).resolve())]
    command += ["--worker", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{Path(script).name}: its ranks ended with {done.returncode}\n{done.stderr}")
    return done.stdout


def print_machine() -> None:
    """Print the machine that the figures come from."""
    machine, versions = machine_description(), library_versions()
    print(
        f"{machine['cpu']}, {os.cpu_count()} cores, {platform.system()}, Python {machine['python']}, "
        f"numpy {versions['numpy']}, load {os.getloadavg()[0]:.1f}"
    )


def print_result(
    name: str, value: float | None, unit: str, *, bar: str | None = None, meets: bool | None = None, **more: Any
) -> None:
    """Print the last line.

    Args:
        name: the benchmark's name.
        value: the measured figure.
        unit: the figure's unit.
        bar: the required figure, such as "<= 1.3".
        meets: whether the figure meets the bar.
        more: further parts of the result; `baseline` and `ratio` for comparisons.
    """
    print(json.dumps({"name": name, "value": value, "unit": unit, "bar": bar, "meets": meets, **more}))
