"""From a task's name to its class."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NamedTuple

from gamaml.errors import ConfigError, did_you_mean


class ReadyMade(NamedTuple):
    """A task that comes with gamaml.

    The settings are written down here, not read from the class, because listing tasks must not import JAX.

    Attributes:
        path: the class as "module:Class".
        summary: one line.
        settings: name -> default.
    """

    path: str
    summary: str
    settings: dict[str, object]


READY_MADE = {
    "navigation": ReadyMade(
        "gamaml.tasks.navigation:Navigation",
        "2-D navigation to an unknown goal, Finn et al. 2017, section 5.3",
        {"horizon": 100},
    ),
    "sinusoid": ReadyMade(
        "gamaml.tasks.sinusoid:Sinusoid",
        "few-shot regression of sine waves, Finn et al. 2017, section 5.1",
        {"shots": 10, "query": 50},
    ),
}


def available() -> dict[str, str]:
    """Return name -> one line with summary and settings of every ready-made task. Imports no JAX."""

    def line(task: ReadyMade) -> str:
        settings = ", ".join(f"{key} = {value}" for key, value in task.settings.items())
        return f"{task.summary}; settings: {settings}"

    return {name: line(task) for name, task in READY_MADE.items()}


def task_class(name: str) -> type:
    """Return the class of a ready-made task, or of "module:Class", imported with the current directory first.

    Raises:
        ConfigError: no such task, module or class.
    """
    if ":" not in name and name not in READY_MADE:
        raise ConfigError(
            f"task.name={name!r}: unknown task; {did_you_mean(name, READY_MADE)}; "
            'a class of your own is written "module:Class"'
        )
    path = READY_MADE[name].path if name in READY_MADE else name
    module_name, _, class_name = path.partition(":")
    module = _import(module_name, name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(
            f"task.name={name!r}: expected a class {class_name!r} in module {module_name!r}, got none; "
            f"{did_you_mean(class_name, classes)}"
        )
    return found


def _import(module_name: str, name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A missing module of that name is the config's mistake; one that the module itself imports is not.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
    except ValueError:
        pass  # importlib's answer to an empty or relative name
    raise ConfigError(
        f"task.name={name!r}: expected an importable module {module_name!r}, got none; "
        "start gamaml in the module's folder, or install it"
    )
