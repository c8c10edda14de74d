"""The populations of a job, with the names and files of their runs."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamaml import config as cfg
from gamaml.config import Config
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class TrainRequest:
    """The populations of a job, and the treatment of existing runs.

    Attributes:
        configs: one per population.
        task: an instance of the user's own task class, or None where the configs name one.
        out: folder of the run files.
        names: names of the runs; None names them by task and seed.
        resume: start absent runs, continue partial ones, leave finished ones alone.
        overwrite: replace existing runs.
        accept_versions: with `resume`, go on although the versions of libraries changed.
    """

    configs: list[Config]
    task: object | None
    out: Path
    names: Sequence[str] | None
    resume: bool
    overwrite: bool
    accept_versions: bool

    def __post_init__(self) -> None:
        names = self.run_names()
        if len(names) != len(self.configs):
            raise ConfigError(f"names: expected {len(self.configs)}, one per population, got {len(names)}; name each")
        check_names(names)
        check_noise(self.configs)

    def run_names(self) -> list[str]:
        """Return the name of each run."""
        return list(self.names) if self.names is not None else [default_name(config) for config in self.configs]

    def paths(self) -> list[Path]:
        """Return the file of each run."""
        return [self.out / f"{name}.h5" for name in self.run_names()]


def populations(
    configs: Config | Mapping[str, Any] | Sequence[Config | Mapping[str, Any]],
    task: object | None,
    seeds: Iterable[int] | None,
) -> list[Config]:
    """Return one config per population.

    Args:
        configs: one config or several; a mapping has the form of the TOML file.
        task: an instance of the user's own task class, named in mappings in place of their section `task`.
        seeds: seeds that replace each config's own.

    Raises:
        ConfigError: a mistake in a mapping, or nothing to run.
    """
    listed = [configs] if isinstance(configs, Config | Mapping) else list(configs)
    if not listed:
        raise ConfigError("configs: expected at least one, got none; add one")
    built: list[Config] = []
    for entry in listed:
        if isinstance(entry, Mapping) and task is not None:
            entry = {**entry, "task": _describe(task)}
        built.append(cfg.from_mapping(entry) if isinstance(entry, Mapping) else entry)
    if seeds is None:
        return built
    chosen = list(seeds)
    if not chosen:
        raise ConfigError("seeds: expected at least one, got none; add one")
    return [dataclasses.replace(config, seed=seed) for config in built for seed in chosen]


def default_name(config: Config) -> str:
    """Return the name of a config's run: the last word of the task's name or of the environment's id, and the seed."""
    return f"{re.split('[.:/]', config.subject)[-1].lower()}-seed{config.seed}"


def check_names(names: Sequence[str]) -> None:
    """Refuse a run name that comes twice."""
    double = next((name for name, number in Counter(names).items() if number > 1), None)
    if double is not None:
        raise ConfigError(
            f"names: expected different run names, got {double!r} twice; give other seeds, names or configs"
        )


def check_noise(configs: Iterable[Config]) -> None:
    """Refuse populations of one job that do not share the noise table."""
    if len({config.noise for config in configs}) > 1:
        raise ConfigError("noise: expected the same table for all populations of a job, got several; set noise.* alike")


def _describe(task: object) -> dict[str, Any]:
    """Return the [task] section that makes the instance again: class and, of a dataclass, its fields.

    A class of the running script gets the script's name, under which a later `gamaml replay` can import it.
    """
    module = type(task).__module__
    script = getattr(sys.modules["__main__"], "__file__", None)
    if module == "__main__" and script is not None:
        module = Path(script).stem
    settings = dataclasses.asdict(task) if dataclasses.is_dataclass(task) and not isinstance(task, type) else {}
    return {"name": f"{module}:{type(task).__qualname__}", **settings}
