"""The section [custom]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamaml.config.checks import check
from gamaml.config.options import arguments


@dataclass(frozen=True)
class CustomConfig:
    """Settings of a strategy of your own, with `strategy = "my_module:MyStrategy"`."""

    settings: Mapping[str, Any] = arguments("Every name in this section is an argument of its class.", takes_rest=True)

    def __post_init__(self) -> None:
        check(self, "custom")
