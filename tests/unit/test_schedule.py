"""Settings that change from one generation to the next."""

from __future__ import annotations

import pytest

from gamaml.config import GAConfig
from gamaml.evolution.schedule import mutation_std


def test_the_std_is_constant_by_default() -> None:
    config = GAConfig(mutation_std=0.3)
    assert [mutation_std(config, generation) for generation in (0, 7, 10_000)] == [0.3, 0.3, 0.3]


def test_the_std_goes_exponentially_from_first_to_last_and_stays() -> None:
    config = GAConfig(mutation_std=0.4, mutation_std_final=0.1, mutation_std_generations=2)
    stds = [mutation_std(config, generation) for generation in (0, 1, 2, 3)]
    assert stds == pytest.approx([0.4, 0.2, 0.1, 0.1])
