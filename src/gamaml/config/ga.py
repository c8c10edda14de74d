"""The section [ga], and [ga.elite] in it."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamaml.config.checks import ADDED, above_zero, at_least, one_of
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class EliteConfig:
    """How the elite is chosen (Such et al. 2017, Algorithm 1; the previous elite is re-evaluated too).

    Attributes:
        candidates: the previous elite and the best candidates-1 children; 0 keeps no elite, 1 is refused.
        episodes: fresh evaluations of each candidate; the best mean is the elite.
    """

    candidates: int = 10
    episodes: int = 30


@dataclass(frozen=True)
class GAConfig:
    """Truncation selection (Such et al. 2017).

    Attributes:
        population_size: children per generation.
        num_parents: parents that survive truncation, the elite among them.
        recombine: parents of a child, drawn without repetition, whose mean is mutated; 1 as in Such et al.
        mutation_std: std of the mutation, in units of the noise table's standard normals.
        mutation_std_final: where the std ends; equal to `mutation_std` when None.
        mutation_std_generations: generations over which the std goes exponentially from first to last.
        mutation_scale: "uniform", or "fan_in": a weight matrix's std is divided by sqrt(fan_in / 10) where
            fan_in > 10.
        gene_scale: factor on the std of the genes (log step sizes, log action std).
    """

    population_size: int = 200
    num_parents: int = 20
    recombine: int = field(default=1, metadata=ADDED)
    mutation_std: float = 0.05
    mutation_std_final: float | None = None
    mutation_std_generations: int = 100
    mutation_scale: str = "uniform"
    gene_scale: float = 2.0
    elite: EliteConfig = field(default_factory=EliteConfig)


def validate(ga: GAConfig) -> None:
    """Raise ConfigError for a value out of range."""
    at_least("ga.population_size", ga.population_size, 1)
    at_least("ga.num_parents", ga.num_parents, 1)
    _at_most_population("ga.num_parents", ga.num_parents, ga)
    at_least("ga.recombine", ga.recombine, 1)
    if ga.recombine > ga.num_parents:
        raise ConfigError(
            f"ga.recombine={ga.recombine} exceeds ga.num_parents={ga.num_parents}; choose at most {ga.num_parents}"
        )
    above_zero("ga.mutation_std", ga.mutation_std)
    above_zero("ga.mutation_std_final", ga.mutation_std_final)
    at_least("ga.mutation_std_generations", ga.mutation_std_generations, 1)
    one_of("ga.mutation_scale", ga.mutation_scale, ("uniform", "fan_in"))
    above_zero("ga.gene_scale", ga.gene_scale)
    _validate_elite(ga)


def _validate_elite(ga: GAConfig) -> None:
    at_least("ga.elite.candidates", ga.elite.candidates, 0)
    at_least("ga.elite.episodes", ga.elite.episodes, 1)
    if ga.elite.candidates == 1:
        raise ConfigError(
            "ga.elite.candidates=1: expected 0 or at least 2, since 1 would re-evaluate the old elite alone; "
            "choose 0 (no elite) or 2"
        )
    _at_most_population("ga.elite.candidates", ga.elite.candidates, ga)


def _at_most_population(name: str, value: int, ga: GAConfig) -> None:
    if value > ga.population_size:
        raise ConfigError(
            f"{name}={value} exceeds ga.population_size={ga.population_size}; choose at most {ga.population_size}"
        )
