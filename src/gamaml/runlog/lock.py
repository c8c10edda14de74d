"""The lock of a run: one file, created exclusively, that names the process that writes the run.

A lock whose holder is gone is taken over. This is free of races: every lock instance has a token, and replacing
instance T needs the lock `lock.T`, which only one process can create.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from gamaml.errors import RunFileError
from gamaml.job.host_facts import boot_id

STALE_SECONDS = 120.0
"""A lock that was not renewed for this time, by the file system's own clock, is taken over."""


@dataclass(frozen=True)
class Holder:
    """The holder of a lock.

    Attributes:
        host: name of the host.
        boot_id: a text that changes with every boot of the host.
        pid_namespace: the namespace of `pid`; it differs between containers of one host.
        pid: the process.
        pid_start: when the process started, in clock ticks since boot; needed because pids are reused.
        job_id: the batch job, or None.
        token: a text that is unique for every lock ever taken.
    """

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    pid_start: int
    job_id: str | None
    token: str

    @classmethod
    def this_process(cls, job_id: str | None) -> Holder:
        """Return this process as the holder of a new lock."""
        pid = os.getpid()
        status = _process_status(pid)
        return cls(
            host=platform.node(),
            boot_id=boot_id(),
            pid_namespace=_pid_namespace(),
            pid=pid,
            pid_start=status[1] if status else 0,
            job_id=job_id,
            token=uuid.uuid4().hex,
        )

    def is_dead(self) -> bool:
        """Whether the process is known to have ended; False if this cannot be known from here."""
        if (self.boot_id, self.pid_namespace) != (boot_id(), _pid_namespace()):
            return False
        status = _process_status(self.pid)
        return status is None or status[0] in "ZX" or status[1] != self.pid_start

    def __str__(self) -> str:
        job = f", job {self.job_id}" if self.job_id is not None else ""
        return f"process {self.pid} on host {self.host}{job}"


class Lock:
    """A lock held by this process.

    Args:
        path: the lock file.
        holder: this process, with the lock's token.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self.holder = holder

    @classmethod
    def acquire(cls, path: Path, job_id: str | None = None) -> Lock:
        """Take the lock; replace a holder that belongs to the same job, is dead, or stopped renewing.

        Raises:
            RunFileError: another process holds the lock; the message names it and a remedy.
        """
        return cls(path, _take(path, job_id))

    def is_held(self) -> bool:
        """Whether the lock was not taken over by another process."""
        holder = read_holder(self.path)
        return holder is not None and holder.token == self.holder.token

    def verify(self) -> None:
        """Raise RunFileError if another process took the lock over."""
        if not self.is_held():
            holder = read_holder(self.path)
            raise RunFileError(
                f"{self.path}: expected to hold the lock, got {holder or 'no lock'}, which took it over "
                f"(this process did not renew it for {STALE_SECONDS:.0f} s, or both are of one job); "
                "end one of them"
            )

    def renew(self) -> None:
        """Show that the holder lives; to be called every few seconds. Raises RunFileError like `verify`."""
        self.verify()
        os.utime(self.path)

    def release(self) -> None:
        """Remove the lock, if this process still holds it."""
        if self.is_held():
            self.path.unlink(missing_ok=True)


def read_holder(path: Path) -> Holder | None:
    """Return the lock's holder, None without a lock. An unreadable lock has an unknown holder."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(content))
    except (ValueError, TypeError):
        return Holder("unknown", "", "", 0, 0, None, token="unknown")


def live_holder(path: Path) -> Holder | None:
    """Return the lock's holder if it renewed the lock lately, by this host's clock; None otherwise."""
    holder = read_holder(path)
    if holder is None or holder.is_dead():
        return None
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    return holder if age < STALE_SECONDS else None


def _take(path: Path, job_id: str | None) -> Holder:
    me = Holder.this_process(job_id)
    own = path.with_name(f"{path.name}.{me.token}.new")
    own.write_text(json.dumps(dataclasses.asdict(me)))
    try:
        # The lock may vanish or change hands between any two reads: repeat until one view is consistent.
        while not _create(own, path):
            holder = read_holder(path)
            if holder is not None and _may_replace(path, holder, own, job_id):
                _replace(path, holder, own)
    finally:
        own.unlink(missing_ok=True)
    return me


def _create(own: Path, path: Path) -> bool:
    """Create the lock, exclusively and complete; False if another exists, True if it is ours already."""
    if not own.exists():
        return True
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here: the lock is empty for an instant, so a reader finds an unknown holder
        try:
            with path.open("xb") as file:
                file.write(own.read_bytes())
        except FileExistsError:
            return False
    return True


def _may_replace(path: Path, holder: Holder, own: Path, job_id: str | None) -> bool:
    if holder.is_dead() or (job_id is not None and holder.job_id == job_id):
        return True
    os.utime(own)  # its time now comes from the file system's clock, which may differ from this host's
    try:
        age = own.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return False
    if age > STALE_SECONDS:
        return True
    raise RunFileError(
        f"{path}: expected a run that no process writes, got one held by {holder}, renewed {max(age, 0):.0f} s "
        "ago; wait for it or end it, or use another run name (a lock not renewed for "
        f"{STALE_SECONDS:.0f} s is taken over)"
    )


def _replace(path: Path, holder: Holder, own: Path) -> None:
    """Replace the lock instance of `holder` by our own, if it still exists."""
    claim = path.with_name(f"{path.name}.{holder.token}")
    _take(claim, None)
    try:
        present = read_holder(path)
        if present is not None and present.token == holder.token:
            own.replace(path)
    finally:
        claim.unlink(missing_ok=True)


def _process_status(pid: int) -> tuple[str, int] | None:
    """Return (state, start in clock ticks since boot) of a process, or None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in parentheses, may itself contain blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
