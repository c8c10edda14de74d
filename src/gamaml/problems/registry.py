"""From a task's name to its class."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from gamaml.config import InnerConfig
from gamaml.config.user_code import find
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


_RUNNER: dict[str, object] = {"horizon": 200, "velocity_scale": 0.2}

READY_MADE = {
    "ant_direction": ReadyMade(
        "gamaml.tasks.locomotion:AntDirection",
        "an ant to walk forward or backward, Finn et al. 2017, section 5.3",
        {**_RUNNER, "bonus": 0.05, "terminates": True},
    ),
    "ant_goal": ReadyMade(
        "gamaml.tasks.locomotion:AntGoal",
        "an ant to walk to an unknown goal, uniform in a disc as in Rothfuss et al. 2019",
        {**_RUNNER, "bonus": 4.05, "terminates": True},
    ),
    "ant_velocity": ReadyMade(
        "gamaml.tasks.locomotion:AntVelocity",
        "an ant to walk with an unknown velocity, Finn et al. 2017, section 5.3",
        {**_RUNNER, "bonus": 1.05, "terminates": True},
    ),
    "bandit": ReadyMade(
        "gamaml.tasks.bandit:Bandit",
        "the best of several slot machines, by a policy with memory, Duan et al. 2016, section 3.1",
        {"pulls": 10, "arms": 5},
    ),
    "cheetah_direction": ReadyMade(
        "gamaml.tasks.locomotion:CheetahDirection",
        "a half-cheetah to run forward or backward, Finn et al. 2017, section 5.3",
        dict(_RUNNER),
    ),
    "cheetah_velocity": ReadyMade(
        "gamaml.tasks.locomotion:CheetahVelocity",
        "a half-cheetah to run with an unknown velocity, Finn et al. 2017, section 5.3",
        dict(_RUNNER),
    ),
    "mdp": ReadyMade(
        "gamaml.tasks.mdp:TabularMDP",
        "unknown small Markov decision processes, by a policy with memory, Duan et al. 2016, section 3.2",
        {"states": 10, "actions": 5, "episode_length": 10, "episodes": 10},
    ),
    "navigation": ReadyMade(
        "gamaml.tasks.navigation:Navigation",
        "2-D navigation to an unknown goal, Finn et al. 2017, section 5.3",
        {"horizon": 100, "reward": "distance_squared"},
    ),
    "roboschool_ant_direction": ReadyMade(
        "gamaml.tasks.roboschool:RoboschoolAntDirection",
        "roboschool's ant to walk forward or backward, in a Python 3.7 (docs/roboschool.md)",
        {"python": ".venv-roboschool/bin/python", "horizon": 200, "bonus": 0.05, "terminates": True},
    ),
    "sinusoid": ReadyMade(
        "gamaml.tasks.sinusoid:Sinusoid",
        "few-shot regression of sine waves, Finn et al. 2017, section 5.1",
        {"shots": 10, "query": 50, "start": "spread"},
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
    return find(path, f"task.name={name!r}", "class", lambda value: isinstance(value, type))


def ready_made_settings(task: object) -> str | None:
    """Return what tells a ready-made task from all others: its class and attributes; None for a user's task."""
    path = f"{type(task).__module__}:{type(task).__qualname__}"
    if path not in {ready.path for ready in READY_MADE.values()}:
        return None
    # An object of another type may not show all of itself, such as a method that a user put in place of the task's.
    attributes = vars(task)
    plain = all(isinstance(value, int | float | str | dict) for value in attributes.values())
    return repr((path, attributes)) if plain else None


def own_loss(inner: InnerConfig) -> Callable[..., Any] | None:
    """Return the user's loss that `inner.learner` names as "module:function", or None if it names none.

    Raises:
        ConfigError: no such module or function, or it takes other arguments.
    """
    if ":" not in inner.learner:
        return None
    subject = f"inner.learner={inner.learner!r}"
    found = find(inner.learner, subject, "function", callable)
    try:
        inspect.signature(found).bind("policy", "params", "batch", "settings")
    except TypeError:
        raise ConfigError(
            f"{subject}: expected a function (policy, params, batch, settings), got {inspect.signature(found)}; "
            "change its arguments"
        ) from None
    return found


def has_critic(inner: InnerConfig, own_loss: Callable[..., Any] | None) -> bool:
    """Return whether a value network is part of the parameters, as "actor_critic" and a loss with `critic` ask for.

    Args:
        inner: names the learner.
        own_loss: the user's, where `inner.learner` names one.
    """
    if inner.rounds == 0:
        return False
    return inner.learner == "actor_critic" if own_loss is None else bool(getattr(own_loss, "critic", False))
