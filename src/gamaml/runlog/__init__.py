"""The run folder and file: an append-only journal as authority, an HDF5 file derived from it, and a lock.

A run called NAME consists of `NAME.h5`, which users open and copy, and of the folder `NAME.run` with `journal`, `lock`
and `current-<node>`.
"""

from gamaml.runlog.generation import Generation
from gamaml.runlog.hdf5_file import PADDING
from gamaml.runlog.header import SCHEMA_VERSION, Header
from gamaml.runlog.history import History, Start, read_starts
from gamaml.runlog.in_flight import Current, CurrentFile, read_current
from gamaml.runlog.loaded_run import Run, load
from gamaml.runlog.lock import Holder, live_holder
from gamaml.runlog.run_log import RunLog, check, sidecar
from gamaml.runlog.summary import Summary, summarise

__all__ = [
    "PADDING",
    "SCHEMA_VERSION",
    "Current",
    "CurrentFile",
    "Generation",
    "Header",
    "History",
    "Holder",
    "Run",
    "RunLog",
    "Start",
    "Summary",
    "check",
    "live_holder",
    "load",
    "read_current",
    "read_starts",
    "sidecar",
    "summarise",
]
