"""Environments for the tests of the bridge, in the interfaces of old gym and of Gymnasium."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


class Toy:
    """A random walk with Gymnasium's interface, which gets into trouble at its third step if asked to.

    Args:
        trouble: "raise", "exit", "kill", "hang", "spin", "print", or nothing.
        seconds: how long it hangs.
    """

    def __init__(self, trouble: str = "", seconds: float = 3600.0) -> None:
        self.observation_space = SimpleNamespace(shape=(2, 3), dtype=np.dtype(np.float32))
        low, high = -np.ones(3, np.float32), np.full(3, np.inf, np.float32)
        self.action_space = SimpleNamespace(shape=(3,), dtype=np.dtype(np.float32), low=low, high=high)
        self._trouble, self._seconds = trouble, seconds
        self._generator = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self._steps = 0
        self._position = self._generator.standard_normal((2, 3), np.float32)
        return self._position.copy(), {"start": np.float64(self._position[0, 0])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._steps += 1
        if self._steps == 3:
            self._get_into_trouble()
        self._position += action * self._generator.random(dtype=np.float32) + np.float32(random.random())
        reward = float(self._position.sum() + np.random.random())  # noqa: NPY002 - as sloppy environments do
        info = {"steps": self._steps, "half": self._steps == 4, "picture": np.zeros(3)} if self._steps > 3 else {}
        return self._position.copy(), reward, self._steps == 7, self._steps == 8, info

    def render(self) -> Any:
        return np.arange(200 * 150 * 3, dtype=np.uint8).reshape(200, 150, 3)

    def _get_into_trouble(self) -> None:
        if self._trouble == "raise":
            raise ValueError("the third step is one too many")
        if self._trouble == "exit":
            print("out of toys", file=sys.stderr, flush=True)
            os._exit(7)
        if self._trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._trouble == "hang":
            time.sleep(self._seconds)
        if self._trouble == "spin":
            sum(range(10**13))  # in native code that holds the interpreter's lock
        if self._trouble == "print":
            print("chatter" * 100_000, flush=True)


class Careless(Toy):
    """A random walk that says that its seed does not decide it."""

    reproducible = False


class OldToy:
    """A random walk with old gym's interface: discrete actions, float64 observations where float32 is declared."""

    def __init__(self) -> None:
        self.observation_space = SimpleNamespace(shape=(2,), dtype=np.dtype(np.float32))
        self.action_space = SimpleNamespace(n=3)
        self.seed(0)

    def seed(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def reset(self) -> Any:
        self._steps = 0
        return np.zeros(2, np.float32)

    def step(self, action: int) -> tuple[Any, float, bool, dict[str, Any]]:
        self._steps += 1
        done = self._steps in (4, 5)
        info = {"TimeLimit.truncated": self._steps == 5} if done else {}
        return self._generator.random(2) + action, 0.5, done, info


class Payday:
    """Pays at chosen steps and nothing at the others.

    Args:
        pays: those steps, counted from 1.
        length: the step that ends an episode; 0 for none.
        amount: what action 0 is paid; action 1 is paid twice as much.
    """

    def __init__(self, pays: Sequence[int] = (), length: int = 0, amount: float = 1.0) -> None:
        self.observation_space = SimpleNamespace(shape=(2,), dtype=np.dtype(np.float32))
        self.action_space = SimpleNamespace(n=2)
        self.pays, self.length, self.amount = pays, length, amount

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.steps, self.mood = 0, np.random.default_rng(seed).random()
        return np.array([0, self.mood], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        reward = self.amount * (1 + int(action)) if self.steps in self.pays else 0.0
        return np.array([self.steps / 10, self.mood], np.float32), reward, self.steps == self.length, False, {}


class Changing(Toy):
    """A random walk whose observations change their form from step to step; the third reset's cannot travel."""

    resets = 0

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed)
        self.resets += 1
        return np.array([object()]) if self.resets == 3 else observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        forms = (observation, observation.astype(np.float64), observation.reshape(-1), np.uint8(7))
        return forms[self._steps % 4], reward, terminated, truncated, info


def nested() -> Any:
    """Return an environment that no network can read."""
    toy = Toy()
    toy.observation_space = SimpleNamespace(spaces={})
    return toy


def hash_of_text() -> Any:
    """Return an environment whose first observation depends on the hash of a text."""
    toy = Toy()
    toy.reset = lambda *, seed=None: (np.array([hash("text")]), {})
    return toy


def heap() -> Any:
    """Return an environment whose first observation is memory that it did not write, but another before it."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    pieces: list[bytes] = []
    for nbytes in (100, 1000, 10_000):
        block = library.malloc(nbytes)
        ctypes.memset(block, 0xAA, nbytes)
        library.free(ctypes.c_void_p(block))
        block = library.malloc(nbytes)
        pieces.append(ctypes.string_at(block, nbytes))
    toy = Toy()
    toy.reset = lambda *, seed=None: (np.frombuffer(b"".join(pieces), np.uint8), {})
    return toy
