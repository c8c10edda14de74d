from __future__ import annotations

import numpy as np
import pytest

from gamaml.engine.node_rates import NodeRates
from gamaml.evolution.records import record_dtype
from gamaml.types import Records


def records(*done: tuple[int, float]) -> Records:
    """Return one record per (rank, seconds)."""
    array = np.zeros(len(done), record_dtype(0))
    array["rank"] = [rank for rank, _ in done]
    array["seconds"] = [seconds for _, seconds in done]
    return array


def test_before_the_first_batch_a_nodes_share_is_its_ranks() -> None:
    assert NodeRates([0, 0, 1, 2, 2, 2]).weights() == [2, 1, 3]


def test_a_node_at_half_speed_comes_to_half_the_weight() -> None:
    rates = NodeRates([0, 1])
    for _ in range(20):
        rates.add(records(*[(0, 1.0)] * 200, *[(1, 2.0)] * 100))
    one, other = rates.weights()
    assert one / other == pytest.approx(2, rel=0.02)


def test_few_evaluations_say_little() -> None:
    rates = NodeRates([0, 1])
    rates.add(records((0, 1.0), (1, 3.0)))
    one, other = rates.weights()
    # Relative to their mean of 2 s they took 0.5 and 1.5: speeds of (1 + 10) / (0.5 + 10) and (1 + 10) / (1.5 + 10).
    assert (one, other) == pytest.approx((11 / 10.5, 11 / 11.5))


def test_longer_episodes_for_all_change_nothing() -> None:
    rates = NodeRates([0, 0, 1])
    for seconds in (1.0, 1000.0, 0.001):
        rates.add(records(*[(rank, seconds) for rank in (0, 1, 2)] * 50))
    assert rates.weights() == pytest.approx([2, 1], rel=1e-6)


@pytest.mark.parametrize("batch", [records(), records((0, 0.0), (1, 0.0))])
def test_nothing_and_no_time_are_no_measurement(batch: Records) -> None:
    rates = NodeRates([0, 1])
    rates.add(batch)
    assert rates.weights() == [1, 1]


def test_a_node_that_recovers_gets_its_share_back() -> None:
    rates = NodeRates([0, 1])
    for slowness in (*[4.0] * 10, *[1.0] * 30):
        rates.add(records(*[(0, 1.0)] * 100, *[(1, slowness)] * 100))
    one, other = rates.weights()
    assert one / other == pytest.approx(1, rel=0.02)
