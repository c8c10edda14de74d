"""The HDF5 file of a run: derived from the journal, readable while it grows and after any kill.

The file is built under another name, put into SWMR mode (single writer, multiple readers) and then renamed: a reader
never sees a half-built file, and the writer never has to open a file that a reader may hold. The layout is that of HDF5
1.10, the first version with SWMR, so older libraries can read it. SWMR mode allows only data to be added, so the
finished mark is a dataset of one entry. The summary is written last: its length is the number of generations.
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # pyright: ignore[reportMissingTypeStubs] - h5py has none
import numpy as np

from gamaml.errors import RunFileError
from gamaml.evolution.entries import Entries
from gamaml.evolution.rebuild import Snapshot
from gamaml.runlog.generation import Generation
from gamaml.runlog.header import SCHEMA_VERSION, Header, from_json, refuse_other_schema, to_json
from gamaml.runlog.summary import summary_dtype
from gamaml.types import Records

_h5py: Any = h5py  # so that its results are Any, not unknown

PADDING = -2
"""Base of a padding entry, for a generation with fewer contenders or entries than the maximum."""

_CHUNK_NBYTES = 1 << 14
_METADATA_NBYTES = 1 << 16
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Tables:
    """The arrays of a run, G generations long.

    Attributes:
        records: [G, population_size].
        reevaluations: [G, num_contenders * num_episodes]; records without the flag DONE are padding.
        contenders: [G, num_contenders]; entries with base PADDING are padding.
        entries: [G, num_entries], padded like `contenders`.
        summary: [G], of `summary_dtype`.
    """

    records: Records
    reevaluations: Records
    contenders: Entries
    entries: Entries
    summary: Records


@dataclass(frozen=True)
class Contents:
    """A run file read to its end.

    Attributes:
        created: when the run began, in seconds since 1970.
        header: the latest start's header.
        version_history: (generation, versions) for every change of the versions.
        tables: the arrays.
        finished: whether the run ended by its stop criteria.
        snapshots: the stored vectors, in the order of their generations.
    """

    created: float
    header: Header
    version_history: list[tuple[int, dict[str, str]]]
    tables: Tables
    finished: bool
    snapshots: list[Snapshot]


def table_shapes(header: Header) -> dict[str, tuple[int, np.dtype[np.void]]]:
    """Return the length and the dtype of one generation's rows in every table but the summary."""
    sizes = header.sizes
    return {
        "records": (sizes.population_size, header.record_dtype),
        "reevaluations": (sizes.num_reevaluations, header.record_dtype),
        "contenders": (sizes.num_contenders, sizes.entry_dtype),
        "entries": (sizes.num_entries, sizes.entry_dtype),
    }


def tables_of(generations: Sequence[Generation], header: Header) -> Tables:
    """Arrange generations as tables, padded."""
    tables: dict[str, Any] = {}  # name -> structured array
    for name, (length, dtype) in table_shapes(header).items():
        table = np.zeros((len(generations), length), dtype)
        if "base" in (dtype.names or ()):
            table["base"] = PADDING
        for row, generation in zip(table, generations, strict=True):
            there = getattr(generation, name)
            row[: len(there)] = there
        tables[name] = table
    rows = [generation.summary.row() for generation in generations]
    return Tables(**tables, summary=np.array(rows, summary_dtype(header.num_rounds)))


