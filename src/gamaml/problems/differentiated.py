"""An evaluation together with its derivative, as gradient MAML asks it of a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gamaml.types import Evaluation, EvaluationKey, Float32Array


@dataclass(frozen=True)
class Differentiated:
    """What one evaluation found, and where to go from there.

    Attributes:
        evaluation: of some parameters under a key.
        gradient: float32[num_params], the direction that improves the fitness.
    """

    evaluation: Evaluation
    gradient: Float32Array


class Latest:
    """Remembers the latest result: an update asks for the derivative of what its generation has evaluated.

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
