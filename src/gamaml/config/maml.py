"""The section [maml]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import check
from gamaml.config.options import option


@dataclass(frozen=True)
class MAMLConfig:
    """Gradient MAML (Finn et al. 2017), with `strategy = "maml"`: one meta-update per generation, on one rank.

    The tasks of an update are those of [inner]. The log step sizes and the log action std, where they are genes, are
    learned too (Meta-SGD, Li et al. 2017).
    """

    step_size: float = option(0.001, "Step size of Adam.", above=0)
    first_order: bool = option(False, "Whether the gradients of the inner updates count as constants.")

    def __post_init__(self) -> None:
        check(self, "maml")
