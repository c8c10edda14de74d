"""The settings of claim.py: claim_settings.toml, and the configs that follow from it."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
_FILE = Path(__file__).with_suffix(".toml")
_SETTINGS = tomllib.loads(_FILE.read_text())

METHODS: Mapping[str, list[str]] = _SETTINGS["methods"]
"""The methods, and the settings that each has on every task."""

TASKS = [name for name in _SETTINGS if name != "methods"]

_QUICK = {
    "multifactorial": ["multifactorial.population_size=8", "multifactorial.litters=2"],
    "ga": ["ga.population_size=8", "ga.num_parents=4", "ga.elite.candidates=2", "ga.elite.episodes=1"],
    "es": ["es.population_size=8"],
}

_ENDLESS = "stop.generations=1_000_000"


@dataclass(frozen=True)
class MethodSettings:
    """The settings of a method on a task.

    Attributes:
        set: changes to the config for every K.
        rounds: further changes by K.
        tried: the settings that were tried, with K, the budget and the score found.
    """

    set: Sequence[str]
    rounds: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    tried: Sequence[Mapping[str, Any]] = ()  # values of TOML

    def at(self, rounds: int) -> list[str]:
        """Return all changes for K rounds."""
        return [*self.set, *self.rounds.get(str(rounds), [])]

    def num_tried(self, rounds: int) -> int:
        """Return the number of settings that were tried with K rounds."""
        return sum(each["rounds"] == rounds for each in self.tried)


@dataclass(frozen=True)
class Subject:
    """A task.

    Attributes:
        name: name of the task and of its config in configs/.
        metric: "return" or "loss".
        held_out: number of held-out tasks that a score averages.
        curve_tasks: the number for the points of a learning curve.
        rounds: values of K, as on the command line.
        base: changes to that config for all methods.
        score: changes to the config when a run is scored.
        quick: changes to the config for a small run.
        methods: settings of each method.
    """

    name: str
    metric: str
    held_out: int
    curve_tasks: int
    rounds: str
    base: Sequence[str]
    score: Sequence[str]
    quick: Sequence[str]
    methods: Mapping[str, MethodSettings]


class Budget(NamedTuple):
    """A budget.

    Attributes:
        unit: "seconds", of one core, or "steps", of the environment.
        amount: how many.
    """

    unit: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:g} core-seconds" if self.unit == "seconds" else f"{self.amount:,.0f} steps"

    @property
    def label(self) -> str:
        """The budget in a file's name."""
        return f"{self.amount:g}s" if self.unit == "seconds" else f"{self.amount:.0f}steps"


def subject(name: str) -> Subject:
    """Return a task of claim_settings.toml."""
    entries: dict[str, Any] = dict(_SETTINGS[name])
    methods = {method: MethodSettings(**entries.pop(method)) for method in METHODS}
    return Subject(name=name, methods=methods, **entries)


def endless_config(
    task: Subject, method: str, rounds: int, seed: int, *, more: Sequence[str] = (), quick: bool = False
) -> Config:
    """Return the config of a method with K rounds, without an end.

    Args:
        task: from `subject`.
        method: a key of METHODS.
        rounds: K.
        seed: seed of the run.
        more: further changes.
        quick: whether the run is a small one.

    Raises:
        ConfigError: a setting is none of the config, or a schedule has a length of its own.
    """
    overrides = [*task.base, *METHODS[method], *task.methods[method].at(rounds)]
    if quick:
        overrides += [*task.quick, "inner.num_tasks=2", *_QUICK.get(method, [])]
    overrides += [*more, f"inner.rounds={rounds}", f"seed={seed}", _ENDLESS]
    config = cfg.load(ROOT / "benchmarks" / "configs" / f"{task.name}.toml", overrides)
    length = _schedule(config)[2]
    if length is not None:
        raise ConfigError(
            f"{method}: expected a std that falls over the whole run, got one over {length} generations; leave out "
            "the setting that ends with _generations"
        )
    return config


def with_end(config: Config, **criteria: int) -> Config:
    """Return a config with these stop criteria alone."""
    return cfg.from_mapping(without_end(config), [f"stop.{name}={value}" for name, value in criteria.items()])


def without_end(config: Config) -> dict[str, Any]:
    """Return a config as a mapping without stop criteria."""
    return {name: value for name, value in cfg.to_mapping(config).items() if name != "stop"}


def std_ends(config: Config) -> tuple[float, float] | None:
    """Return the first and the final std of a config whose std falls."""
    first, final, _ = _schedule(config)
    return None if final is None else (first, final)


def joined(settings: Sequence[str]) -> list[str]:
    """Return settings of which the last one of each name counts."""
    return list({each.partition("=")[0].strip(): each for each in settings}.values())


def _schedule(config: Config) -> tuple[float, float | None, int | None]:
    """Return the first and the final std, and the length of the schedule; None for the last two if there is none."""
    if config.multifactorial is not None:
        own = config.multifactorial
        return own.std, own.std_final, own.std_generations
    if config.es is not None:
        return config.es.std, config.es.std_final, config.es.decay_generations
    if config.strategy == "ga":
        return config.ga.mutation_std, config.ga.mutation_std_final, config.ga.mutation_std_generations
    return 0.0, None, None
