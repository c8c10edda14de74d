"""A task whose module takes long to load; a file named by the variable STARTED tells that it began to."""

import os
import time
from pathlib import Path

from toys import Sphere as Sphere

Path(os.environ["STARTED"]).touch()
time.sleep(2)
