"""The section [maml]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import above_zero


@dataclass(frozen=True)
class MAMLConfig:
    """Gradient MAML (Finn et al. 2017), with strategy = "maml": one meta-update per generation, on one rank.

    The tasks of an update are those of [inner]; the log step sizes and the log action std, where they are genes, are
    learned too (Meta-SGD, Li et al. 2017).

    Attributes:
        step_size: step size of Adam.
        first_order: whether the gradients of the inner updates count as constants.
    """

    step_size: float = 1e-3
    first_order: bool = False


def validate(maml: MAMLConfig) -> None:
    """Raise ConfigError."""
    above_zero("maml.step_size", maml.step_size)
