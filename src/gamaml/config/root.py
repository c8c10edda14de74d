"""The whole config: the root of the TOML, and the checks that cross its sections."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from gamaml.config.checks import check
from gamaml.config.custom import CustomConfig
from gamaml.config.env import EnvConfig
from gamaml.config.es import ESConfig
from gamaml.config.ga import GAConfig
from gamaml.config.inner import LEFT_OUT, InnerConfig, with_env
from gamaml.config.maml import MAMLConfig
from gamaml.config.multifactorial import MultifactorialConfig
from gamaml.config.noise import NoiseConfig
from gamaml.config.options import OWN, option, section_of
from gamaml.config.policy import MEMORIES, PolicyConfig
from gamaml.config.stop import StopConfig
from gamaml.config.task import TaskConfig
from gamaml.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that defines a run. Either `task.name` or `env.id` names the task."""

    seed: int = option(1, "Seed of the run; all its randomness comes from it.", at_least=0)
    strategy: str = option(
        "ga",
        'The algorithm that proposes and selects children: "ga" (genetic algorithm), "multifactorial" (one centre, '
        'children ranked among those of the same task), "es" (evolution strategies), "maml" (gradient MAML), "random" '
        "(the population of [ga], with every child drawn anew), or a class of your own.",
        choices=("ga", "multifactorial", "es", "maml", "random"),
        own="my_module:MyStrategy",
    )
    task: TaskConfig = field(default_factory=TaskConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    inner: InnerConfig = LEFT_OUT
    ga: GAConfig = field(default_factory=GAConfig)
    multifactorial: MultifactorialConfig | None = section_of("multifactorial")
    es: ESConfig | None = section_of("es")
    maml: MAMLConfig | None = section_of("maml")
    custom: CustomConfig | None = section_of(OWN)
    stop: StopConfig = field(default_factory=StopConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        check(self, "")
        # A section of another strategy would be part of the run's science without being used.
        object.__setattr__(self, "es", (self.es or ESConfig()) if self.strategy == "es" else None)
        object.__setattr__(self, "maml", (self.maml or MAMLConfig()) if self.strategy == "maml" else None)
        own = OWN in self.strategy
        if self.custom is not None and not own:
            raise ConfigError(
                'custom: expected only with a strategy of your own, "my_module:MyStrategy", got '
                f"strategy={self.strategy!r}; remove the section"
            )
        object.__setattr__(self, "custom", (self.custom or CustomConfig()) if own else None)
        if self.env.id and self.inner is LEFT_OUT:
            object.__setattr__(self, "inner", InnerConfig(**with_env({})))
        object.__setattr__(self, "multifactorial", _multifactorial(self))
        _check_subject(self.task, self.env)
        _check_updates(self.policy, self.inner)
        if self.maml is not None:
            _check_derivable(self.maml, self.policy, self.inner)
        _check_schedules(self)
        if self.strategy == "random" and self.ga.elite.candidates == 0:
            raise ConfigError(
                'ga.elite.candidates=0: expected at least 2 with strategy = "random", which keeps nothing but the '
                "elite; choose e.g. 2"
            )

    @property
    def subject(self) -> str:
        """The task's name or the environment's id."""
        return self.task.name or self.env.id


def _multifactorial(config: Config) -> MultifactorialConfig | None:
    """Return the section [multifactorial] with its number of litters, or None with another strategy."""
    if config.strategy != "multifactorial":
        return None
    section = config.multifactorial or MultifactorialConfig()
    if not config.inner.share_tasks:
        raise ConfigError(
            'inner.share_tasks=False: expected true with strategy = "multifactorial", whose litters share a task each; '
            "leave it out, and choose multifactorial.litters"
        )
    if not config.env.id:
        return section.with_litters()
    if section.litters not in (None, 1):
        raise ConfigError(
            f"multifactorial.litters={section.litters}: expected 1 with env.id, where all children meet the same task; "
            "leave it out"
        )
    return dataclasses.replace(section, litters=1)


def _check_schedules(config: Config) -> None:
    """Refuse a schedule over the whole run where nothing says how long that is."""
    stop = config.stop
    if stop.generations is not None or stop.environment_steps is not None:
        return
    for section, names, length in _SCHEDULES:
        settings: Any = config
        for part in section.split("."):
            settings = getattr(settings, part)
        if settings is None or getattr(settings, length) is not None:
            continue
        for name in names:
            if getattr(settings, name) is not None:
                raise ConfigError(
                    f"{section}.{name}={getattr(settings, name)}: expected a schedule that ends with the run, got a "
                    f"[stop] without generations and environment_steps; add one of them, or {section}.{length}"
                )


_SCHEDULES = (
    ("ga", ("mutation_std_final",), "mutation_std_generations"),
    ("multifactorial", ("std_final",), "std_generations"),
    ("es", ("std_final", "step_size_final"), "decay_generations"),
)
"""The sections with schedules, the final values in each, and the schedule's length."""


def _check_subject(task: TaskConfig, env: EnvConfig) -> None:
    if task.name and env.id:
        raise ConfigError(
            f"task.name, env.id: expected one of them, got both, {task.name!r} and {env.id!r}; remove one"
        )
    if not task.name and not env.id:
        raise ConfigError(
            'task.name, env.id: expected one of them, got neither; write e.g. name = "navigation" below [task], or '
            'id = "CartPole-v1" below [env]'
        )


def _check_updates(policy: PolicyConfig, inner: InnerConfig) -> None:
    """Refuse a policy that the updates of [inner] could not change."""
    if inner.rounds == 0:
        return
    if policy.std == 0:
        raise ConfigError(
            f"policy.std=0.0: expected a number above 0 with inner.rounds={inner.rounds}, since policy gradients "
            "need random actions; choose e.g. 0.5"
        )
    if policy.network in MEMORIES:
        raise ConfigError(
            f"inner.rounds={inner.rounds}: expected 0 with policy.network={policy.network!r}, which adapts by its "
            'memory in place of updates; set rounds = 0, or choose "mlp"'
        )


def _check_derivable(maml: MAMLConfig, policy: PolicyConfig, inner: InnerConfig) -> None:
    """Refuse an inner loop through which MAML cannot differentiate."""
    if inner.rounds == 0:
        raise ConfigError(
            'inner.rounds=0: expected at least 1 with strategy = "maml", which learns through updates; choose e.g. 1'
        )
    if policy.std_gene == "round":
        raise ConfigError(
            "policy.std_gene='round': expected true or false with strategy = \"maml\", which learns one std; choose "
            "true"
        )
    if policy.mean_at_end:
        raise ConfigError(
            'policy.mean_at_end=True: expected false with strategy = "maml", whose derivative needs drawn actions; '
            "leave it out"
        )
    if inner.genes:
        raise ConfigError(
            f'inner.genes={list(inner.genes)}: expected none with strategy = "maml", since no gradient passes through '
            'advantages; leave them out, or choose strategy = "es"'
        )
    if inner.optimiser == "adam" and not maml.first_order:
        raise ConfigError(
            "inner.optimiser='adam': expected 'sgd' with maml.first_order = false, since Adam's root has no derivative "
            "where a gradient is 0; set first_order = true, or choose 'sgd'"
        )
