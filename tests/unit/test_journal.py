from __future__ import annotations

import resource
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_examples import example_config, example_generations, example_header

from gamaml.errors import RunFileError
from gamaml.runlog import SCHEMA_VERSION
from gamaml.runlog.generation import (
    Partial,
    decode_generation,
    decode_partial,
    encode_generation,
    encode_partial,
)
from gamaml.runlog.journal import FrameType, Journal, read_frames

FRAMES = [(FrameType.HEADER, b"header"), (FrameType.START, b"start"), (FrameType.COMMIT, b"generation zero")]


def make(path: Path, *more: tuple[FrameType, bytes]) -> bytes:
    journal = Journal.create(path, FRAMES)
    for frame in more:
        journal.append(*frame)
    journal.close()
    return path.read_bytes()


def contents(path: Path) -> list[tuple[FrameType, bytes]]:
    return [(frame_type, payload) for frame_type, payload, _ in read_frames(path)]


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    make(tmp_path / "journal", (FrameType.PARTIAL, b""), (FrameType.FINISHED, b"end"))
    assert contents(tmp_path / "journal") == [*FRAMES, (FrameType.PARTIAL, b""), (FrameType.FINISHED, b"end")]


def test_skipping_payloads_tells_types_and_ends_only(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    make(path)
    skipped = list(read_frames(path, payloads=()))
    assert [(kind, end) for kind, _, end in skipped] == [(kind, end) for kind, _, end in read_frames(path)]
    assert {payload for _, payload, _ in skipped} == {b""}


def test_creation_leaves_no_temporary_file(tmp_path: Path) -> None:
    make(tmp_path / "journal")
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_last_frame_torn_at_any_byte_is_left_out(tmp_path: Path) -> None:
    whole = len(make(tmp_path / "short"))
    full = make(tmp_path / "long", (FrameType.COMMIT, b"generation one"))
    torn = tmp_path / "torn"
    for length in range(whole, len(full)):
        torn.write_bytes(full[:length])
        assert contents(torn) == FRAMES


def test_last_frame_with_any_byte_lost_is_left_out(tmp_path: Path) -> None:
    whole = len(make(tmp_path / "short"))
    full = make(tmp_path / "long", (FrameType.COMMIT, b"generation one"))
    torn = tmp_path / "torn"
    for position in range(whole, len(full)):
        torn.write_bytes(full[:position] + bytes([full[position] ^ 1]) + full[position + 1 :])
        assert contents(torn) == FRAMES


@pytest.mark.parametrize("tail", [b"\0", bytes(4096), b"\xf5gmF", b"\xf5gmF" * 40])
def test_opening_cuts_a_torn_tail_and_the_next_frame_follows_the_last_good_one(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal"
    good = make(path)
    path.write_bytes(good + tail)
    journal = Journal.open(path)
    assert path.read_bytes() == good
    journal.append(FrameType.COMMIT, b"generation one")
    journal.close()
    assert contents(path) == [*FRAMES, (FrameType.COMMIT, b"generation one")]


def test_damage_before_a_good_frame_is_refused_and_nothing_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    content = make(path, (FrameType.COMMIT, b"generation one"))
    position = content.index(b"zero")
    damaged = content[:position] + b"ZERO" + content[position + 4 :]
    path.write_bytes(damaged)
    with pytest.raises(RunFileError, match=r"damage at byte \d+ with good frames from byte \d+ on; restore"):
        Journal.open(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(("more", "words"), [(1, "a newer gamaml; update gamaml"), (-1, "an older, never released")])
def test_another_schema_is_refused_by_number(tmp_path: Path, more: int, words: str) -> None:
    path = tmp_path / "journal"
    content = make(path)
    path.write_bytes(content[:8] + struct.pack("<I", SCHEMA_VERSION + more) + content[12:])
    message = f"expected schema_version {SCHEMA_VERSION}, got {SCHEMA_VERSION + more}, written by {words}"
    with pytest.raises(RunFileError, match=message):
        contents(path)


@pytest.mark.parametrize("content", [b"", b"gamaml", b"some other file, quite long"])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(RunFileError, match="expected a gamaml journal"):
        contents(path)


def test_full_disk_is_told_in_words_and_leaves_a_valid_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    good = make(path)
    journal = Journal.open(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(good) + 50, hard))
        with pytest.raises(RunFileError, match="expected to write to it, got: File too large; free space"):
            journal.append(FrameType.COMMIT, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == good
    journal.append(FrameType.COMMIT, b"after space was freed")
    journal.close()
    assert contents(path)[-1] == (FrameType.COMMIT, b"after space was freed")


@pytest.mark.parametrize("recombine", [1, 3])
def test_generation_survives_its_bytes(recombine: int) -> None:
    header = example_header(example_config(recombine=recombine))
    for generation in example_generations(2, header):
        back = decode_generation(encode_generation(generation), header.record_dtype, header.entry_dtype)
        for name in ("generation", "std", "incumbent_fitness", "contender", "seconds"):
            assert getattr(back, name) == getattr(generation, name)
        for name in ("records", "contenders", "reevaluations", "entries"):
            np.testing.assert_array_equal(getattr(back, name), getattr(generation, name))


@settings(deadline=None)
@given(num_children=st.integers(0, 6), num_reevaluations=st.integers(0, 8))
def test_partial_survives_its_bytes(num_children: int, num_reevaluations: int) -> None:
    [generation] = example_generations(1)
    partial = Partial(3, generation.records[:num_children], generation.reevaluations[:num_reevaluations])
    back = decode_partial(encode_partial(partial), example_header().record_dtype)
    assert back.generation == 3
    np.testing.assert_array_equal(back.children, partial.children)
    np.testing.assert_array_equal(back.reevaluations, partial.reevaluations)
