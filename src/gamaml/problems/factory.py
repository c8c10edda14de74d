"""The way from a config to a Problem."""

from __future__ import annotations

import json
from typing import Any

from gamaml.config import CONVOLUTIONAL, MEMORIES, Config, to_mapping
from gamaml.config.user_code import build
from gamaml.envs.film import Film
from gamaml.envs.make_env import EnvTask
from gamaml.errors import ConfigError
from gamaml.inner.start_jax import prepare_environment
from gamaml.problems.registry import own_loss, task_class
from gamaml.problems.task_kinds import (
    HOST,
    PROBLEM,
    RL,
    SUPERVISED,
    kind_of,
)
from gamaml.types import Problem

_instances: dict[tuple[type, str], object] = {}
"""Equal configs share a task, and so its compiled program."""


def make_problem(config: Config, task: object | None = None, *, film: Film | None = None) -> Problem:
    """Return the Problem of a config. Starts neither MPI nor a JAX device.

    Args:
        config: its `task` names a ready-made task or a class.
        task: a task that exists already; then `config.task` only names it.
        film: shows the episodes, if the task has environments.

    Raises:
        ConfigError: in one line, what is wrong with the name, the settings or the form of the task.
    """
    # A user's module may compute with JAX when it is imported, and so start it.
    prepare_environment()
    if config.env.id:
        _check_derivable(HOST, config)
        _check_network(HOST, config)
        problem = _host_problem(EnvTask(config.env, render=film is not None), config, film)
    else:
        definition = _instance(config) if task is None else task
        problem = _problem(definition, kind_of(definition, config.task.name), config, film)
    if problem.num_params > config.noise.size:
        raise ConfigError(
            f"noise.size={config.noise.size}: expected at least the {problem.num_params} parameters of task "
            f"{config.subject!r}; choose a larger table or a smaller policy.hidden"
        )
    return problem


def _instance(config: Config) -> object:
    cls = task_class(config.task.name)
    mapping = to_mapping(config)
    key = (cls, json.dumps([mapping["task"], mapping["policy"]], sort_keys=True, default=str))
    if key not in _instances:
        _instances[key] = build(
            cls,
            config.task.settings,
            section="task",
            kind="task",
            name=config.task.name,
            extra={"policy": config.policy},
        )
    return _instances[key]


def _problem(definition: Any, kind: str, config: Config, film: Film | None) -> Problem:  # the user's task
    if film is not None and kind != HOST:
        raise ConfigError(
            f"video {str(film.path)!r}: expected a task with environments that render, got {config.task.name!r}; "
            "only those with make_env, and those of [env], do"
        )
    _check_derivable(kind, config)
    if kind in (PROBLEM, HOST):
        _check_batch_size(kind, config)
    if kind == PROBLEM:
        return definition
    _check_network(kind, config)
    _check_episodes(definition, config)
    if kind == HOST:
        return _host_problem(definition, config, film)
    # Imported here so that neither host environments nor a Problem of the user's own import JAX.
    from gamaml.problems.jax_problem import rl_problem, supervised_problem

    if kind == SUPERVISED:
        _check_learner(config)
        return supervised_problem(definition, config)
    return rl_problem(definition, config, own_loss(config.inner))


def _check_learner(config: Config) -> None:
    """Refuse what a supervised task, whose loss is its learner, would ignore."""
    if config.inner.learner != "reinforce":
        raise ConfigError(
            f"inner.learner={config.inner.learner!r}: expected none for task {config.task.name!r}, which is learned by "
            "its own loss; leave it out"
        )
    if config.inner.genes:
        raise ConfigError(
            f"inner.genes={list(config.inner.genes)}: expected none for task {config.task.name!r}, whose loss has no "
            "such factors; leave them out"
        )


def _check_derivable(kind: str, config: Config) -> None:
    if config.maml is None:
        return
    if kind == PROBLEM:
        raise ConfigError(
            f'strategy="maml": expected a task with inner updates, which have derivatives, got {config.subject!r} of '
            f'the kind {kind!r}; choose strategy = "es" or "ga"'
        )
    if kind == HOST and config.env.on_fault != "stop":
        raise ConfigError(
            f'env.on_fault={config.env.on_fault!r}: expected "stop" with strategy = "maml", whose one candidate cannot '
            "be passed over; leave it out"
        )
    if config.inner.batch_size > 1:
        raise ConfigError(
            f'inner.batch_size={config.inner.batch_size}: expected 1 with strategy = "maml", which has one candidate '
            "per generation; leave it out"
        )


def _check_batch_size(kind: str, config: Config) -> None:
    if config.inner.batch_size == 1:
        return
    if kind == HOST:
        why = "whose environments are stepped on the host, one child at a time; leave it out, or write it in JAX"
    else:
        why = "a Problem of your own; leave it out, and give the class an attribute batch_size"
    raise ConfigError(f"inner.batch_size={config.inner.batch_size}: expected 1 for task {config.task.name!r}, {why}")


def _check_network(kind: str, config: Config) -> None:
    name = config.policy.network
    known = ("mlp", *{SUPERVISED: (), RL: MEMORIES}.get(kind, CONVOLUTIONAL))
    if name not in known:
        raise ConfigError(
            f"policy.network={name!r}: expected one of {', '.join(known)} for task {config.subject!r} of the kind "
            f"{kind!r}, got another; choose one of those"
        )


def _check_episodes(definition: Any, config: Config) -> None:  # the user's task
    fixed = getattr(definition, "deterministic", False) and config.policy.std == 0
    if fixed and config.inner.episodes > 1:
        raise ConfigError(
            f"inner.episodes={config.inner.episodes}: expected 1 for task {config.subject!r} with policy.std=0, where "
            "all episodes of a task are the same; set episodes = 1 and raise num_tasks"
        )


def _host_problem(definition: Any, config: Config, film: Film | None) -> Problem:  # the user's task
    definition = definition if film is None else film.task(definition)
    if config.inner.rounds > 0:
        from gamaml.problems.host_updates import host_problem

        return host_problem(definition, config, own_loss(config.inner))
    # Apart, so that no rounds import no JAX.
    from gamaml.problems.host_problem import HostProblem

    return HostProblem(definition, config)
