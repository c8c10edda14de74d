"""The section [multifactorial]."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from gamaml.config.checks import check, check_pairs
from gamaml.config.options import option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class MultifactorialConfig:
    """Multifactorial recombination, with `strategy = "multifactorial"`: one centre, children on one task each.

    `inner.num_tasks` is then the number of tasks of a litter, best 1. `ga.mutation_scale` and `ga.gene_scale` apply
    here too: they scale the noise of each parameter.
    """

    population_size: int = option(128, "Children per generation, in mirrored pairs: an even number.", at_least=2)
    litters: int | None = option(
        None,
        "Litters, each of which meets a task of its own; they divide the pairs evenly. Left out: 8, or the next lower "
        'divisor; with ranking = "pair" one per pair; with `env.id` 1, since all children meet the same task.',
        at_least=1,
        example=8,
    )
    ranking: str = option(
        "litter",
        'The ranks behind the weights: "litter", of each child in its litter, or "pair", of the difference between the '
        "two children of a pair among all pairs, by its size. The latter takes litters of one pair, too.",
        choices=("litter", "pair"),
    )
    std: float = option(
        0.2, "Standard deviation of the perturbation, in units of the noise table's standard normals.", above=0
    )
    std_final: float | None = option(
        None, "Final value of the std; left out, it stays at `std`.", above=0, example=0.03
    )
    std_generations: int | None = option(
        None,
        "Generations over which the std goes exponentially from first to last; left out, the whole run, by the "
        "generations or environment steps of [stop].",
        at_least=1,
        example=100,
    )
    step_control: str = option(
        "schedule",
        'The control of the std: "schedule" (std, std_final), or "csa", cumulative step-size adaptation from `std` on '
        "by the length of the centre's path, which rank 0 computes.",
        choices=("schedule", "csa"),
    )
    rate: float = option(2.5, "Factor on the weighted sum of the perturbations, the centre's step.", above=0)
    episodes: int = option(
        8, "Fresh evaluations of the incumbent in every generation; they are only reported.", at_least=1
    )

    def __post_init__(self) -> None:
        check(self, "multifactorial")
        check_pairs("multifactorial.population_size", self.population_size)
        pairs = self.population_size // 2
        if self.litters is not None and pairs % self.litters:
            raise ConfigError(
                f"multifactorial.litters={self.litters}: expected a divisor of the {pairs} pairs, since litters are "
                f"equally large; choose e.g. {_divisor(pairs, self.litters)}"
            )
        if self.litters == pairs and self.ranking == "litter" and pairs > 1:
            raise ConfigError(
                f"multifactorial.litters={self.litters}: expected litters of at least two pairs with ranking = "
                '"litter", where two ranks say only which is better; choose fewer, or ranking = "pair"'
            )
        if self.step_control == "csa" and self.std_final is not None:
            raise ConfigError(
                f'multifactorial.std_final={self.std_final}: expected none with step_control = "csa", which adapts '
                "the std; leave it out"
            )

    def with_litters(self) -> MultifactorialConfig:
        """Return the section with the default number of litters where none is given."""
        pairs = self.population_size // 2
        if self.litters is not None:
            return self
        if self.ranking == "pair":
            return dataclasses.replace(self, litters=pairs)
        return dataclasses.replace(self, litters=_divisor(pairs, max(1, min(_LITTERS, pairs // 2))))


_LITTERS = 8


def _divisor(number: int, most: int) -> int:
    """Return the greatest divisor of a number up to `most`."""
    return max(divisor for divisor in range(1, min(number, most) + 1) if number % divisor == 0)
