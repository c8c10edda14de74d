"""Members that users leave out are filled in at the border, and misspelt ones are named in one line."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.problems import CompleteProblem, complete
from gamaml.problems.complete_problem import PROBLEM
from gamaml.problems.registry import READY_MADE, task_class
from gamaml.problems.task_kinds import (
    HOST,
    RL,
    SUPERVISED,
    CompleteHostTask,
    CompleteRLTask,
    CompleteSupervisedTask,
    complete_task,
)
from gamaml.types import Evaluation, EvaluationKey, Float32Array

KEY = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))
EXAMPLES = Path(__file__).parents[2] / "examples"


class Sum:
    """A problem with nothing but the required members."""

    num_params, num_rounds, metric = 2, 0, "return"
    scalars: tuple[str, ...] = ()
    scale: Float32Array | None = None

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        return Evaluation(float(params.sum()), params[:1], 1)


class Curve:
    shapes: Any = {"w": (2,)}

    def sample(self, key: Any) -> Any:
        return key

    def loss(self, params: Any, task: Any, key: Any) -> Any:
        return params["w"]


class Point:
    observation_size, action_size, horizon = 2, 1, 3

    def sample(self, key: Any) -> Any:
        return key

    def reset(self, task: Any, key: Any) -> Any:
        raise AssertionError("a check of the form calls nothing")

    def step(self, state: Any, action: Any, task: Any, key: Any) -> Any:
        raise AssertionError("a check of the form calls nothing")


class Host:
    def make_env(self, task: Any) -> Any:
        return ("environment", task)


def with_members(cls: type, **members: Any) -> Any:
    return type("Task", (cls,), members)()


def test_a_problem_of_the_required_members_gets_every_default() -> None:
    problem = complete(Sum())
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert (problem.num_params, problem.num_rounds, problem.scalars, problem.metric) == (2, 0, (), "return")
    assert problem.scale is None
    assert (problem.batch_size, problem.reproducible, problem.optimal_return) == (1, True, None)
    assert (tuple(problem.libraries), dict(problem.environment_versions)) == ((), {})
    assert problem.measure_constants() == {}
    problem.use_constants({"mean": rows[0]})
    problem.warm_up()
    assert {name: array.tolist() for name, array in problem.arrays(rows[1]).items()} == {"parameters": [2.0, 3.0]}
    assert [found.fitness for found in problem.evaluate_batch(rows, [KEY] * 3)] == [1.0, 5.0, 9.0]
    with pytest.raises(ConfigError, match=r"^Sum: expected a method gradient\(params, key\), got none; define it, or"):
        problem.gradient(rows[0], KEY)


def test_members_of_the_problem_are_called_directly() -> None:
    class Whole(Sum):
        batch_size, reproducible, optimal_return = 3, False, 7.0
        libraries = ("numpy",)
        environment_versions: Any = {"env.simulator": "1.2"}

        def measure_constants(self) -> Any:
            return {"mean": np.ones(1, np.float32)}

        def use_constants(self, constants: Any) -> None: ...

        def arrays(self, params: Any) -> Any: ...

        def warm_up(self) -> None: ...

        def evaluate_batch(self, params: Any, keys: Any) -> Any: ...

        def gradient(self, params: Any, key: Any) -> Any: ...

    whole = Whole()
    problem = complete(whole)
    for name in (*PROBLEM.required, *PROBLEM.optional):
        assert getattr(problem, name) == getattr(whole, name), name
    assert problem.wrapped is whole


def test_a_complete_problem_is_complete() -> None:
    problem = complete(Sum())
    assert complete(problem) is problem
    assert complete_task(problem, "m:T") is problem


def test_a_member_that_is_none_counts_as_left_out() -> None:
    problem = complete(with_members(Sum, warm_up=None, batch_size=None, libraries=None))
    problem.warm_up()
    assert (problem.batch_size, tuple(problem.libraries)) == (1, ())
    task = complete_task(with_members(Host, horizon=None, set_task=None), "m:T")
    assert isinstance(task, CompleteHostTask) and (task.horizon, task.set_task) == (None, None)


def test_an_optimum_that_takes_long_is_not_computed_until_it_is_asked_for() -> None:
    class Slow(Point):
        @property
        def optimal_return(self) -> float:
            raise AssertionError("asked")

    class SlowProblem(Sum):
        optimal_return = Slow.optimal_return

    for task in (complete_task(Slow(), "m:T"), complete(SlowProblem())):
        assert isinstance(task, CompleteRLTask | CompleteProblem)
        with pytest.raises(AssertionError, match="asked"):
            _ = task.optimal_return


@pytest.mark.parametrize(
    ("cls", "own", "meant"),
    [
        (Sum, "warmup", "warm_up"),
        (Sum, "batchsize", "batch_size"),
        (Sum, "batchSize", "batch_size"),
        (Sum, "enviroment_versions", "environment_versions"),
        (Sum, "optimal_returns", "optimal_return"),
        (Sum, "measure_constant", "measure_constants"),
        (Sum, "use_constant", "use_constants"),
        (Sum, "array", "arrays"),
        (Sum, "evaluate_batches", "evaluate_batch"),
        (Sum, "gradients", "gradient"),
        (Sum, "libaries", "libraries"),
        (Sum, "reproduceable", "reproducible"),
        (Curve, "testloss", "test_loss"),
        (Curve, "n_samples", "num_samples"),
        (Curve, "inital", "initial"),
        (Point, "optimal_retrun", "optimal_return"),
        (Point, "is_deterministic", "deterministic"),
        (Host, "samples", "sample"),
        (Host, "sample_many_", "sample_many"),
        (Host, "reset_task", "set_task"),
        (Host, "horizons", "horizon"),
        (Host, "reproducable", "reproducible"),
        (Host, "library", None),
        (Host, "get_task", None),
        (Host, "settings", None),
        (Sum, "warm", None),
        (Sum, "_warmup", None),
        (Sum, "evaluation", None),
        (Curve, "samples", None),
    ],
)
def test_a_name_that_is_almost_an_optional_one_is_refused_and_others_are_not(
    cls: type, own: str, meant: str | None
) -> None:
    task = with_members(cls, **{own: 1})
    if meant is None:
        complete_task(task, "m:T")
        return
    with pytest.raises(ConfigError) as caught:
        complete_task(task, "m:T")
    expected = f"task 'm:T': unknown member {own!r}; did you mean {meant!r}? if it is your own, call it '_{own}'"
    assert str(caught.value) == expected


def test_a_name_beside_the_one_that_it_resembles_is_the_users_own() -> None:
    task = with_members(Sum, gradients=1, gradient=lambda self, params, key: params)
    assert complete(task).wrapped is task


def test_an_attribute_of_the_instance_can_be_misspelt_too() -> None:
    problem: Any = Sum()
    problem.warmup = 1
    with pytest.raises(ConfigError, match="^task 'Sum': unknown member 'warmup'; did you mean 'warm_up'?"):
        complete(problem)


@pytest.mark.parametrize("form", [PROBLEM, HOST, RL, SUPERVISED], ids=lambda form: form.kind)
def test_no_member_of_a_form_is_a_misspelt_other_one(form: Any) -> None:
    everything = dict.fromkeys((*form.required, *form.optional))
    for left_out in form.optional:
        members = {name: None for name in everything if name != left_out}
        assert list(form._misspelt(type("Task", (), members)())) == []


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"warm_up": lambda self, key: None}, "expected warm_up(), got warm_up(key); change its arguments"),
        ({"use_constants": lambda self: None}, "expected use_constants(constants), got use_constants(); change its"),
        ({"arrays": lambda self: None}, "expected arrays(params), got arrays(); change its arguments"),
        ({"batch_size": 1.5}, "expected batch_size to be an integer above 0, got 1.5; change it"),
        ({"num_rounds": "x"}, "expected num_rounds to be an integer from 0 on, got 'x'; change it"),
        ({"metric": "reward"}, 'expected metric to be "return" or "loss", got \'reward\'; change it'),
        ({"scalars": "abc"}, "expected scalars to be a tuple of names, got 'abc'; change it"),
        ({"scale": 2.0}, "expected scale to be None or a float32 array of 2, got 2.0; change it"),
        (
            {"scale": np.ones(3, np.float32)},
            "expected scale to be None or a float32 array of 2, got array([1., 1., 1.]",
        ),
    ],
)
def test_an_optional_member_of_another_form_is_refused(members: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        complete(with_members(Sum, **members), "m:T")
    assert str(caught.value).startswith(f"task 'm:T': {message}")


def test_a_supervised_task_is_judged_by_its_loss_and_costs_one_sample_unless_it_says_otherwise() -> None:
    plain = Curve()
    task = complete_task(plain, "m:T")
    assert isinstance(task, CompleteSupervisedTask)
    assert (task.task, task.shapes, task.test_loss, task.num_samples, task.initial) == (
        plain,
        {"w": (2,)},
        plain.loss,
        1,
        None,
    )
    own = with_members(
        Curve, num_samples=5, test_loss=lambda self, params, task, key: 1, initial=lambda self, noise: noise
    )
    task = complete_task(own, "m:T")
    assert isinstance(task, CompleteSupervisedTask)
    assert (task.test_loss, task.num_samples, task.initial) == (own.test_loss, 5, own.initial)


def test_a_jax_task_is_random_and_of_unknown_optimum_unless_it_says_otherwise() -> None:
    task = complete_task(Point(), "m:T")
    assert isinstance(task, CompleteRLTask) and (task.deterministic, task.optimal_return) == (False, None)
    task = complete_task(with_members(Point, deterministic=True, optimal_return=3.0), "m:T")
    assert isinstance(task, CompleteRLTask) and (task.deterministic, task.optimal_return) == (True, 3.0)


def host(**members: Any) -> CompleteHostTask:
    task = complete_task(with_members(Host, **members), "m:T")
    assert isinstance(task, CompleteHostTask)
    return task


def test_a_host_task_has_no_tasks_and_no_horizon_unless_it_says_otherwise() -> None:
    task = host()
    assert task.make_env(3) == ("environment", 3)
    assert (task.sample_many, task.set_task, task.horizon, task.all_tasks) == (None, None, None, ())
    assert (task.reproducible, task.libraries) == (True, ())
    task = host(horizon=5, reproducible=False, libraries=["gym"], all_tasks=np.arange(2))
    assert (task.horizon, task.reproducible, task.libraries, task.all_tasks) == (5, False, ("gym",), (0, 1))


def test_many_tasks_are_drawn_one_by_one_unless_the_task_draws_them_together() -> None:
    def sample(self: Any, generator: np.random.Generator) -> float:
        return generator.random()

    def together(self: Any, generator: np.random.Generator, number: int) -> list[int]:
        return [7] * number

    draw: Callable[..., Any] | None = host(sample=sample).sample_many
    assert draw is not None
    generators = [np.random.Generator(np.random.SFC64(1)) for _ in range(2)]
    assert draw(generators[0], 3) == generators[1].random(3).tolist()
    draw = host(sample=sample, sample_many=together).sample_many
    assert draw is not None and draw(generators[0], 2) == [7, 7]


@pytest.mark.parametrize("name", READY_MADE)
def test_no_ready_made_task_has_a_member_that_seems_misspelt(name: str) -> None:
    cls = task_class(name)
    form = next(form for form in (HOST, RL, SUPERVISED) if all(hasattr(cls, method) for method in form.methods))
    assert list(form._misspelt(cls)) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("custom_*.py")), ids=lambda path: path.stem)
def test_no_example_has_a_member_that_seems_misspelt(path: Path) -> None:
    if path.stem == "custom_env":
        pytest.importorskip("gymnasium", reason="needs gymnasium")
    classes = [value for value in runpy.run_path(str(path)).values() if isinstance(value, type)]
    own = [cls for cls in classes if cls.__module__ == "<run_path>"]
    assert own and all(not list(form._misspelt(cls)) for cls in own for form in (PROBLEM, HOST, RL, SUPERVISED))
