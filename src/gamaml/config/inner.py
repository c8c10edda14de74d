"""The section [inner]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamaml.config.checks import check
from gamaml.config.options import entries, option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: `rounds` of (collect `episodes`, then one gradient update), on each of `num_tasks` tasks."""

    rounds: int = option(1, "Number of updates; with 0 it is the plain deep GA.", at_least=0, with_env=0)
    num_tasks: int = option(8, "Tasks per evaluation; fitness is the mean over them.", at_least=1, with_env=1)
    episodes: int = option(20, "Episodes collected per task and round.", at_least=1, with_env=1)
    learner: str = option(
        "reinforce",
        'The loss that an update descends: "reinforce", "actor_critic" (generalised advantage estimation, with a value '
        "network among the evolved parameters), or a function of your own.",
        choices=("reinforce", "actor_critic"),
        own="my_module:my_loss",
    )
    optimiser: str = option("sgd", "The rule that turns a gradient into an update.", choices=("sgd", "adam"))
    step_size: float = option(0.1, "Step size of an update; the initial one where it is evolved.", above=0)
    step_size_decay: float = option(
        1.0,
        "Factor on the step size from one update of a task to the next. Below 1 it keeps step sizes that were learned "
        "for few rounds from diverging in many.",
        above=0,
        at_most=1,
    )
    step_size_gene: str = option(
        "none",
        'Evolved log step sizes: "none", "global" (one), "layer" (one per parameter array), "round" (one per round and '
        'parameter array) or "parameter" (one per parameter).',
        choices=("none", "global", "layer", "round", "parameter"),
    )
    discount: float = option(
        0.99,
        "Discount factor of the rewards-to-go in the gradient; the return that is reported is undiscounted.",
        above=0,
        at_most=1,
    )
    gae_lambda: float = option(
        0.95, 'With "actor_critic": 0 trusts the value network, 1 the rewards.', at_least=0, at_most=1
    )
    genes: tuple[str, ...] = option(
        (), "The factors that are evolved too, as their log odds.", choices=("discount", "gae_lambda")
    )
    genes_per_round: bool = option(False, "Whether each round has evolved factors of its own.")
    gene_rounds: int | None = option(
        None,
        'Rounds that have stds, step sizes and factors of their own, where "round" or `genes_per_round` asks for them; '
        "later rounds have those of the last. Left out, all rounds.",
        at_least=1,
        example=3,
    )
    baseline: str = option(
        "mean",
        'The baseline of a reward-to-go with "reinforce": "mean" (of the episodes at the same step) or "linear" (a '
        "ridge regression on observation and time, fitted to every batch).",
        choices=("mean", "linear"),
    )
    normalise_advantages: bool = option(True, "Whether advantages are scaled to mean 0 and std 1 in each update.")
    share_tasks: bool = option(
        True, "Whether all children of a generation get the same tasks; otherwise each draws its own."
    )
    batch_size: int = option(
        1,
        "Children that one compiled program evaluates together. It pays where an evaluation takes less than 2 ms: on "
        "sinusoid and bandit, 8 children per call are 1.7 times as fast as one. On navigation, 15 ms, little is to be "
        "gained, and each child more takes its memory. Another size rounds differently, so it is part of the science. "
        "A child's result does not depend on the others in its batch.",
        at_least=1,
    )

    def __post_init__(self) -> None:
        check(self, "inner")
        if self.learner == "actor_critic" and self.baseline != "mean":
            raise ConfigError(
                f'inner.baseline={self.baseline!r}: expected none with learner = "actor_critic", whose value network '
                "is its baseline; leave it out"
            )
        if self.learner == "reinforce" and "gae_lambda" in self.genes:
            raise ConfigError(
                "inner.genes: expected 'gae_lambda' with learner = \"actor_critic\" only, got it with 'reinforce', "
                "which has none; leave it out"
            )
        for gene in self.genes:
            value = getattr(self, gene)
            if not 0 < value < 1:
                raise ConfigError(
                    f"inner.{gene}={value}: expected a number between 0 and 1, since its log odds are evolved; "
                    f"choose e.g. 0.95, or leave {gene!r} out of inner.genes"
                )


LEFT_OUT = InnerConfig()
"""The default of `Config.inner`, recognised by identity, so an equal section that was given stays unchanged."""


def with_env(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names given in [inner], with defaults for an environment unless `rounds` is among them."""
    if "rounds" in given:
        return dict(given)
    defaults = {entry.name: entry.option.with_env for entry in entries(InnerConfig)}
    return {name: value for name, value in defaults.items() if value is not None} | dict(given)
