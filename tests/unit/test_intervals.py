"""Interquartile means by hand, and confidence intervals that cover as often as they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gamaml.engine import intervals
from gamaml.engine.intervals import bootstrap, interquartile_mean
from gamaml.types import Float64Array

COLUMNS = 500
"""Simulations per call: a column each, with the resamples of the others and data of its own."""


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(seed))


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make simulations quick; with 10,000 resamples the coverages are the same to half a percent."""
    monkeypatch.setattr(intervals, "_RESAMPLES", 2000)


def covered(values: Float64Array, against: Float64Array | None = None, mean: float = 0.0) -> Any:
    """Return bool[COLUMNS]: whether an interval covers the true mean."""
    low, high = bootstrap(values, against)
    return (low <= mean) & (mean <= high)


def seeds_and_tasks(number: int, random: np.random.Generator) -> Float64Array:
    """Return float64[number, 20, COLUMNS] of mean 0: merits of the seeds, difficulties of the tasks, and luck."""
    seeds, tasks = random.standard_normal((number, 1, COLUMNS)), random.standard_normal((20, COLUMNS))
    return seeds + tasks + random.standard_normal((number, 20, COLUMNS))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([7], 7),
        ([1, 9], 5),
        ([1, 2, 9], 4),
        ([0, 4, 6, 100], 5),
        ([100, 4, 3, 2, 0], 3),
        ([-50, 1, 2, 3, 4, 5, 60], 3),
        ([1, 2, 3, 4, 5, 6, 7, 80], 4.5),
        ([-np.inf, 1, 3, 5], 2),
        ([-np.inf, 1, 3], -np.inf),
    ],
)
def test_the_interquartile_mean_leaves_out_a_quarter_rounded_down_at_either_end(
    values: list[float], expected: float
) -> None:
    assert interquartile_mean(np.array(values, np.float64)) == expected
    columns = np.array([values, values], np.float64).T
    np.testing.assert_array_equal(interquartile_mean(columns), [expected, expected])


def test_bootstrap_intervals_are_those_of_theory_for_many_normal_values() -> None:
    values = generator().standard_normal((400, 1)) + 1e6
    low, high = bootstrap(values)[:, 0] - values.mean()
    expected = 1.966 * values.std(ddof=1) / np.sqrt(400)
    assert -low == pytest.approx(expected, rel=0.05)
    assert high == pytest.approx(expected, rel=0.05)
    np.testing.assert_array_equal(bootstrap(values), bootstrap(values))


def test_bootstrap_of_equal_values_is_a_point_and_of_diverged_ones_nothing() -> None:
    values = np.array([[2.0, 1.0, np.nan], [2.0, np.inf, 1.0], [2.0, 3.0, 4.0]])
    expected = [[2, np.nan, np.nan], [2, np.nan, np.nan]]
    np.testing.assert_array_equal(bootstrap(values), expected)
    np.testing.assert_array_equal(bootstrap(np.array([values, values])), expected)
    np.testing.assert_array_equal(bootstrap(values, values), [[0, np.nan, np.nan], [0, np.nan, np.nan]])


def test_the_interval_of_a_difference_is_that_of_the_paired_differences() -> None:
    one, other = generator().standard_normal((2, 30, 3))
    np.testing.assert_allclose(bootstrap(one, other), bootstrap(one - other), rtol=1e-9)


def test_t_quantiles_are_those_of_the_tables() -> None:
    for freedom, quantile in ((1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (199, 1.97196)):
        assert intervals._t_quantile(freedom) == pytest.approx(quantile, rel=2e-6)


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize("num_tasks", [10, 200])
def test_intervals_of_one_run_cover_95_percent_of_normal_returns(num_tasks: int) -> None:
    random = generator(3)
    hits = [covered(random.standard_normal((num_tasks, COLUMNS)) + 7, mean=7) for _ in range(6)]
    # 3,000 simulations: the standard error is 0.4 %, so the bounds are five of them away.
    assert 0.93 <= np.mean(hits) <= 0.97


@pytest.mark.usefixtures("fewer_resamples")
def test_without_the_widening_intervals_over_ten_tasks_would_cover_too_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_widening", lambda number: 1.0)
    hits = [covered(generator(seed).standard_normal((10, COLUMNS))) for seed in range(6)]
    assert np.mean(hits) < 0.92


@pytest.mark.usefixtures("fewer_resamples")
@pytest.mark.parametrize(("num_seeds", "least", "most"), [(3, 0.93, 0.98), (5, 0.94, 0.99)])
def test_intervals_over_seeds_cover_95_percent_or_a_little_more(num_seeds: int, least: float, most: float) -> None:
    random = generator(4)
    hits = [covered(seeds_and_tasks(num_seeds, random)) for _ in range(4)]
    assert least <= np.mean(hits) <= most


@pytest.mark.usefixtures("fewer_resamples")
def test_intervals_over_seeds_cover_where_seeds_alone_differ() -> None:
    random = generator(5)
    hits = [covered(np.repeat(random.standard_normal((3, 1, COLUMNS)), 2, axis=1)) for _ in range(4)]
    assert 0.93 <= np.mean(hits) <= 0.97


@pytest.mark.usefixtures("fewer_resamples")
def test_intervals_of_a_difference_cover_as_much_or_more() -> None:
    random = generator(6)
    hits = [covered(seeds_and_tasks(3, random) + 2, seeds_and_tasks(5, random), mean=2) for _ in range(2)]
    assert np.mean(hits) >= 0.94


def test_tasks_are_drawn_for_all_seeds_together() -> None:
    # The seeds agree on every task, so nothing but the tasks' difficulty is left, as with one seed.
    tasks = generator().standard_normal((50, 2))
    np.testing.assert_allclose(bootstrap(np.array([tasks, tasks, tasks])), bootstrap(tasks), rtol=1e-9)
