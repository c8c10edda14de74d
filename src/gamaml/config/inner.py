"""The section [inner]."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamaml.config.checks import ADDED, above_zero, at_least, one_of
from gamaml.errors import ConfigError

LEARNERS = ("reinforce", "actor_critic")
GENES = ("discount", "gae_lambda")


@dataclass(frozen=True)
class InnerConfig:
    """The inner loop: `rounds` of (collect `episodes` -> one gradient update).

    Attributes:
        rounds: number of updates; 0 is the plain deep GA.
        num_tasks: tasks per evaluation; fitness is the mean over them.
        episodes: trajectories collected per task and round.
        learner: what an update of a policy descends: "reinforce", "actor_critic" (GAE, with a value network of its own
            among the evolved parameters), or a loss of your own as "my_module:my_loss".
        optimiser: "sgd" or "adam".
        step_size: step size of the update; the initial value where it is a gene.
        step_size_decay: factor on the step size from one update of a task to the next; 1: none. Many rounds with steps
            that were learned for few can diverge without.
        step_size_gene: "none" (fixed), "global" (one evolved log step size), "layer" (one per parameter array) or
            "parameter" (one per parameter).
        discount: discount factor of the reward-to-go in the gradient; the reported return is undiscounted.
        gae_lambda: of "actor_critic": 0 trusts its value network, 1 the rewards.
        genes: which of "discount" and "gae_lambda" are evolved too, as their log odds.
        baseline: what "reinforce" compares a reward-to-go with: "mean" (of the episodes at the same step) or "linear"
            (a ridge regression on the observations and the time, fitted to every batch).
        normalise_advantages: whether advantages are scaled to mean 0 and std 1 per update.
        share_tasks: True: all children of a generation meet the same tasks; False: each draws its own.
        batch_size: children evaluated together by one compiled program, which pays where a child costs little, as
            with few episodes and 0 rounds. Part of the science, since programs of different sizes round
            differently; a child's result does not depend on the others of its batch.
    """

    rounds: int = 1
    num_tasks: int = 8
    episodes: int = 20
    learner: str = field(default="reinforce", metadata=ADDED)
    optimiser: str = field(default="sgd", metadata=ADDED)
    step_size: float = 0.1
    step_size_decay: float = field(default=1.0, metadata=ADDED)
    step_size_gene: str = "none"
    discount: float = 0.99
    gae_lambda: float = field(default=0.95, metadata=ADDED)
    genes: tuple[str, ...] = field(default=(), metadata=ADDED)
    baseline: str = field(default="mean", metadata=ADDED)
    normalise_advantages: bool = True
    share_tasks: bool = True
    batch_size: int = 1


def validate(inner: InnerConfig) -> None:
    """Raise ConfigError for a value out of range."""
    at_least("inner.rounds", inner.rounds, 0)
    at_least("inner.num_tasks", inner.num_tasks, 1)
    at_least("inner.episodes", inner.episodes, 1)
    at_least("inner.batch_size", inner.batch_size, 1)
    above_zero("inner.step_size", inner.step_size)
    if not 0 < inner.step_size_decay <= 1:
        raise ConfigError(
            f"inner.step_size_decay={inner.step_size_decay}: expected a number above 0 and at most 1; choose e.g. 0.7"
        )
    one_of("inner.step_size_gene", inner.step_size_gene, ("none", "global", "layer", "parameter"))
    if ":" not in inner.learner:
        one_of("inner.learner", inner.learner, LEARNERS)
    one_of("inner.optimiser", inner.optimiser, ("sgd", "adam"))
    one_of("inner.baseline", inner.baseline, ("mean", "linear"))
    if inner.learner == "actor_critic" and inner.baseline != "mean":
        raise ConfigError(
            f'inner.baseline={inner.baseline!r}: expected none with learner = "actor_critic", whose value network is '
            "its baseline; leave it out"
        )
    if inner.learner == "reinforce" and "gae_lambda" in inner.genes:
        raise ConfigError(
            "inner.genes: expected 'gae_lambda' with learner = \"actor_critic\" only, got it with 'reinforce', which "
            "has none; leave it out"
        )
    if not 0 < inner.discount <= 1:
        raise ConfigError(f"inner.discount={inner.discount}: expected 0 < discount <= 1; choose e.g. 0.99")
    if not 0 <= inner.gae_lambda <= 1:
        raise ConfigError(f"inner.gae_lambda={inner.gae_lambda}: expected 0 to 1; choose e.g. 0.95")
    for i, gene in enumerate(inner.genes):
        one_of(f"inner.genes[{i}]", gene, GENES)
        value = getattr(inner, gene)
        if not 0 < value < 1:
            raise ConfigError(
                f"inner.{gene}={value}: expected a number between 0 and 1, since its log odds are evolved; "
                f"choose e.g. 0.95, or leave {gene!r} out of inner.genes"
            )
