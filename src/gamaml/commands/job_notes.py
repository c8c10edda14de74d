"""Notes on the jobs of runs: `gamaml submit` leaves them beside the run files, and `gamaml status` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gamaml.errors import ConfigError


def write_note(folder: Path, name: str, jobs: Mapping[str, Sequence[str]]) -> None:
    """Write one submission's note.

    Args:
        folder: folder of the run files.
        name: a name that no other note of the folder has.
        jobs: number of each job -> names of its runs.
    """
    (folder / f"{name}.job.json").write_text(json.dumps({"jobs": jobs}, indent=1) + "\n")


def read_notes(folder: Path) -> dict[str, str]:
    """Return run name -> number of the job that was submitted for it last.

    Raises:
        ConfigError: a file is named like a note and is none.
    """
    notes = sorted(folder.glob("*.job.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, str] = {}
    for note in notes:
        try:
            record: Any = json.loads(note.read_text())
            found.update({run: job for job, runs in record["jobs"].items() for run in runs})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{note}: expected a note of gamaml submit, got: {error!r}; remove it") from None
    return found
