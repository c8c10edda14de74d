"""A task whose module takes long to load; a file in the folder STARTED, named by the rank, tells that it began to."""

import os
import time
from pathlib import Path

from toys import Sphere as Sphere

RANK = os.environ.get("PMI_RANK", os.environ.get("OMPI_COMM_WORLD_RANK", "0"))
(Path(os.environ["STARTED"]) / RANK).touch()
time.sleep(2)
