"""Every benchmark runs in its quick form, and ends with one JSON object; figures are nobody's business here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def quick(script: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a benchmark and return its last line."""
    command = [sys.executable, "-W", "error", BENCHMARKS / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "value", "unit", "bar", "meets"} <= set(result)
    return result


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler named cc")
def test_decode_compares_with_the_c_loop() -> None:
    result = quick("decode.py", "--quick")
    assert result["name"] == "decode"
    assert result["ratio"] > 0
