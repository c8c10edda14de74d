"""What all benchmarks print: the machine in front, one JSON object at the end."""

from __future__ import annotations

import json
import os
import platform
from typing import Any

from gamaml.versions import library_versions, machine_description


def print_machine() -> None:
    """Say where the figures come from."""
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
        name: of the benchmark.
        value: its figure.
        unit: of the figure.
        bar: what the figure should be, such as "<= 1.3".
        meets: whether it is.
        more: what else belongs to the result; `baseline` and `ratio` for comparisons.
    """
    print(json.dumps({"name": name, "value": value, "unit": unit, "bar": bar, "meets": meets, **more}))
