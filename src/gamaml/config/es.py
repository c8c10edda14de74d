"""The section [es]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import above_zero, at_least
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class ESConfig:
    """Evolution strategies (Salimans et al. 2017), with strategy = "es".

    `ga.mutation_scale` and `ga.gene_scale` hold here too: they scale the parameters that the noise is added to.

    Attributes:
        population_size: children per generation, in mirrored pairs.
        std: std of the perturbation, in units of the noise table's standard normals.
        std_final: where the std ends; equal to `std` when None.
        step_size: step size of Adam.
        step_size_final: where the step size ends; equal to `step_size` when None.
        decay_generations: generations over which std and step size go exponentially from first to last.
        beta1, beta2: decay of Adam's moments.
        weight_decay: factor on the parameters that is subtracted from the gradient.
        episodes: fresh evaluations of the centre in every generation, which only report.
    """

    population_size: int = 200
    std: float = 0.05
    std_final: float | None = None
    step_size: float = 0.02
    step_size_final: float | None = None
    decay_generations: int = 100
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    episodes: int = 8


def validate(es: ESConfig) -> None:
    """Raise ConfigError for a value out of range."""
    at_least("es.population_size", es.population_size, 2)
    if es.population_size % 2:
        raise ConfigError(
            f"es.population_size={es.population_size}: expected an even number, since children come in mirrored pairs; "
            f"choose {es.population_size + 1}"
        )
    for name in ("std", "std_final", "step_size", "step_size_final"):
        above_zero(f"es.{name}", getattr(es, name))
    at_least("es.decay_generations", es.decay_generations, 1)
    for name in ("beta1", "beta2"):
        value = getattr(es, name)
        if not 0 <= value < 1:
            raise ConfigError(f"es.{name}={value}: expected 0 <= {name} < 1; choose e.g. {getattr(ESConfig, name)}")
    at_least("es.weight_decay", es.weight_decay, 0)
    at_least("es.episodes", es.episodes, 1)
