"""The section [es]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import check, check_pairs
from gamaml.config.options import option


@dataclass(frozen=True)
class ESConfig:
    """Evolution strategies (Salimans et al. 2017), with `strategy = "es"`.

    `ga.mutation_scale` and `ga.gene_scale` apply here too: they scale the noise of each parameter.
    """

    population_size: int = option(200, "Children per generation, in mirrored pairs: an even number.", at_least=2)
    std: float = option(
        0.05, "Standard deviation of the perturbation, in units of the noise table's standard normals.", above=0
    )
    std_final: float | None = option(
        None, "Final value of the std; left out, it stays at `std`.", above=0, example=0.01
    )
    step_size: float = option(0.02, "Step size of Adam.", above=0)
    step_size_final: float | None = option(
        None, "Final step size; left out, it stays at `step_size`.", above=0, example=0.001
    )
    decay_generations: int | None = option(
        None,
        "Generations over which std and step size go exponentially from first to last; left out, the whole run, by the "
        "generations or environment steps of [stop].",
        at_least=1,
        example=100,
    )
    beta1: float = option(0.9, "Decay of Adam's first moment.", at_least=0, below=1)
    beta2: float = option(0.999, "Decay of Adam's second moment.", at_least=0, below=1)
    weight_decay: float = option(0.0, "Factor on the parameters that is subtracted from the gradient.", at_least=0)
    episodes: int = option(
        8, "Fresh evaluations of the centre in every generation; they are only reported.", at_least=1
    )

    def __post_init__(self) -> None:
        check(self, "es")
        check_pairs("es.population_size", self.population_size)
