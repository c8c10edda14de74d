"""Settings that change from one generation to the next."""

from __future__ import annotations

import pytest

from gamaml.evolution.schedule import decayed


def test_without_an_end_the_value_is_constant() -> None:
    assert [decayed(0.3, None, 100, generation) for generation in (0, 7, 10_000)] == [0.3, 0.3, 0.3]


def test_the_value_goes_exponentially_from_first_to_last_and_stays() -> None:
    values = [decayed(0.4, 0.1, 2, generation) for generation in (0, 1, 2, 3)]
    assert values == pytest.approx([0.4, 0.2, 0.1, 0.1])
