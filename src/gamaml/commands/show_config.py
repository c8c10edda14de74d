"""`gamaml config`: a complete config to begin with, the reference of all names, or their JSON Schema."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import textwrap
from typing import Any

from gamaml import problems
from gamaml.commands.console import Commands, write
from gamaml.commands.recommended import Choices, for_env, for_own_task, for_task
from gamaml.config import Config, EnvConfig, from_mapping
from gamaml.config.commented_toml import Choice, commented_toml
from gamaml.config.json_schema import schema
from gamaml.config.reference import reference
from gamaml.config.toml_values import WIDTH
from gamaml.config.user_code import build
from gamaml.envs.make_env import ROBOSCHOOL, make
from gamaml.errors import ConfigError, did_you_mean
from gamaml.inner.start_jax import prepare_environment
from gamaml.job.exit_codes import DONE
from gamaml.problems.complete_problem import CompleteProblem
from gamaml.problems.registry import READY_MADE, task_class
from gamaml.problems.task_kinds import complete_task

_LEAST_NOISE, _MOST_NOISE = 2**22, 2**28
_PLACES = 1024
"""The noise table holds this number of parameter vectors side by side, within its bounds."""


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "config",
        help="write a complete config to begin with",
        description=(
            "Write a complete config to stdout: every section and name, with its meaning, its default, and settings\n"
            "that work for the task or environment on two cores."
        ),
        epilog=(
            "examples:  gamaml config CartPole-v1 > cartpole.toml && gamaml run cartpole.toml\n"
            "           gamaml config navigation > navigation.toml\n"
            "           gamaml config my_module:MyTask > mine.toml\n"
            "           gamaml config --schema > gamaml.schema.json"
        ),
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "name", metavar="NAME", nargs="?", help='a ready-made task, "my_module:MyTask", or the id of an environment'
    )
    what.add_argument("--schema", action="store_true", help="write the JSON Schema, from which editors complete names")
    what.add_argument("--reference", action="store_true", help="write docs/config.md, the page that explains all names")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Write the requested text to stdout."""
    if args.schema:
        write(json.dumps(schema(), indent=2))
    elif args.reference:
        write(reference_page().rstrip("\n"))
    else:
        write(config_for(args.name).rstrip("\n"))
    return DONE


def reference_page() -> str:
    """Return the text of docs/config.md."""
    return reference({name: (task.summary, task.settings) for name, task in READY_MADE.items()})


def config_for(name: str) -> str:
    """Return a complete config.

    Args:
        name: a ready-made task, "module:Class" of a task, or the id of an environment.

    Raises:
        ConfigError: it is none of them, or a library that the environment needs is missing.
    """
    if name in READY_MADE:
        summary, choices = READY_MADE[name].summary, for_task(name)
    elif _names_env(name):
        summary, choices = "the deep GA (Such et al. 2017) on an environment", _env_choices(name)
    elif ":" in name:
        summary, choices = "a task of your own", _own_choices(name)
    else:
        raise ConfigError(
            f'config {name!r}: expected a ready-made task, a class "my_module:MyTask", or an environment\'s id such as '
            f'"CartPole-v1", got none of them; {did_you_mean(name, READY_MADE)}'
        )
    return commented_toml(_head(name, summary), choices)


def _names_env(name: str) -> bool:
    """Return whether it is an environment's id: no class has such a name."""
    return "/" in name or re.search(r"-v\d+$", name) is not None


def _head(name: str, summary: str) -> list[str]:
    text = (
        f'{name}: {summary}. `gamaml config {name}` wrote this file; it holds every name. "Here" says why a value is '
        "not the default. A line that begins with # and no blank sets nothing: take the # away to use it."
    )
    return [*textwrap.wrap(text, WIDTH - 2, break_on_hyphens=False), "    mpiexec -n 2 gamaml run THIS_FILE.toml"]


def _env_choices(env_id: str) -> Choices:
    if env_id.startswith(ROBOSCHOOL):
        return for_env(env_id)  # its Python 3.7 need not be on this machine
    env = make(EnvConfig(id=env_id))
    spec = getattr(env, "spec", None)
    env.close()
    is_mujoco = str(getattr(spec, "entry_point", "")).startswith("gymnasium.envs.mujoco")
    choices = {**for_env(env_id, is_mujoco=is_mujoco)}
    threshold = getattr(spec, "reward_threshold", None)
    if threshold is not None and not is_mujoco:
        choices["stop.fitness"] = Choice(float(threshold), "the mean return at which the environment counts as solved.")
    return _with_noise(choices)


def _own_choices(path: str) -> Choices:
    # The user's module may compute with JAX when it is imported, and so start it.
    prepare_environment()
    cls = task_class(path)
    parameters = [p for p in inspect.signature(cls).parameters.values() if p.name != "policy"]
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    settings = {p.name: p.default if isinstance(p.default, bool | int | float | str) else None for p in named}
    choices = {"task.name": Choice(path), "task.settings": Choice(settings)}
    if any(p.default is p.empty for p in named):
        return {**for_own_task(has_updates=True), **choices}
    policy = from_mapping({"task": {"name": path}, "stop": {"generations": 1}}).policy
    task = build(cls, {}, section="task", kind="task", name=path, extra={"policy": policy})
    return _with_noise(
        {**for_own_task(has_updates=not isinstance(complete_task(task, path), CompleteProblem)), **choices}
    )


def _with_noise(choices: Choices) -> Choices:
    """Return the choices with a noise table that fits the number of parameters, unless they have one."""
    if "noise.size" in choices:
        return choices
    number = problems.make_problem(_config(choices)).num_params
    size = min(max(_LEAST_NOISE, 2 ** (_PLACES * number - 1).bit_length()), _MOST_NOISE)
    return {**choices, "noise.size": Choice(size, f"{size * 4 // 2**20} MiB suffice for {number:,} parameters.")}


def _config(choices: Choices) -> Config:
    mapping: dict[str, Any] = {}
    for path, choice in choices.items():
        *sections, name = path.split(".")
        place = mapping
        for section in sections:
            place = place.setdefault(section, {})
        given = choice.value if path == "task.settings" else {name: choice.value}
        place.update({key: value for key, value in given.items() if value is not None})
    return from_mapping(mapping)
