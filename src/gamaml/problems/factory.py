"""From a config to a complete Problem."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from gamaml.config import CONVOLUTIONAL, MEMORIES, Config, to_mapping
from gamaml.config.user_code import build
from gamaml.envs.film import Film, FilmedEnv
from gamaml.envs.make_env import EnvTask
from gamaml.errors import ConfigError
from gamaml.inner.start_jax import prepare_environment
from gamaml.problems.complete_problem import CompleteProblem, complete
from gamaml.problems.differentiated import derivative_order
from gamaml.problems.host_problem import HostProblem
from gamaml.problems.jax_problem import JaxProblem
from gamaml.problems.registry import own_loss, task_class
from gamaml.problems.task_kinds import (
    CompleteHostTask,
    CompleteRLTask,
    CompleteSupervisedTask,
    CompleteTask,
    complete_task,
)

_instances: dict[tuple[type, str], object] = {}
"""Equal configs share a task, and so its compiled program."""


def make_problem(config: Config, task: object | None = None, *, film: Film | None = None) -> CompleteProblem:
    """Return the Problem of a config. Starts neither MPI nor a JAX device.

    Args:
        config: its `task` names a ready-made task or a class.
        task: a task that exists already; then `config.task` only names it.
        film: shows the episodes, if the task has environments.

    Raises:
        ConfigError: in one line, the mistake in the name, the settings or the form of the task.
    """
    # A user's module may compute with JAX when it is imported, and so start it.
    prepare_environment()
    if config.env.id:
        task = EnvTask(config.env, render=film is not None)
    elif task is None:
        task = _instance(config)
    complete_one = complete_task(task, config.subject)
    if film is not None:
        complete_one = _filmed(complete_one, config, film)
    _check(complete_one, config)
    problem = _problem(complete_one, config)
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


def _filmed(task: CompleteTask, config: Config, film: Film) -> CompleteTask:
    if not isinstance(task, CompleteHostTask):
        raise ConfigError(
            f"video {str(film.path)!r}: expected a task with environments that render, got {config.subject!r}; "
            "only those with make_env, and those of [env], do"
        )
    make_env, set_task = task.make_env, task.set_task

    def make_filmed(task: Any) -> FilmedEnv:  # the user's task
        return FilmedEnv(make_env(task), film)

    def set_task_of_filmed(env: FilmedEnv, task: Any) -> None:  # the user's task
        assert set_task is not None
        set_task(env.filmed, task)

    # A film shows one episode after another.
    return dataclasses.replace(
        task, make_env=make_filmed, set_task=None if set_task is None else set_task_of_filmed, make_envs=None
    )


def _problem(task: CompleteTask, config: Config) -> CompleteProblem:
    if isinstance(task, CompleteProblem):
        return task
    if isinstance(task, CompleteSupervisedTask):
        return complete(JaxProblem(task, config), config.subject)
    loss = own_loss(config.inner)
    if isinstance(task, CompleteRLTask):
        return complete(JaxProblem(task, config, loss), config.subject)
    problem = HostProblem(task, config, loss)
    if derivative_order(config) > 0 and not problem.reproducible:
        raise ConfigError(
            f"strategy={config.strategy!r}: expected a task whose seed decides an episode, since an interrupted run "
            f"computes its updates again, got {config.subject!r}, which says that it is not reproducible; choose "
            'strategy = "es" or "ga"'
        )
    return complete(problem, config.subject)


def _check(task: CompleteTask, config: Config) -> None:
    """Refuse settings that do not fit the kind of task."""
    _check_derivable(task, config)
    _check_batch_size(task, config)
    if isinstance(task, CompleteProblem):
        return
    _check_network(task, config)
    if isinstance(task, CompleteSupervisedTask):
        _check_learner(config)
    elif isinstance(task, CompleteRLTask):
        _check_episodes(task, config)


def _check_learner(config: Config) -> None:
    """Refuse the settings of a learner, which a supervised task would ignore: it learns by its own loss."""
    if config.inner.learner != "reinforce":
        raise ConfigError(
            f"inner.learner={config.inner.learner!r}: expected none for task {config.task.name!r}, which learns by "
            "its own loss; leave it out"
        )
    if config.inner.genes:
        raise ConfigError(
            f"inner.genes={list(config.inner.genes)}: expected none for task {config.task.name!r}, whose loss has no "
            "such factors; leave them out"
        )


def _check_derivable(task: CompleteTask, config: Config) -> None:
    if derivative_order(config) == 0:
        return
    if isinstance(task, CompleteProblem):
        raise ConfigError(
            f"strategy={config.strategy!r}: expected a task with inner updates, which have derivatives, got "
            f'{config.subject!r} of the kind "problem"; choose strategy = "es" or "ga"'
        )
    if isinstance(task, CompleteHostTask) and config.env.on_fault != "stop":
        raise ConfigError(
            f'env.on_fault={config.env.on_fault!r}: expected "stop" with strategy={config.strategy!r}, whose update '
            "needs every evaluation; leave it out"
        )
    if config.inner.batch_size > 1:
        raise ConfigError(
            f"inner.batch_size={config.inner.batch_size}: expected 1 with strategy={config.strategy!r}, which "
            "differentiates one evaluation at a time; leave it out"
        )


def _check_batch_size(task: CompleteTask, config: Config) -> None:
    if config.inner.batch_size == 1:
        return
    if isinstance(task, CompleteHostTask):
        why = "whose environments are stepped on the host, one child at a time; leave it out, or write it in JAX"
    elif isinstance(task, CompleteProblem):
        why = "a Problem of your own; leave it out, and give the class an attribute batch_size"
    else:
        return
    raise ConfigError(f"inner.batch_size={config.inner.batch_size}: expected 1 for task {config.subject!r}, {why}")


def _check_network(task: CompleteHostTask | CompleteRLTask | CompleteSupervisedTask, config: Config) -> None:
    name, more = config.policy.network, ()
    if isinstance(task, CompleteRLTask):
        more = MEMORIES
    elif isinstance(task, CompleteHostTask):
        more = CONVOLUTIONAL
    known = ("mlp", *more)
    if name not in known:
        raise ConfigError(
            f"policy.network={name!r}: expected one of {', '.join(known)} for task {config.subject!r} of the kind "
            f"{task.form.kind!r}, got another; choose one of those"
        )
    if isinstance(task, CompleteHostTask) and config.inner.rounds > 0 and name != "mlp":
        raise ConfigError(
            f'policy.network={name!r}: expected "mlp" with inner.rounds={config.inner.rounds}, since '
            "the convolutional networks have no inner updates; set rounds = 0"
        )


def _check_episodes(task: CompleteRLTask, config: Config) -> None:
    fixed = task.deterministic and config.policy.std == 0
    if fixed and config.inner.episodes > 1:
        raise ConfigError(
            f"inner.episodes={config.inner.episodes}: expected 1 for task {config.subject!r} with policy.std=0, where "
            "all episodes of a task are the same; set episodes = 1 and raise num_tasks"
        )