class Hdf5File:
    """The file, open for appending. After each call the appended rows survive a kill of the process.

    Args:
        file: an h5py.File in SWMR mode.
        path: the file's path.
        header: the run's header.
    """

    def __init__(self, file: Any, path: Path, header: Header) -> None:
        self._file = file
        self._path = path
        self._header = header
        self._reserved = 0
        self._finished = False
        self._row_nbytes = [length * dtype.itemsize for length, dtype in table_shapes(header).values()]
        self._datasets: dict[str, Any] = {}  # name -> h5py.Dataset

    @classmethod
    def build(
        cls,
        path: Path,
        temporary: Path,
        header: Header,
        generations: Iterable[Generation],
        snapshots: Iterable[Snapshot],
        *,
        created: float,
        version_history: list[tuple[int, dict[str, str]]],
        finished: bool,
    ) -> Hdf5File:
        """Write the file anew from the journal's content, and move it into place when it is complete.

        Args:
            path: the run file, which is replaced.
            temporary: the path of the file while it is built, on the same file system.
            header: the latest start's header.
            generations: all committed generations; iterated once, a few at a time.
            snapshots: all stored snapshots; iterated once, one at a time.
            created: when the run began, in seconds since 1970.
            version_history: (generation, versions) for every change of the versions.
            finished: whether the run ended by its stop criteria.

        Raises:
            RunFileError: the disk is full or failing.
        """
        temporary.unlink(missing_ok=True)
        with contextlib.ExitStack() as undo:
            undo.callback(temporary.unlink, missing_ok=True)
            with _in_words(path):
                file = _h5py.File(temporary, "w", libver=("v110", "v110"), locking="best-effort")
                undo.callback(file.close)
                built = cls(file, temporary, header)
                built._fill(generations, snapshots, created=created, version_history=version_history, finished=finished)
                with temporary.open("rb") as same:
                    os.fsync(same.fileno())
                temporary.replace(path)
                built._path = path
            undo.pop_all()
        return built

    def append(self, generation: Generation) -> None:
        """Append one generation and flush it.

        Raises:
            RunFileError: the disk is full or failing; the journal is not affected.
        """
        with _in_words(self._path):
            if self._finished:
                self._mark(finished=False)
            self._extend([generation])

    def add_snapshot(self, snapshot: Snapshot) -> None:
        """Append stored vectors and flush them. Raises RunFileError like `append`."""
        with _in_words(self._path):
            self._add(snapshot)

    def mark_finished(self) -> None:
        """Record that the run ended by its stop criteria. Raises RunFileError like `append`."""
        with _in_words(self._path):
            self._mark(finished=True)
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _fill(
        self,
        generations: Iterable[Generation],
        snapshots: Iterable[Snapshot],
        *,
        created: float,
        version_history: list[tuple[int, dict[str, str]]],
        finished: bool,
    ) -> None:
        """Write everything, then enter SWMR mode, which is final."""
        self._reserve(0)
        _write_attributes(self._file, self._header, created, version_history)
        _create_tables(self._file, self._header)
        waiting = iter(generations)
        while some := list(itertools.islice(waiting, _ROWS_AT_ONCE)):
            self._extend(some)
        for snapshot in snapshots:
            self._add(snapshot)
        self._mark(finished=finished)
        self._file.swmr_mode = True
        self._file.flush()
        self._reserved = 0  # a flush before SWMR mode may cut the file to the length that HDF5 knows

    def _mark(self, *, finished: bool) -> None:
        self._file["finished"][0] = self._finished = finished

    def _reserve(self, num_generations: int, more_nbytes: int = 0) -> None:
        """Reserve disk space for more generations.

        A write that fails inside HDF5 fails again at every later flush, and in the end the interpreter dies of a
        segmentation fault (HDF5 2.0), so HDF5 must never write to a full disk. The file may be longer than HDF5 knows.
        """
        row_nbytes = self._row_nbytes
        # HDF5 writes whole chunks; the last 0 stands for the summary.
        chunks = sum(max(_CHUNK_NBYTES, nbytes) for nbytes in (*row_nbytes, 0))
        needed = self._file.id.get_filesize() + num_generations * sum(row_nbytes) + chunks + _METADATA_NBYTES
        needed += more_nbytes
        if needed > self._reserved:
            with self._path.open("rb+") as same:
                os.posix_fallocate(same.fileno(), 0, needed)
            self._reserved = needed

    def _extend(self, generations: Sequence[Generation]) -> None:
        self._reserve(len(generations))
        tables = tables_of(generations, self._header)
        for name in (*table_shapes(self._header), "summary"):
            self._append_rows(name, getattr(tables, name))

    def _append_rows(self, name: str, rows: Any) -> None:  # a structured array
        """Append rows to a dataset by HDF5's own calls: h5py's indexing takes four times as long for a few rows."""
        if name not in self._datasets:
            self._datasets[name] = self._file[name]
        dataset = self._datasets[name]
        number, *others = dataset.id.shape
        dataset.id.set_extent((number + len(rows), *others))
        place = dataset.id.get_space()
        place.select_hyperslab((number, *[0] * len(others)), rows.shape)
        dataset.id.write(_h5py.h5s.create_simple(rows.shape), place, np.ascontiguousarray(rows))
        dataset.flush()

    def _add(self, snapshot: Snapshot) -> None:
        self._reserve(0, snapshot.vectors.nbytes + _CHUNK_NBYTES)
        # The generation is written last, since a reader takes as many vectors as there are generations.
        for name, row in (("vectors", snapshot.vectors), ("vectors_generation", snapshot.generation)):
            dataset = self._file[name]
            dataset.resize(len(dataset) + 1, axis=0)
            dataset[-1] = row
            dataset.flush()


