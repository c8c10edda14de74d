"""The journal: an append-only file of checksummed frames, the authority on a run's past.

A preamble (magic, schema version) is followed by frames. A frame is a head (magic, type, length, checksum of the
payload, checksum of the head) and a payload. Every frame is synced before the next one is written, so a crash can tear
only the last frame, which is cut off when the journal is opened. A bad frame *followed by a good one* is damage, and is
refused.
"""

from __future__ import annotations

import enum
import errno
import os
import struct
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gamaml.errors import RunFileError
from gamaml.runlog.header import SCHEMA_VERSION, refuse_other_schema

_PREAMBLE = struct.Struct("<8sII")
_PREAMBLE_MAGIC = b"gamaml-j"
_FRAME = struct.Struct("<4sIQI")
_FRAME_MAGIC = b"\xf5gmF"
_CHECKSUM = struct.Struct("<I")
_FRAME_NBYTES = _FRAME.size + _CHECKSUM.size

ALL: Container[int] = range(1 << 32)
"""Every type of frame, even one that only a newer gamaml knows."""


class FrameType(enum.IntEnum):
    """The content of a frame. The values are on disk: never renumber them."""

    HEADER = 1
    START = 2
    COMMIT = 3
    PARTIAL = 4
    FINISHED = 5
    SNAPSHOT = 6


class Journal:
    """A journal open for appending.

    Args:
        path: the file, which exists and ends with a whole frame.
        end: number of bytes up to the end of the last frame.
    """

    def __init__(self, path: Path, end: int) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        self._end = end

    @classmethod
    def create(cls, path: Path, frames: Iterable[tuple[FrameType, bytes]]) -> Journal:
        """Write a new journal beside `path`, rename it to `path` (replacing an existing file), and open it.

        Raises:
            RunFileError: the disk is full.
        """
        content = _PREAMBLE.pack(_PREAMBLE_MAGIC, SCHEMA_VERSION, 0) + b"".join(_frame(*frame) for frame in frames)
        temporary = path.with_name(f"{path.name}.new")
        with temporary.open("wb") as file:
            try:
                _write(file.fileno(), content, 0)
                os.fsync(file.fileno())
            except OSError as error:
                raise _cannot_write(temporary, error) from error
        temporary.replace(path)
        sync_folder(path.parent)
        return cls(path, len(content))

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open an existing journal, and cut off a torn tail.

        Raises:
            RunFileError: the file is not a journal, has another layout, or is damaged before its last frame.
        """
        end = _PREAMBLE.size
        for _, _, end in read_frames(path):  # noqa: B007 - only the last end is used
            pass
        journal = cls(path, end)
        if os.fstat(journal._fd).st_size > end:
            os.ftruncate(journal._fd, end)
            os.fsync(journal._fd)
        return journal

    def append(self, frame_type: FrameType, payload: bytes) -> None:
        """Append one frame and sync it to disk.

        Raises:
            RunFileError: the disk is full or failing; the journal still ends with its last whole frame.
        """
        content = _frame(frame_type, payload)
        try:
            _write(self._fd, content, self._end)
            os.fsync(self._fd)
        except OSError as error:
            os.ftruncate(self._fd, self._end)
            raise _cannot_write(self.path, error) from error
        self._end += len(content)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_frames(path: Path, *, payloads: Container[int] = ALL) -> Iterator[tuple[FrameType, bytes, int]]:
    """Yield (type, payload, end in bytes) of every whole frame; a torn tail is left out.

    Only the frames present at the call are read, so a live journal can be read.

    Args:
        path: the journal.
        payloads: types of frames whose payloads are wanted. For other types the payload is not read or checked, and b""
            is yielded instead.

    Raises:
        RunFileError: the file is not a journal, has another layout, or is damaged before its last frame.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        _read_preamble(path, file)
        position = _PREAMBLE.size
        while position < size:
            found = _read_frame(path, file, position, size, payloads)
            if found is None:
                _refuse_damage(path, file, position, size)
                return
            yield found
            position = found[2]


def sync_folder(folder: Path) -> None:
    """Sync a folder, so the names of files just created or renamed in it survive a crash."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _frame(frame_type: FrameType, payload: bytes) -> bytes:
    head = _FRAME.pack(_FRAME_MAGIC, frame_type, len(payload), zlib.crc32(payload))
    return head + _CHECKSUM.pack(zlib.crc32(head)) + payload


def _write(fd: int, content: bytes, position: int) -> None:
    """Write all of `content`; pwrite may write less than asked when the disk fills up."""
    view = memoryview(content)
    while view:
        written = os.pwrite(fd, view, position)
        position += written
        view = view[written:]


def _cannot_write(path: Path, error: OSError) -> RunFileError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free space or raise the quota" if full else "check the file system"
    return RunFileError(
        f"{path}: expected to write to it, got: {error.strerror}; {remedy}, then continue with --resume "
        "(nothing that was committed is lost)"
    )


def _read_preamble(path: Path, file: BinaryIO) -> None:
    content = file.read(_PREAMBLE.size)
    if len(content) < _PREAMBLE.size or not content.startswith(_PREAMBLE_MAGIC):
        raise RunFileError(f"{path}: expected a gamaml journal, got another kind of file; choose another run name")
    refuse_other_schema(path, _PREAMBLE.unpack(content)[1])


def _read_frame(
    path: Path, file: BinaryIO, position: int, size: int, payloads: Container[int]
) -> tuple[FrameType, bytes, int] | None:
    """Return the frame at `position`, or None if there is no whole frame."""
    file.seek(position)
    head = file.read(_FRAME_NBYTES)
    if len(head) < _FRAME_NBYTES or head[-_CHECKSUM.size :] != _CHECKSUM.pack(zlib.crc32(head[: _FRAME.size])):
        return None
    magic, number, length, checksum = _FRAME.unpack_from(head)
    end = position + _FRAME_NBYTES + length
    if magic != _FRAME_MAGIC or end > size:
        return None
    wanted = number in payloads
    payload = file.read(length) if wanted else b""
    if wanted and zlib.crc32(payload) != checksum:
        return None
    try:
        return FrameType(number), payload, end
    except ValueError:
        raise RunFileError(
            f"{path}: expected frames of type 1 to {max(FrameType)}, got {number}; update gamaml to read it"
        ) from None


def _refuse_damage(path: Path, file: BinaryIO, position: int, size: int) -> None:
    """Raise if a whole frame follows the bad bytes at `position`, which are then no torn tail."""
    file.seek(position)
    rest = file.read(size - position)
    at = rest.find(_FRAME_MAGIC, 1)
    while at >= 0:
        if _read_frame(path, file, position + at, size, ALL) is not None:
            raise RunFileError(
                f"{path}: expected whole frames, got damage at byte {position} with good frames from byte "
                f"{position + at} on; restore the file from a copy, or start a new run"
            )
        at = rest.find(_FRAME_MAGIC, at + 1)
