"""The section [env]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamaml.config.checks import check
from gamaml.config.options import arguments, option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class EnvConfig:
    """An environment that has a name, in place of a task; and the limits of an episode in any host environment.

    `id`, `settings`, `python` and `isolate` go together; the others also apply to a task that makes environments.
    """

    id: str = option(
        "",
        'The environment: "CartPole-v1" or "Ant-v5" (Gymnasium), "ALE/Frostbite-v5" (Atari, as DeepMind configures '
        'it), "gym:CartPole-v1" (gym 0.26), or "module:Id-v0" where importing the module registers the id. In a '
        'process of its own, "module:Class" is allowed too.',
        example="CartPole-v1",
    )
    settings: Mapping[str, Any] = arguments("Keyword arguments of the environment.")
    python: str = option(
        "",
        "Interpreter that runs the environment in a process of its own; by default, the one that runs gamaml.",
        example=".venv-roboschool/bin/python",
        may_change=True,
    )
    isolate: bool = option(
        False,
        "Whether the environment gets a process of its own in gamaml's interpreter too, so a crash can be marked.",
    )
    max_steps: int | None = option(
        None, "Steps after which an episode is cut, besides the environment's own limit.", at_least=1, example=1000
    )
    cut_is_fault: bool = option(False, "Whether an episode that `max_steps` cuts is a fault.")
    patience: int = option(
        0,
        "Steps in a row without any reward (reward = 0) after which an episode ends, which is no fault. With 0 it goes "
        "on. Choose more steps than a good policy may need from one reward to the next.",
        at_least=0,
    )
    on_fault: str = option(
        "stop",
        "The response to an environment that raises, gives a number that is not finite, or crashes in a process of its "
        'own. "stop" ends the job and says where; "mark" flags the child, which is then never selected.',
        choices=("stop", "mark"),
    )
    max_seconds: float | None = option(
        None,
        "Seconds that an episode may take. A longer one ends the job; a mark would let the machine's speed decide. "
        "Episodes that are played side by side may take as many times that together.",
        above=0,
        example=60.0,
        may_change=True,
    )
    normalise_steps: int = option(
        0,
        "Random steps that measure mean and std of the observations once; policies then see (observation - mean) / "
        "std, clipped to -5 ... 5. With 0 they see observations as they are.",
        at_least=0,
    )

    def __post_init__(self) -> None:
        for name in ("settings", "python", "isolate"):
            if not self.id and getattr(self, name):
                raise ConfigError(
                    f"env.{name}: expected only with env.id, since a task makes its own environments; remove it"
                )
        check(self, "env")
        if self.cut_is_fault and self.max_steps is None:
            raise ConfigError("env.cut_is_fault=true: expected env.max_steps with it, got none; add it")
