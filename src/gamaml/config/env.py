"""The section [env]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gamaml.config.checks import above_zero, at_least, one_of
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class EnvConfig:
    """An environment by its id, in place of a task, and what is done about the episodes of host environments.

    Attributes:
        id: "CartPole-v1", "Ant-v5" (Gymnasium); "ALE/Frostbite-v5" (Atari, as DeepMind configures it);
            "gym:CartPole-v1" (gym 0.26); "module:Id-v0" where importing the module registers the id; in a
            process of its own also "module:Class".
        settings: keyword arguments of the environment; in TOML below [env.settings].
        python: interpreter that hosts the environment in a process of its own; "" for the one that runs gamaml.
        isolate: whether that process is also made for the interpreter that runs gamaml, so that a crash can be marked.
        max_steps: steps after which an episode is cut, besides the environment's own limit.
        cut_is_fault: whether an episode that is cut by `max_steps` is a fault.
        on_fault: what happens when an environment raises, gives a number that is not finite, or crashes in a process
            of its own. "stop": the job ends and says where. "mark": the child gets a flag and is never selected.
        max_seconds: an episode that takes longer always ends the job; to mark it would let the machine's speed decide.
        normalise_steps: random steps, from which means and stds of the observations are taken once; observations
            are then given as (observation - mean) / std, clipped to [-5, 5]. 0: as they are.
    """

    id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    python: str = ""
    isolate: bool = False
    max_steps: int | None = None
    cut_is_fault: bool = False
    on_fault: str = "stop"
    max_seconds: float | None = None
    normalise_steps: int = 0


def validate(env: EnvConfig) -> None:
    """Raise ConfigError for a value out of range."""
    for name in ("settings", "python", "isolate"):
        if not env.id and getattr(env, name):
            raise ConfigError(
                f"env.{name}: expected only with env.id, since a task makes its own environments; remove it"
            )
    at_least("env.max_steps", env.max_steps, 1)
    above_zero("env.max_seconds", env.max_seconds)
    at_least("env.normalise_steps", env.normalise_steps, 0)
    one_of("env.on_fault", env.on_fault, ("stop", "mark"))
    if env.cut_is_fault and env.max_steps is None:
        raise ConfigError("env.cut_is_fault=true: expected env.max_steps with it, got none; add it")