def read(path: Path) -> Contents:
    """Read a run file, even one that is being written or whose writer was killed.

    Raises:
        RunFileError: the file has another version's layout.
        OSError, RuntimeError, KeyError, ValueError: the file is not a whole run file.
    """
    with _open_for_reading(path) as file:
        refuse_other_schema(path, int(file.attrs["schema_version"]))
        header = _read_header(file)
        num_generations = len(file["summary"])
        names = (*table_shapes(header), "summary")
        tables = Tables(**{name: file[name][:num_generations] for name in names})
        history = json.loads(file.attrs["version_history"])
        return Contents(
            created=datetime.datetime.fromisoformat(file.attrs["created"]).timestamp(),
            header=header,
            version_history=[(generation, versions) for generation, versions in history],
            tables=tables,
            finished=bool(file["finished"][0]),
            snapshots=_read_snapshots(file),
        )


def _read_snapshots(file: Any) -> list[Snapshot]:  # an h5py.File
    if "vectors" not in file:
        return []
    generations = file["vectors_generation"][:]
    return [
        Snapshot(int(generation), vectors)
        for generation, vectors in zip(generations, file["vectors"][: len(generations)], strict=True)
    ]


_JSON_ATTRIBUTES = (
    "config",
    "scalars",
    "sizes",
    "description",
    "versions",
    "machine",
    "reproducible",
    "constants",
    "optimal_return",
)


def _read_header(file: Any) -> Header:
    attributes: dict[str, Any] = dict(file.attrs)
    texts = {name: json.loads(attributes[name]) for name in _JSON_ATTRIBUTES}
    numbers = {name: int(attributes[name]) for name in ("num_params", "num_rounds")}
    return from_json({**attributes, **texts, **numbers})


def _open_for_reading(path: Path) -> Any:  # an h5py.File
    try:
        return _h5py.File(path, "r", locking="best-effort")
    except OSError:
        # This works after a kill too, when the writer's mark is still in the file.
        return _h5py.File(path, "r", swmr=True, locking="best-effort")


def _write_attributes(
    file: Any, header: Header, created: float, version_history: list[tuple[int, dict[str, str]]]
) -> None:
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["created"] = datetime.datetime.fromtimestamp(created, datetime.UTC).isoformat()
    file.attrs["version_history"] = json.dumps(version_history)
    for name, value in to_json(header).items():
        file.attrs[name] = json.dumps(value) if name in _JSON_ATTRIBUTES else value


def _create_tables(file: Any, header: Header) -> None:
    for name, (length, dtype) in table_shapes(header).items():
        rows = max(1, _CHUNK_NBYTES // max(1, length * dtype.itemsize))
        chunks = (rows, max(1, length))
        # A chunk may not be wider than a fixed width, nor have width 0, so an empty table has no fixed width.
        file.create_dataset(name, (0, length), dtype, maxshape=(None, length or None), chunks=chunks)
    file.create_dataset("summary", (0,), summary_dtype(header.num_rounds), maxshape=(None,), chunks=(256,))
    file.create_dataset("finished", (1,), np.bool_)
    sizes = header.sizes
    if not sizes.has_genomes:
        shape = (sizes.num_vectors, header.num_params)
        file.create_dataset("vectors", (0, *shape), np.float32, maxshape=(None, *shape), chunks=(1, *shape))
        file.create_dataset("vectors_generation", (0,), np.uint64, maxshape=(None,), chunks=(256,))
    for name, unit in (("steps", "environment steps"), ("seconds", "s")):
        file["records"].attrs[f"unit of {name}"] = unit


@contextlib.contextmanager
def _in_words(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise RunFileError(
            f"{path}: expected to write to it, got: {error}; free space or check the file system, then "
            "continue with --resume, which rebuilds this file from the journal (nothing committed is lost)"
        ) from error
