"""From a config to its strategy."""

from __future__ import annotations

import functools
import json
from typing import Any

from gamaml.config import Config
from gamaml.config.user_code import build, find
from gamaml.errors import ConfigError
from gamaml.evolution.checked_strategy import CheckedStrategy
from gamaml.evolution.evolution_strategy import EvolutionStrategy
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.evolution.gradient_maml import GradientMAML
from gamaml.evolution.multifactorial_recombination import Multifactorial
from gamaml.evolution.random_search import RandomSearch
from gamaml.evolution.strategy import MEMBERS, Space, Strategy


def make(config: Config) -> Strategy:
    """Return the strategy of a config, the same object for the same settings.

    Raises:
        ConfigError: the user's own strategy is missing, lacks a member, or refuses its settings.
    """
    custom = {} if config.custom is None else dict(config.custom.settings)
    sections = config.ga, config.multifactorial, config.es, config.maml
    return _make(config.strategy, *sections, json.dumps(custom, sort_keys=True))


@functools.cache
def _make(name: str, ga: Any, multifactorial: Any, es: Any, maml: Any, custom: str) -> Strategy:  # config sections
    if es is not None:
        return EvolutionStrategy(es)
    if maml is not None:
        return GradientMAML(maml)
    if multifactorial is not None:
        return Multifactorial(multifactorial)
    if name == "random":
        return RandomSearch(ga)
    if ":" in name:
        return _own(name, json.loads(custom))
    return GeneticAlgorithm(ga)


def _own(name: str, settings: dict[str, Any]) -> Strategy:
    subject = f"strategy={name!r}"
    cls = find(name, subject, "class", lambda value: isinstance(value, type))
    lacking = [member for member in MEMBERS if not hasattr(cls, member)]
    if lacking:
        raise ConfigError(
            f"{subject}: expected a class with {', '.join(MEMBERS)}, got one without {', '.join(lacking)}; "
            "define the missing members (docs/strategies.md)"
        )
    return CheckedStrategy(build(cls, settings, section="custom", kind="strategy", name=name), name)


def space_of(config: Config, num_params: int) -> Space:
    """Return the space that a config's strategy searches.

    Args:
        config: gives the size of the noise table, and whether children share tasks.
        num_params: length of a parameter vector.
    """
    return Space(num_params, config.noise.size - num_params + 1, config.inner.share_tasks)
