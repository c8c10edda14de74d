"""The section [task]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gamaml.config.checks import check_setting


@dataclass(frozen=True)
class TaskConfig:
    """What is meta-learned.

    Attributes:
        name: a ready-made task (see `gamaml tasks`), or a class of your own as "my_module:MyTask".
        settings: keyword arguments of the task; in TOML, the other keys of [task].
    """

    name: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


def validate(task: TaskConfig) -> None:
    """Raise ConfigError if a setting could not be stored."""
    for key, value in task.settings.items():
        check_setting(f"task.{key}", value)
