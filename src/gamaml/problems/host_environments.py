"""The environments of a host task: drawn, made, given their task, closed, and replaced after a fault."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamaml.envs.server import repeats
from gamaml.envs.spaces import Spaces, spaces_of
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.problems.task_kinds import CompleteHostTask
from gamaml.types import KeyData


@dataclass(frozen=True)
class Described:
    """The properties of a task's environments, read from one of them.

    Attributes:
        spaces: spaces of observations and actions.
        versions: versions of the libraries in its own process, by name.
        reproducible: whether a seed decides an episode.
        max_steps: its own limit on the steps of an episode (`spec.max_episode_steps` of Gymnasium), if it has one.
    """

    spaces: Spaces
    versions: Mapping[str, str]
    reproducible: bool
    max_steps: int | None


class HostEnvironments:
    """The environments of a host task.

    Where the task has neither `sample` nor `sample_many`, or has `set_task`, one environment is made and kept.
    Otherwise, one is made and closed per sampled task.

    Args:
        task: the user's, completed.
        subject: the task's name in errors.
    """

    def __init__(self, task: CompleteHostTask, subject: str) -> None:
        self._task, self._subject = task, subject
        self._keeps_env = task.sample_many is None or task.set_task is not None
        self._env: Any = None  # the environment that is kept, if one serves all tasks

    def describe(self) -> Described:
        """Return the properties of an environment, which is made for it.

        Raises:
            ConfigError: it has another form than Gymnasium's environments.
        """
        env = self.open(self.draw_with(streams.generator(np.zeros(2, np.uint32)), 1)[0])
        spec = getattr(env, "spec", None)
        described = Described(
            spaces=spaces_of(env, f"task {self._subject!r}"),
            versions=getattr(env, "library_versions", {}),
            reproducible=repeats(env),
            max_steps=getattr(spec, "max_episode_steps", None),
        )
        self.close(env)
        return described

    def side_by_side(self, number: int, spaces: Spaces) -> HostEnvironments:
        """Return the batch environments of the same task; `make_envs` is set. The environment kept so far is closed.

        Args:
            number: episodes of each.
            spaces: the spaces of a single environment.

        Raises:
            ConfigError: they have other spaces or another form.
        """
        make_envs, subject = self._task.make_envs, f"task {self._subject!r}"
        assert make_envs is not None

        def make_batch(task: Any) -> Any:  # the user's task in, a batch environment out
            return make_envs(task, number)

        self.abandon()
        batches = HostEnvironments(dataclasses.replace(self._task, make_env=make_batch), self._subject)
        env = batches.open(self.draw_with(streams.generator(np.zeros(2, np.uint32)), 1)[0])
        found = spaces_of(env, subject, maker=f"make_envs(task, {number})")
        if found != spaces:
            raise ConfigError(
                f"{subject}: expected make_envs(task, {number}) to give the spaces of a single episode, as "
                f"make_env(task) does, got {found} and {spaces}; correct it"
            )
        batches.close(env)
        return batches

    def draw(self, key: KeyData, number: int) -> Sequence[Any]:  # the user's tasks
        """Return the tasks of a key; None for each where all environments are alike."""
        # Making a generator costs as much as two steps of CartPole.
        return [None] * number if self._task.sample_many is None else self.draw_with(streams.generator(key), number)

    def draw_with(self, generator: np.random.Generator, number: int) -> Sequence[Any]:  # the user's tasks
        """Return tasks drawn with a generator."""
        if self._task.sample_many is None:
            return [None] * number
        tasks = self._task.sample_many(generator, number)
        if len(tasks) != number:
            raise ConfigError(
                f"task {self._subject!r}: expected sample_many(generator, {number}) to give {number} tasks, "
                f"got {len(tasks)}; correct it"
            )
        return tasks

    def open(self, task: Any) -> Any:  # the user's task in, an environment out
        """Return an environment of a task."""
        if not self._keeps_env:
            return self._task.make_env(task)
        if self._env is None:
            self._env = self._task.make_env(task)
        if self._task.set_task is not None and self._task.sample_many is not None:
            self._task.set_task(self._env, task)
        return self._env

    def close(self, env: Any) -> None:  # an environment
        """Close an environment that is not kept; one without `close` needs none."""
        if not self._keeps_env and hasattr(env, "close"):
            env.close()

    def abandon(self) -> None:
        """Close and forget the kept environment, such as after a fault: the next episode gets a new one."""
        env, self._env = self._env, None
        with contextlib.suppress(Exception):  # it may be broken in any way
            env.close()
