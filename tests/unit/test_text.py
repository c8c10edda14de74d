"""Numbers, sizes and tables as people read them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gamaml.commands import text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0:00"), (0.2, "0:01"), (59.5, "1:00"), (83, "1:23"), (3600, "1:00:00"), (math.nan, "?"), (math.inf, "?")],
)
def test_durations_read_like_a_clock(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (2.0, "2.000"),
        (123456.7, "123457"),
        (12.3456, "12.35"),
        (0.012345, "0.01235"),
        (-1e-9, "-1e-09"),
        (1e9, "1e+09"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers_have_about_four_digits(value: float, expected: str) -> None:
    assert text.number(value) == expected


def test_change_is_from_the_first_to_the_last_and_of_one_number_that_number() -> None:
    assert text.change(np.array([-28.4, -10.0, -5.5])) == "-28.40 -> -5.500"
    assert text.change(np.array([0.25])) == "0.2500"


def test_sizes_are_mib_and_small_ones_kib() -> None:
    assert (text.size(3 << 19), text.size(1 << 10)) == ("1.5 MiB", "1.0 KiB")


def test_runs_of_numbers_are_written_as_ranges() -> None:
    assert text.spans([0, 1, 2, 7, 9, 10]) == "0-2,7,9-10"


def test_spread_keeps_the_first_and_the_last() -> None:
    assert text.spread(100, 4) == [0, 33, 66, 99]
    assert text.spread(2, 4) == [0, 1]


def test_losses_count_samples_and_returns_environment_steps() -> None:
    assert (text.step_unit("loss"), text.step_unit("return")) == ("samples", "environment steps")


def test_optimum_is_a_number_or_said_to_be_unknown() -> None:
    assert text.optimum(6.66) == "6.6600, exactly computed"
    assert text.optimum(math.nan) == "not known, out of reach of exact computation"


def test_columns_of_a_table_stand_below_each_other() -> None:
    assert text.table([("a", "bb"), ("ccc", "d")]) == ["  a  bb", "ccc   d"]
    assert text.table([("a", "bb"), ("ccc", "d")], str.ljust) == ["a    bb", "ccc  d"]
    assert text.named({"a": "1", "bcd": "2"}) == ["  a    1", "  bcd  2"]
