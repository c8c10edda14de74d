"""The log of one run: journal, HDF5 file and lock together, for the engine on rank 0."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from gamaml.errors import ConfigError, RunFileError
from gamaml.evolution.rebuild import Snapshot
from gamaml.evolution.records import DONE
from gamaml.runlog import history as past
from gamaml.runlog.generation import Generation, Partial, encode_generation, encode_partial, encode_snapshot
from gamaml.runlog.hdf5_file import Hdf5File
from gamaml.runlog.header import Header, refuse_differences
from gamaml.runlog.history import History, Past
from gamaml.runlog.in_flight import clear_current
from gamaml.runlog.journal import FrameType, Journal, sync_folder
from gamaml.runlog.lock import Lock
from gamaml.types import Records

logger = logging.getLogger(__name__)

State = Literal["absent", "partial", "finished"]


def sidecar(path: Path) -> Path:
    """Return the sidecar folder of a run file: NAME.run beside NAME.h5.

    Raises:
        ConfigError: the path does not end with .h5.
    """
    if path.suffix != ".h5":
        raise ConfigError(f"run file {str(path)!r}: expected a name that ends with .h5, got {path.name!r}; rename it")
    return path.with_suffix(".run")


def check(path: Path | str, *, resume: bool = False, overwrite: bool = False) -> State:
    """Return the state of a run, without taking its lock or writing.

    Args:
        path: NAME.h5.
        resume: whether an existing run is to be continued.
        overwrite: whether an existing run is to be replaced, and then counts as absent.

    Returns:
        "absent", "partial", or "finished" (by the stop criteria of its last start).

    Raises:
        RunFileError: the run exists and neither option is given, or its journal is lost, damaged, or of another layout.
        ConfigError: both options are given.
    """
    path = Path(path)
    journal = sidecar(path) / "journal"
    if resume and overwrite:
        raise ConfigError(f"{path}: expected one of resume and overwrite, got both; choose one")
    if overwrite or not (path.exists() or journal.exists()):
        return "absent"
    if not resume:
        raise RunFileError(
            f"{path}: expected a run that does not exist yet, got an existing one; continue it with "
            "--resume, replace it with --overwrite, or choose another name"
        )
    if not journal.exists():
        raise RunFileError(
            f"{path}: expected its journal {journal} beside it, got none; copy the folder "
            f"{journal.parent.name} back beside it, or start a new run under another name"
        )
    return "finished" if past.is_finished(journal) else "partial"


class RunLog:
    """The log of one run, open for writing. `RunLog.open` makes it; as a context manager it closes itself.

    Attributes:
        path: NAME.h5.
        history: the run's work up to its opening.
    """

    def __init__(self, path: Path, header: Header, lock: Lock, journal: Journal, file: Hdf5File, before: Past) -> None:
        self.path = path
        self.history: History = before.history
        self.header = header
        self._lock = lock
        self._journal = journal
        self._file = file
        self._finished = before.history.finished
        self._next = before.history.num_generations
        self._stored = before.history.snapshot.generation if before.history.snapshot is not None else 0
        self._known: tuple[set[int], set[int]] = (
            set(before.history.children["index"].tolist()),
            set(before.history.reevaluations["index"].tolist()),
        )
        self._mutex = threading.Lock()
        self._open = True

    @classmethod
    def open(
        cls,
        path: Path | str,
        header: Header,
        *,
        resume: bool = False,
        overwrite: bool = False,
        accept_versions: bool = False,
        job_id: str | None = None,
    ) -> RunLog:
        """Start or continue a run: take its lock, cut the journal's torn tail, rebuild the HDF5 file.

        This removes the files `current-*` of an earlier job, so ranks open theirs afterwards.

        Args:
            path: NAME.h5; the sidecar folder NAME.run is made beside it.
            header: this start's header.
            resume: start an absent run, continue a partial one, open a finished one.
            overwrite: replace an existing run.
            accept_versions: continue with other library versions, and record them.
            job_id: the batch job; a lock of the same job is taken over.

        Raises:
            RunFileError: the run exists, is held by another process, belongs to another experiment, has another layout
                or is damaged, and nothing was changed; or the disk is full, and nothing committed was changed.
            ConfigError: the path does not end with .h5, or both `resume` and `overwrite` are set.
        """
        path = Path(path)
        folder = sidecar(path)
        check(path, resume=resume, overwrite=overwrite)
        with contextlib.ExitStack() as undo:
            lock = _lock(folder, job_id)
            undo.callback(lock.release)
            # Checked again under the lock: no other process can start the run from here on.
            if check(path, resume=resume, overwrite=overwrite) == "absent":
                path.unlink(missing_ok=True)
                journal = _create_journal(folder, header, job_id)
            else:
                journal = _continue_journal(path, folder, header, job_id, accept_versions=accept_versions)
            undo.callback(journal.close)
            clear_current(folder)
            before = past.read_past(journal.path)
            file = _build(path, folder, before)
            log = cls(path, before.header, lock, journal, file, _without_this_start(before))
            undo.pop_all()
        return log

    def commit(self, generation: Generation) -> None:
        """Commit the next generation: durable in the journal, then in the HDF5 file.

        Raises:
            RunFileError: the disk is full (the journal stays valid), or the lock was taken over.
            ValueError: it is not the next generation, or an array has another length or dtype.
        """
        with self._mutex:
            self._validate(generation)
            self._lock.verify()
            self._journal.append(FrameType.COMMIT, encode_generation(generation))
            self._next += 1
            self._finished = False
            self._known = (set(), set())
            self._file.append(generation)

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Store vectors, unless later ones are stored already: durable in the journal, then in the HDF5 file.

        Raises:
            RunFileError: the disk is full, or the lock was taken over.
        """
        with self._mutex:
            if snapshot.generation <= self._stored:
                return
            self._lock.verify()
            self._journal.append(FrameType.SNAPSHOT, encode_snapshot(snapshot))
            self._finished = False
            self._stored = snapshot.generation
            self._file.add_snapshot(snapshot)

    def save_partial(self, generation: int, children: Records, reevaluations: Records) -> None:
        """Journal those finished records of the open generation that are not journalled yet.

        Args:
            generation: the open generation; any other was committed meanwhile, and is ignored.
            children: records of children; those without the flag DONE are left out.
            reevaluations: records of re-evaluations, likewise.

        Raises:
            RunFileError: the disk is full, or the lock was taken over.
        """
        with self._mutex:
            if generation != self._next:
                return
            new = tuple(_new(*pair) for pair in zip((children, reevaluations), self._known, strict=True))
            if not any(len(records) for records in new):
                return
            self._lock.verify()
            self._journal.append(FrameType.PARTIAL, encode_partial(Partial(generation, *new)))
            self._finished = False
            for known, records in zip(self._known, new, strict=True):
                known.update(records["index"].tolist())

    def renew_lock(self) -> None:
        """Show other jobs that this one lives; to be called every few seconds, from any thread.

        Raises:
            RunFileError: another process took the lock over.
        """
        self._lock.renew()

    def close(self, *, finished: bool = False) -> None:
        """Close the run cleanly, and remove the ranks' notes. A second call does nothing.

        Args:
            finished: whether the run ended by its stop criteria.

        Raises:
            RunFileError: the mark could not be written, or the lock was lost; everything is closed nevertheless.
        """
        self._close(finished=finished, clean=True)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # After an exception `current-*` stays, since it shows the work of the other ranks.
        self._close(finished=False, clean=kind is None)

    def _close(self, *, finished: bool, clean: bool) -> None:
        with self._mutex, contextlib.ExitStack() as stack:
            if not self._open:
                return
            self._open = False
            stack.callback(self._lock.release)
            stack.callback(self._journal.close)
            stack.callback(self._close_file)
            if finished and not self._finished:
                self._lock.verify()
                self._journal.append(FrameType.FINISHED, past.encode_finished(self._next))
                self._file.mark_finished()
            # A job that took over has its own files there.
            if clean and self._lock.is_held():
                clear_current(sidecar(self.path))

    def _close_file(self) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError) as error:
            logger.warning("%s: not closed cleanly (%s); the journal is, and --resume rebuilds it", self.path, error)

    def _validate(self, generation: Generation) -> None:
        sizes = self.header.sizes
        expected = (self._next, sizes.population_size, len(generation.contenders) * sizes.num_episodes)
        got = (generation.generation, len(generation.records), len(generation.reevaluations))
        if expected != got:
            raise ValueError(f"commit: expected (generation, children, re-evaluations) = {expected}, got {got}")
        if {generation.records.dtype, generation.reevaluations.dtype} != {self.header.record_dtype}:
            raise ValueError(f"commit: expected records of {self.header.record_dtype}, got another dtype")
        got = len(generation.contenders), len(generation.entries)
        if got[0] > sizes.num_contenders or not 0 < got[1] <= sizes.num_entries:
            raise ValueError(
                f"commit: expected at most {sizes.num_contenders} contenders and 1 to {sizes.num_entries} entries, "
                f"got {got[0]} and {got[1]}"
            )


