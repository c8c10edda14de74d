"""The environment of evosax, `.venv-evosax`, for the benchmarks that compare with it; made on first use, about 1 GB."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
PATH = _FOLDER.parent / ".venv-evosax"
_COMPLETE = PATH / "complete"

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""Variables of a process in it: one thread on the CPU, as gamaml's."""
ENVIRONMENT |= {"NPROC": "1", "JAX_PLATFORMS": "cpu"}


def is_complete() -> bool:
    return _COMPLETE.exists()


def make() -> None:
    """Make the environment if it is missing, with the JAX of this one."""
    if is_complete():
        return
    from jax import __version__ as jax_version

    print(f"making {PATH} for evosax ...", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", PATH], check=True)
    # gymnax imports six without declaring it.
    packages = ["evosax==0.3.2", "gymnax==1.0.1", "six", f"jax=={jax_version}"]
    subprocess.run([PATH / "bin" / "pip", "install", "-q", *packages], check=True)
    _COMPLETE.touch()


def command(script: str, *arguments: object) -> list[str]:
    """Return the command line of one of the benchmarks' scripts in this environment."""
    return [str(PATH / "bin" / "python"), str(_FOLDER / script), *map(str, arguments)]
