"""Fixtures that several files of tests share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Put shell scripts in the place of SLURM's commands; nothing else is on PATH."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    shell = shutil.which("bash")
    monkeypatch.setenv("PATH", str(bin_folder))

    def write(name: str, text: str) -> None:
        (bin_folder / name).write_text(f"#!{shell}\n{text}\n")
        (bin_folder / name).chmod(0o755)

    return write
