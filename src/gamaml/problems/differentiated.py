"""Evaluations together with their derivatives, for strategies that follow a gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gamaml.config import Config
from gamaml.evolution import chosen_strategy
from gamaml.types import Evaluation, EvaluationKey, Float32Array


def derivative_order(config: Config) -> int:
    """Return the order of the derivative that the strategy asks for.

    Returns:
        0 for none, 1 if the gradients of the inner updates count as constants, 2 for the whole derivative.
    """
    return chosen_strategy.make(config).sizes.derivative


@dataclass(frozen=True)
class Differentiated:
    """An evaluation and its derivative.

    Attributes:
        evaluation: evaluation of some parameters under a key.
        gradient: float32[num_params], the direction that improves the fitness.
    """

    evaluation: Evaluation
    gradient: Float32Array


class Latest:
    """Remembers the latest result, because an update asks for the derivative of the evaluation just before it.

    Args:
        compute: a pure function of (params, key).
    """

    def __init__(self, compute: Callable[[Float32Array, EvaluationKey], Differentiated]) -> None:
        self._compute = compute
        self._latest: tuple[bytes, Differentiated] | None = None

    def __call__(self, params: Float32Array, key: EvaluationKey) -> Differentiated:
        """Return the result for `params`, float32[num_params], under a key."""
        address = b"".join(array.tobytes() for array in (params, key.task, key.episode))
        if self._latest is None or self._latest[0] != address:
            self._latest = address, self._compute(params, key)
        return self._latest[1]
