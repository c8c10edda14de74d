"""Settings that change in the course of a run."""

from __future__ import annotations

import pytest

from gamaml.config import StopConfig
from gamaml.engine.stopping import share_done
from gamaml.evolution.schedule import decayed, share_of


def test_without_an_end_the_value_is_constant() -> None:
    assert [decayed(0.3, None, share) for share in (0.0, 0.5, 1.0)] == [0.3, 0.3, 0.3]


def test_the_value_goes_exponentially_from_first_to_last() -> None:
    values = [decayed(0.4, 0.1, share) for share in (0.0, 0.5, 1.0)]
    assert values == pytest.approx([0.4, 0.2, 0.1])


def test_a_schedule_is_as_long_as_the_run_or_as_its_own_number_of_generations() -> None:
    assert share_of(None, 3, 0.25) == 0.25
    assert [share_of(8, generation, 0.25) for generation in (2, 8, 9)] == [0.25, 1.0, 1.0]


@pytest.mark.parametrize(
    ("stop", "share"),
    [
        (StopConfig(generations=8), 0.25),
        (StopConfig(environment_steps=1000), 0.5),
        (StopConfig(generations=8, environment_steps=1000), 0.5),
        (StopConfig(generations=2, environment_steps=1000), 1.0),
        (StopConfig(generations=1, seconds=3.0), 1.0),
        (StopConfig(fitness=3.0, seconds=1.0), 0.0),
    ],
)
def test_the_share_of_a_run_is_that_of_the_nearest_end(stop: StopConfig, share: float) -> None:
    assert share_done(stop, generations=2, environment_steps=500) == share
