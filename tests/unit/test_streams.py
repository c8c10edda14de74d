from __future__ import annotations

import itertools

import numpy as np
import pytest

from gamaml.evolution import streams
from gamaml.evolution.streams import Purpose

KEY = [2646980355, 1633337554]


def test_a_stream_follows_from_its_address_alone() -> None:
    assert np.array_equal(streams.key(1, Purpose.EPISODES, 2, 3, 4), streams.key(1, Purpose.EPISODES, 2, 3, 4))


def test_every_part_of_the_address_makes_another_stream() -> None:
    addresses = itertools.product((0, 1), Purpose, (0, 1), (0, 1), (0, 1))
    keys = [tuple(streams.key(*address).tolist()) for address in addresses]
    assert len(set(keys)) == len(keys) == 2 * len(Purpose) * 8


def test_the_purposes_numbers_are_those_of_the_run_files_written_so_far() -> None:
    assert {purpose.name: purpose.value for purpose in Purpose} == {
        "NOISE": 0,
        "PROPOSE": 1,
        "TASKS": 2,
        "EPISODES": 3,
        "CONTENDER_TASKS": 4,
        "CONTENDER_EPISODES": 5,
        "TEST_TASKS": 6,
        "TEST_EPISODES": 7,
        "NORMALISE": 8,
    }


def test_the_keys_are_those_of_the_run_files_written_so_far() -> None:
    key = streams.key(1, Purpose.EPISODES, generation=2, index=3, episode=4)
    assert key.dtype == np.uint32
    assert key.tolist() == KEY


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**130 + 7])
def test_many_streams_at_once_are_those_made_one_by_one(seed: int) -> None:
    address = (seed, Purpose.PROPOSE, 2**32 - 1)
    one_by_one = [streams.sequence(*address, index).generate_state(5) for index in range(20)]
    assert np.array_equal(streams.states(*address, count=20, num_words=5), one_by_one)
    assert np.array_equal(streams.keys(*address, count=20)[7], streams.key(*address, index=7))


def test_a_key_makes_the_same_generator_each_time() -> None:
    key = streams.key(1, Purpose.TASKS)
    assert streams.generator(key).random() == streams.generator(key).random()
