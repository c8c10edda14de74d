"""Rank 1 fails before MPI has started, in the way that the first argument names; the others are well. Folder second."""

import os
import sys
import time
from pathlib import Path

from toys import Sphere

from gamaml import cli

WAY, OUT = sys.argv[1:]
IS_ONE = os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK")) == "1"


class Picky(Sphere):
    """Refuses to be made on rank 1."""

    def __init__(self) -> None:
        super().__init__()
        if IS_ONE and WAY == "value":
            raise ValueError("this node lacks a file")
        if IS_ONE and WAY == "bug":
            raise RuntimeError("this rank has a bug")


if WAY == "late" and not IS_ONE:
    time.sleep(1)
absent = IS_ONE and WAY in ("absent", "late")
config = Path(__file__).with_name("absent.toml" if absent else "sphere.toml")
sys.modules["one_fails"] = sys.modules["__main__"]
sys.exit(cli.main(["run", str(config), "--set", "task={name='one_fails:Picky'}", "--out", OUT]))
