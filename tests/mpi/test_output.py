"""What a job shows: a live table on the launcher's terminal, plain lines everywhere else."""

import re
import sys
from pathlib import Path

from harness import Layout, Mpi, run_mpi
from runs import PROGRAMS, run, words

ON_A_TERMINAL = [
    sys.executable,
    "-c",
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))",
]
"""A prefix that runs a command on a terminal of its own and copies what it shows to stdout."""


def test_output_of_a_job_holds_no_escape_codes(mpi: Mpi, tmp_path: Path) -> None:
    finished = run(mpi, Layout((3,)), "sphere.toml", tmp_path)
    assert "\x1b" not in finished.stdout + finished.stderr
    assert finished.stdout.startswith(
        "3 ranks on 1 node; each node holds 1.1 MiB: noise table 1.1 MiB + 1 population of "
    )
    assert len([line for line in finished.stdout.splitlines() if line.startswith("run gen ")]) == 12


def test_launcher_on_a_terminal_shows_a_live_table_of_its_width(mpi: Mpi, tmp_path: Path) -> None:
    # Where there is room, the table takes more than 70 columns.
    script = 'stty columns 50 && exec "$@"'
    finished = run_mpi(
        words("sphere.toml", tmp_path),
        ranks=2,
        mpi=mpi,
        cwd=PROGRAMS,
        env={"TERM": "xterm"},
        prefix=[*ON_A_TERMINAL, "sh", "-c", script, "sh"],
    )
    assert "run gen " not in finished.stdout
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", finished.stdout)
    rows = [row.rstrip() for row in re.split(r"[\r\n]+", shown) if row.startswith("run ")]
    assert rows
    assert max(map(len, rows)) <= 50
    assert "…" not in shown
