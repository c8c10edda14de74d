"""From an environment's id to an environment: Gymnasium, Atari, gym, or one in a process of its own."""

from __future__ import annotations

import ctypes.util
import difflib
import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gamaml.config import EnvConfig
from gamaml.errors import ConfigError

log = logging.getLogger(__name__)

_OFF_SCREEN = {"egl": "EGL", "osmesa": "OSMesa"}
"""MuJoCo's backends that draw without a display -> the system library that each needs."""

ATARI = "ALE/"
OLD_GYM = "gym:"
ROBOSCHOOL = "roboschool:"


class EnvTask:
    """The environments of a config's [env] section, as a host task.

    Attributes:
        libraries: distributions whose versions decide the environment's numbers.

    Args:
        env: the section; its id is set.
        render: whether frames will be requested.
    """

    def __init__(self, env: EnvConfig, *, render: bool = False) -> None:
        self._env = env
        self._render = render
        self.libraries = libraries(env)

    def make_env(self, task: Any) -> Any:  # None in, an environment out
        """Return a new environment."""
        return make(self._env, render=self._render)


def libraries(env: EnvConfig) -> tuple[str, ...]:
    """Return the distributions of this interpreter that decide the environment's numbers."""
    if env.python:
        return ()
    if env.id.startswith(ATARI):
        return ("ale-py",)
    return ("gym",) if env.id.startswith(OLD_GYM) else ("gymnasium", "mujoco")


def make(env: EnvConfig, *, render: bool = False) -> Any:  # an environment with Gymnasium's interface
    """Make an environment.

    Args:
        env: id, settings, interpreter.
        render: whether `render()` must give frames, uint8[height, width, 3].

    Raises:
        ConfigError: the id is unknown, a library is missing, or the environment refuses its settings.
    """
    if render:
        _draw_without_display()
    if env.python or env.isolate:
        return _bridged(env, render)
    if env.id.startswith(ROBOSCHOOL):
        raise ConfigError(
            f"env.id={env.id!r}: expected env.python with it, the path of a Python 3.7 that has roboschool, got none; "
            "see docs/roboschool.md"
        )
    if env.id.startswith(ATARI):
        return _atari(env)
    return _gym(env, render) if env.id.startswith(OLD_GYM) else _gymnasium(env, render)


def _gymnasium(env: EnvConfig, render: bool) -> Any:  # an environment
    gymnasium = _library("gymnasium", "gymnasium", env)
    spec = gymnasium.registry.get(env.id)
    if spec is not None and str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        _take_mujocos_warnings()
    sys.path.insert(0, str(Path.cwd()))
    try:
        return gymnasium.make(env.id, disable_env_checker=True, **_settings(env, render))
    except gymnasium.error.UnregisteredEnv:
        raise _unknown(env, gymnasium.registry) from None
    except gymnasium.error.DependencyNotInstalled as error:
        raise ConfigError(
            f"env.id={env.id!r}: expected its requirements, got: {error}; e.g. pip install 'gamaml[mujoco]'"
        ) from error
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"env.id={env.id!r}: expected its module, got: {error}; start gamaml in its folder, or install it"
        ) from error
    except (TypeError, ValueError, gymnasium.error.Error) as error:
        raise ConfigError(f"env.id={env.id!r}: expected settings that it takes, got: {error}; change them") from error
    finally:
        sys.path.pop(0)


def _draw_without_display() -> None:
    """Let pygame and MuJoCo draw where there is no display; they read the variables when they are imported."""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    found = [backend for backend, library in _OFF_SCREEN.items() if ctypes.util.find_library(library)]
    if found:
        os.environ.setdefault("MUJOCO_GL", found[0])


def _take_mujocos_warnings() -> None:
    """Log MuJoCo's warnings: it would write a file MUJOCO_LOG.TXT into the working directory, from every rank."""
    try:
        mujoco = importlib.import_module("mujoco")
    except ImportError:
        return  # gymnasium.make names the missing library
    if mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log_mujocos_warning)


def _log_mujocos_warning(text: str) -> None:
    # The models are Gymnasium's own: a user can do nothing about deprecated parts in them.
    log.log(logging.DEBUG if "deprecated" in text else logging.WARNING, "MuJoCo: %s", text)


def _gym(env: EnvConfig, render: bool) -> Any:  # an environment
    gym = _library("gym", "gym", env)
    env_id = env.id.removeprefix(OLD_GYM)
    try:
        made = gym.make(env_id, disable_env_checker=True, **_settings(env, render))
        if _speaks_new_gym(made):
            return made
        made.close()
        return gym.make(env_id, disable_env_checker=True, apply_api_compatibility=True, **_settings(env, render))
    except gym.error.UnregisteredEnv:
        raise _unknown(env, [f"{OLD_GYM}{known}" for known in gym.envs.registry]) from None
    except (TypeError, ValueError, gym.error.Error) as error:
        raise ConfigError(f"env.id={env.id!r}: expected settings that it takes, got: {error}; change them") from error


def _speaks_new_gym(env: Any) -> bool:  # an environment of gym 0.26
    """Return whether it takes a seed on reset and gives five values on step, by trying both."""
    try:
        env.reset(seed=0)
        env.step(env.action_space.sample())
    except (TypeError, ValueError):
        return False
    return True


def _atari(env: EnvConfig) -> Any:  # an environment
    from gamaml.envs.atari import Atari

    game = re.fullmatch(r"ALE/(\w+)-v5", env.id)
    if game is None:
        raise ConfigError(f'env.id={env.id!r}: expected a game such as "ALE/Frostbite-v5"; correct it')
    try:
        return Atari(game[1], **env.settings)
    except TypeError as error:
        raise ConfigError(f"env.settings: expected those of an Atari game, got: {error}; change them") from error


def _bridged(env: EnvConfig, render: bool) -> Any:  # an environment
    from gamaml.envs.bridge import BridgedEnv

    python, settings = env.python or sys.executable, env.settings
    module, _, name = env.id.removeprefix(OLD_GYM).rpartition(":")
    if module and re.search(r"-v\d+$", name) is None:
        return BridgedEnv(python, env.id, (), settings, render=render)
    return BridgedEnv(python, name, (module,) if module else (), settings, render=render)


def _settings(env: EnvConfig, render: bool) -> dict[str, Any]:
    return {**env.settings, **({"render_mode": "rgb_array"} if render else {})}


def _library(module: str, extra: str, env: EnvConfig) -> Any:  # a module
    try:
        with warnings.catch_warnings():
            # Old gym warns of its age at every import.
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"env.id={env.id!r}: expected the library {module!r}, got: {error}; pip install 'gamaml[{extra}]'"
        ) from error


def _unknown(env: EnvConfig, known: Iterable[str]) -> ConfigError:
    near = difflib.get_close_matches(env.id, list(known), n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "no known id is like it"
    return ConfigError(f"env.id={env.id!r}: unknown environment; {hint}")
