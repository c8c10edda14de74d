"""A sweep: configs x environments x seeds, and how it is packed into jobs."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gamaml import config as cfg
from gamaml.commands.text import spans
from gamaml.config import Config
from gamaml.errors import ConfigError
from gamaml.evolution import chosen_strategy

T = TypeVar("T")

CHILDREN_PER_RANK = 16
"""Children in flight per rank that keep ranks busy while populations wait for their last long episodes. In a simulation
with lognormal lengths and 1000 children per population, 256 ranks are busy 52 % of the time with one population, 98 %
with four."""


@dataclass(frozen=True)
class Sweep:
    """The populations that one command asks for.

    Attributes:
        paths: config files.
        overrides: `dotted.name=value` strings for all of them.
        envs: environments that replace each config's own, if there are any.
        seeds: seeds that replace each config's own, if there are any.
    """

    paths: tuple[Path, ...]
    overrides: tuple[str, ...] = ()
    envs: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()

    def variants(self) -> list[tuple[str, Config]]:
        """Return the name, without the seed, and the config of each config in each environment."""
        found: list[tuple[str, Config]] = []
        for path in self.paths:
            config = cfg.load(path, self.overrides)
            for env in self.envs:
                changed = with_env(config, env)
                found.append((f"{path.stem}-{_game(changed.env.id)}", changed))
            if not self.envs:
                found.append((path.stem, config))
        return found

    def populations(self) -> list[tuple[str, Config]]:
        """Return the run's name and the config of every population."""
        return [
            (f"{name}-seed{seed}", dataclasses.replace(config, seed=seed))
            for name, config in self.variants()
            for seed in self.seeds or (config.seed,)
        ]

    def arguments(self) -> tuple[str, ...]:
        """Return the arguments of `gamaml run`, the configs left out."""
        overrides = itertools.chain.from_iterable(("--set", override) for override in self.overrides)
        envs = ("--envs", ",".join(self.envs)) if self.envs else ()
        return (*overrides, *envs, *(("--seeds", spans(self.seeds)) if self.seeds else ()))


def parse_envs(text: str) -> tuple[str, ...]:
    """Read environments like "Amidar,Assault".

    Raises:
        ConfigError: one is empty or comes twice.
    """
    envs = tuple(part.strip() for part in text.split(","))
    double = next((env for env, number in Counter(envs).items() if number > 1), None)
    if not all(envs) or double is not None:
        got = "an empty one" if not all(envs) else f"{double!r} twice"
        raise ConfigError(f"--envs {text!r}: expected each environment once, got {got}; leave it out")
    return envs


def with_env(config: Config, env: str) -> Config:
    """Return the config with another environment.

    Args:
        config: with an [env] section.
        env: an id such as "ALE/Amidar-v5", or the part that differs: "Amidar" if the config has "ALE/Frostbite-v5".
    """
    own = re.fullmatch(r"(.*[/:])?[^/:]*?(-v\d+)?", config.env.id)
    if not config.env.id or own is None:
        raise ConfigError(f"--envs {env!r}: expected configs with a section [env], got task {config.task.name!r}")
    if not re.search(r"[/:]|-v\d+$", env):
        env = f"{own[1] or ''}{env}{own[2] or ''}"
    return dataclasses.replace(config, env=dataclasses.replace(config.env, id=env))


def populations_per_job(configs: Sequence[Config], num_ranks: int) -> int:
    """Return the number of populations of these configs that must interleave to keep all ranks busy."""
    smallest = min(chosen_strategy.make(config).sizes.population_size for config in configs)
    return -(-CHILDREN_PER_RANK * num_ranks // smallest)


def pack(sweep: Sweep, per_job: int) -> list[Sweep]:
    """Divide a sweep into jobs of about equal size, at most `per_job` populations each; seeds stay together."""
    seeds = _split(sweep.seeds, per_job)
    envs_per_job = max(1, per_job // max(1, len(sweep.seeds)))
    if sweep.envs:
        variants = [((path,), envs) for path in sweep.paths for envs in _split(sweep.envs, envs_per_job)]
    else:
        variants = [(paths, ()) for paths in _split(sweep.paths, envs_per_job)]
    return [
        dataclasses.replace(sweep, paths=paths, envs=envs, seeds=some) for paths, envs in variants for some in seeds
    ]


def _split(items: tuple[T, ...], most: int) -> list[tuple[T, ...]]:
    """Divide items into parts of at most `most`, whose sizes differ by one at most; no items are one empty part."""
    number = max(1, -(-len(items) // most))
    bounds = [len(items) * part // number for part in range(number + 1)]
    return [items[start:stop] for start, stop in itertools.pairwise(bounds)]


def _game(env_id: str) -> str:
    return re.sub(r"-v\d+$", "", re.split("[/:]", env_id)[-1]).lower()