def _lock(folder: Path, job_id: str | None) -> Lock:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Lock.acquire(folder / "lock", job_id)
    except OSError as error:
        raise RunFileError(
            f"{folder}: expected a folder to write to, got: {error}; check its permissions and the free space, or "
            "choose another with --out"
        ) from error


def _create_journal(folder: Path, header: Header, job_id: str | None) -> Journal:
    frames = [
        (FrameType.HEADER, past.encode_header(header)),
        (FrameType.START, past.encode_start(header, job_id)),
    ]
    journal = Journal.create(folder / "journal", frames)
    sync_folder(folder.parent)
    return journal


def _continue_journal(
    path: Path, folder: Path, header: Header, job_id: str | None, *, accept_versions: bool
) -> Journal:
    before = past.read_past(folder / "journal")
    refuse_differences(path, before.header, header, accept_versions=accept_versions)
    journal = Journal.open(folder / "journal")
    journal.append(FrameType.START, past.encode_start(header, job_id))
    return journal


def _without_this_start(before: Past) -> Past:
    history = dataclasses.replace(before.history, fruitless_restarts=before.history.fruitless_restarts - 1)
    return dataclasses.replace(before, history=history)


def _build(path: Path, folder: Path, before: Past) -> Hdf5File:
    file = Hdf5File.build(
        path,
        folder / "h5.new",
        before.header,
        past.read_generations(folder / "journal"),
        past.read_snapshots(folder / "journal"),
        created=before.created,
        version_history=before.version_history,
        finished=before.history.finished,
    )
    sync_folder(path.parent)
    return file


def _new(records: Records, known: set[int]) -> Records:
    done = records["flags"] & DONE != 0
    return records[done & ~np.isin(records["index"], list(known))]
