"""The section [ga], and [ga.elite] in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamaml.config.checks import check
from gamaml.config.options import option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class EliteConfig:
    """The choice of the elite (Such et al. 2017, Algorithm 1; the previous elite is re-evaluated too)."""

    candidates: int = option(
        10, "The previous elite and the best children that compete with it; 0 keeps no elite, 1 is refused.", at_least=0
    )
    episodes: int = option(30, "Fresh evaluations of each candidate; the best mean is the elite.", at_least=1)

    def __post_init__(self) -> None:
        check(self, "ga.elite")
        if self.candidates == 1:
            raise ConfigError(
                "ga.elite.candidates=1: expected 0 or at least 2, since 1 would re-evaluate the old elite alone; "
                "choose 0 (no elite) or 2"
            )


@dataclass(frozen=True)
class GAConfig:
    """The genetic algorithm: truncation selection (Such et al. 2017)."""

    population_size: int = option(200, "Children per generation.", at_least=1)
    num_parents: int = option(20, "Parents that survive truncation, the elite among them.", at_least=1)
    recombine: int = option(
        1,
        "Parents of a child, drawn without repetition; their mean is mutated. Such et al. have 1.",
        at_least=1,
    )
    mutation_std: float = option(
        0.05, "Standard deviation of the mutation, in units of the noise table's standard normals.", above=0
    )
    mutation_std_final: float | None = option(
        None, "Final value of the std; left out, it stays at `mutation_std`.", above=0, example=0.01
    )
    mutation_std_generations: int | None = option(
        None,
        "Generations over which the std goes exponentially from first to last; left out, the whole run, by the "
        "generations or environment steps of [stop].",
        at_least=1,
        example=100,
    )
    mutation_scale: str = option(
        "uniform",
        'With "fan_in" the std of a weight matrix is divided by sqrt(fan_in / 10) where fan_in > 10.',
        choices=("uniform", "fan_in"),
    )
    gene_scale: float = option(2.0, "Factor on the std of the genes (log step sizes, log action std).", above=0)
    elite: EliteConfig = field(default_factory=EliteConfig)

    def __post_init__(self) -> None:
        check(self, "ga")
        self._check_within_population("ga.num_parents", self.num_parents)
        if self.recombine > self.num_parents:
            raise ConfigError(
                f"ga.recombine={self.recombine} exceeds ga.num_parents={self.num_parents}; "
                f"choose at most {self.num_parents}"
            )
        self._check_within_population("ga.elite.candidates", self.elite.candidates)

    def _check_within_population(self, name: str, value: int) -> None:
        if value > self.population_size:
            raise ConfigError(
                f"{name}={value} exceeds ga.population_size={self.population_size}; "
                f"choose at most {self.population_size}"
            )
