"""The section [task]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamaml.config.checks import check
from gamaml.config.options import arguments, option
from gamaml.errors import ConfigError


@dataclass(frozen=True)
class TaskConfig:
    """The subject of meta-learning; `[env]` with an `id` takes its place for ordinary environments."""

    name: str = option(
        "",
        'A ready-made task (`gamaml tasks` lists them), or a class of your own as "my_module:MyTask".',
        example="navigation",
    )
    settings: Mapping[str, Any] = arguments(
        "Every other name in this section is an argument of the task.", takes_rest=True
    )

    def __post_init__(self) -> None:
        check(self, "task")
        if self.settings and not self.name:
            raise ConfigError('task.name: expected a task, got none; write e.g. name = "navigation" below [task]')
