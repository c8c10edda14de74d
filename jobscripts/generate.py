"""Write the checked-in job scripts anew, from the root of the repository: python jobscripts/generate.py.

Each is the output of `gamaml submit --dry-run` for the command at its top, without the PATH of an installation.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from gamaml.commands import submission
from gamaml.commands.sweep import Sweep

FOLDER = Path("jobscripts")


def scripts() -> dict[str, str]:
    """Return file name -> text. Paths are relative to the root of the repository."""
    navigation, sinusoid = Path("examples/navigation.toml"), Path("examples/sinusoid.toml")
    size = "--nodes 2 --ranks-per-node 8"
    return {
        "run.sbatch": _script(f"gamaml submit {navigation} {size} --time 1:00:00", Sweep((navigation,)), "1:00:00"),
        "sweep.sbatch": _script(
            f"gamaml submit {navigation} {sinusoid} --seeds 0-9 {size} --time 4:00:00 --name sweep",
            Sweep((navigation, sinusoid), seeds=tuple(range(10))),
            "4:00:00",
            name="sweep",
        ),
    }


def _script(command: str, sweep: Sweep, time: str, name: str | None = None) -> str:
    request = submission.Request(
        command=tuple(shlex.split(command)),
        sweep=sweep,
        nodes=2,
        ranks_per_node=8,
        time=time,
        out=Path("runs"),
        name=name,
    )
    return submission.plan(request).script


if __name__ == "__main__":
    for name, text in scripts().items():
        (FOLDER / name).write_text(text)
