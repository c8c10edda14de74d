"""The inner loop against numbers by hand, and the start of JAX."""

import dataclasses
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corridor import Corridor

from gamaml import config as cfg
from gamaml import problems
from gamaml.evolution import streams
from gamaml.inner.learners import supervised_learner
from gamaml.inner.loop import Learner, Measured, adapt
from gamaml.inner.rounds import Learned, one_round
from gamaml.inner.start_jax import cache_folder, start_jax
from gamaml.policies import mlp
from gamaml.problems import CompleteProblem, jax_problem
from gamaml.types import Evaluation, EvaluationKey


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def array(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)


def config(**sections: Any) -> cfg.Config:
    mapping: dict[str, Any] = {"task": {"name": "test"}, "stop": {"generations": 1}, **sections}
    return cfg.from_mapping(mapping)


def key(seed: int = 1, tasks: int = 1) -> EvaluationKey:
    return EvaluationKey(
        streams.key(tasks, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES, index=seed)
    )


class Bowl:
    """Supervised: half the squared distance of `w` to 3, so that a step s leaves (1 - s) of the distance."""

    shapes: Mapping[str, tuple[int, ...]] = {"w": (), "b": (2,)}

    def sample(self, key: jax.Array) -> jax.Array:
        return array(3.0)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        return 0.5 * (params["w"] - task) ** 2 + 0.5 * jnp.sum(params["b"] ** 2)


BOWL_INNER = {"rounds": 3, "num_tasks": 2, "step_size": 0.5, "step_size_gene": "none"}
RL_INNER = {"rounds": 2, "num_tasks": 3, "episodes": 16, "step_size_gene": "layer"}
CORRIDOR = Corridor()
"""One task and one inner loop for all tests, since each other one costs seconds of compilation."""


def corridor(**inner: Any) -> CompleteProblem:
    return problems.make_problem(config(policy={"hidden": [4]}, inner={**RL_INNER, **inner}), CORRIDOR)


def some_params(problem: CompleteProblem) -> np.ndarray:
    return problem.initial(np.random.default_rng(0).standard_normal(problem.num_params, np.float32))


def test_every_round_is_one_gradient_step_and_is_measured_before_and_after() -> None:
    problem = problems.make_problem(config(inner=BOWL_INNER), Bowl())
    params = np.array([1.0, 0.0, 0.0], np.float32)
    result = problem.evaluate(params, key())
    # the distance 2 halves with every step: losses 2, 1/2, 1/8, 1/32
    assert result.returns.tolist() == [2.0, 0.5, 0.125, 0.03125]
    assert result.fitness == -0.03125
    assert result.scalars == ()
    assert (problem.metric, problem.num_rounds, problem.num_params) == ("loss", 3, 3)


def test_each_array_has_its_own_step_size() -> None:
    problem = problems.make_problem(config(inner={**BOWL_INNER, "rounds": 1, "step_size_gene": "layer"}), Bowl())
    params = np.array([1.0, 2.0, 0.0, np.log(0.5), np.log(0.25)], np.float32)
    result = problem.evaluate(params, key())
    np.testing.assert_allclose(result.returns, [2 + 2, 0.5 + 0.5 * 1.5**2], rtol=1e-6)
    assert result.scalars == (pytest.approx(0.375),)


def test_the_gradient_leaves_the_genes_alone() -> None:
    problem = problems.make_problem(config(inner={**BOWL_INNER, "step_size_gene": "global"}), Bowl())
    params = np.array([1.0, 0.0, 0.0, np.log(0.5)], np.float32)
    np.testing.assert_allclose(problem.evaluate(params, key()).returns, [2, 0.5, 0.125, 0.03125], rtol=1e-5)


def test_zero_rounds_measure_the_parameters_as_they_are() -> None:
    problem = problems.make_problem(config(inner={**BOWL_INNER, "rounds": 0}), Bowl())
    assert problem.evaluate(np.array([1.0, 0.0, 0.0], np.float32), key()).returns.tolist() == [2.0]


def test_the_support_set_is_the_same_in_all_rounds_and_the_query_set_another() -> None:
    class Noisy(Bowl):
        def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
            return 0.5 * (params["w"] - jax.random.normal(key, (), jnp.float32)) ** 2

    definition = Noisy()
    learner = supervised_learner(definition, definition.loss, num_samples=1)
    tasks = jax.vmap(learner.sample)(jax.random.split(jax.random.key(0), 2))
    support, query = (np.array([jax.random.normal(key, (), jnp.float32) for key in tasks[part]]) for part in (1, 2))
    assert len({*support, *query}) == 4
    params, steps = {"w": array(0.0)}, {"w": array(1.0)}
    keys = jax.random.split(jax.random.key(1), 2)
    measured = adapt(lambda index: learner, params, tasks, keys, step_sizes_at=lambda index: steps, rounds=2)
    # a step of 1 lands on the support point at once; another draw in round 2 would move it away
    expected = [0.5 * query**2, 0.5 * (support - query) ** 2, 0.5 * (support - query) ** 2]
    np.testing.assert_allclose(measured.value, expected, rtol=1e-5)


def test_test_loss_judges_and_loss_teaches() -> None:
    class Judged(Bowl):
        num_samples = 7

        def test_loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
            return params["w"]

    problem = problems.make_problem(config(inner={**BOWL_INNER, "rounds": 1}), Judged())
    result = problem.evaluate(np.array([1.0, 0.0, 0.0], np.float32), key())
    assert result.returns.tolist() == [1.0, 2.0]
    assert result.steps == 2 * 7


def test_a_user_initialises_a_supervised_task_in_numpy() -> None:
    class Own(Bowl):
        def initial(self, noise: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
            return {"w": noise["w"] + 10, "b": noise["b"] * 0 - 1}

    problem = problems.make_problem(config(inner=BOWL_INNER), Own())
    assert problem.initial(np.ones(3, np.float32)).tolist() == [11.0, -1.0, -1.0]


def test_a_loss_that_is_no_scalar_is_refused_by_name() -> None:
    class Wrong(Bowl):
        def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
            return params["b"]

    with pytest.raises(TypeError, match=r"task.loss: expected float32\[\], got float32 of shape \(2,\)"):
        problems.make_problem(config(inner=BOWL_INNER), Wrong()).warm_up()


def test_rl_collects_anew_in_every_round_and_counts_every_step() -> None:
    problem = corridor()
    result = problem.evaluate(some_params(problem), key())
    assert result.returns.shape == (3,) and result.returns.dtype == np.float32
    assert result.fitness == float(result.returns[-1])
    assert 0 < result.steps <= 3 * 16 * 3 * Corridor.horizon
    assert problem.metric == "return"


def test_rl_steps_are_those_of_living_episodes_only() -> None:
    class Instant(Corridor):
        def step(self, state: jax.Array, action: jax.Array, task: jax.Array, key: jax.Array) -> Any:
            return state, state[None], array(2.0), jnp.asarray(True)

    problem = problems.make_problem(config(policy={"hidden": [4]}, inner=RL_INNER), Instant())
    result = problem.evaluate(some_params(problem), key())
    assert result.steps == 3 * 16 * 3  # tasks x episodes x collections, one step each
    assert result.returns.tolist() == [2.0, 2.0, 2.0]


def test_a_step_size_of_almost_nothing_leaves_the_policy_where_it_was() -> None:
    problem = corridor(step_size_gene="global")
    params = some_params(problem)
    params[-2] = np.log(1e-12)  # step size
    params[-1] = np.log(1e-6)  # action std: nothing random is left
    returns = problem.evaluate(params, key()).returns
    assert returns.tolist() == [pytest.approx(returns[0], rel=1e-4)] * 3


def test_rl_adaptation_improves_the_return() -> None:
    problem = corridor(step_size=0.1, step_size_gene="none")
    result = problem.evaluate(some_params(problem), key())
    assert result.returns[-1] > result.returns[0] + 0.3


def test_evaluation_depends_on_parameters_and_key_alone() -> None:
    problem = corridor()
    params = some_params(problem)
    first = problem.evaluate(params, key(1))
    others = [problem.evaluate(params, key(2)), problem.evaluate(params, key(1, tasks=2))]
    again = problem.evaluate(params, key(1))
    assert again.returns.tolist() == first.returns.tolist()
    assert all(other.returns.tolist() != first.returns.tolist() for other in others)


def test_problems_that_differ_in_seed_std_and_step_size_share_one_program() -> None:
    base = config(policy={"hidden": [4]}, inner=RL_INNER)
    other = dataclasses.replace(
        base,
        seed=9,
        policy=dataclasses.replace(base.policy, std=0.1, std_gene=False),
        inner=dataclasses.replace(base.inner, step_size=0.9, step_size_gene="global"),
        ga=dataclasses.replace(base.ga, mutation_std=0.3),
    )
    first, second = problems.make_problem(base, CORRIDOR), problems.make_problem(other, CORRIDOR)
    first.warm_up()
    before = len(jax_problem._programs)
    second.warm_up()
    assert len(jax_problem._programs) == before
    assert first.evaluate(some_params(first), key()) != second.evaluate(some_params(second), key())


class Line:
    """Supervised: a slope and an offset from random points."""

    shapes: Mapping[str, tuple[int, ...]] = mlp.shapes(1, 3, 1)

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (2,), jnp.float32)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        x = jax.random.uniform(key, (5, 1), jnp.float32)
        return jnp.mean((mlp.apply(params, x) - task[0] * x - task[1]) ** 2)


LINE = Line()
BATCH = 5
BATCHES = {
    "rl_without_rounds": lambda: corridor(batch_size=BATCH, rounds=0),
    "rl_with_rounds": lambda: corridor(batch_size=BATCH),
    "supervised": lambda: problems.make_problem(config(inner={**RL_INNER, "batch_size": BATCH}), LINE),
    "supervised_without_rounds": lambda: problems.make_problem(
        config(inner={**RL_INNER, "batch_size": BATCH, "rounds": 0}), LINE
    ),
}


def bits(evaluation: Evaluation) -> tuple[Any, ...]:
    return evaluation.fitness, evaluation.returns.tobytes(), evaluation.steps, evaluation.scalars


@pytest.mark.parametrize("kind", BATCHES)
def test_a_row_of_a_batch_depends_neither_on_its_neighbours_nor_on_its_place(kind: str) -> None:
    problem = BATCHES[kind]()
    generator = np.random.default_rng(1)
    noise = generator.standard_normal((2, BATCH, problem.num_params), np.float32)
    rows, others = ([problem.initial(row) + row / 10 for row in half] for half in noise)
    keys = [key(seed, tasks=seed % 2) for seed in range(BATCH)]
    expected = [bits(evaluation) for evaluation in problem.evaluate_batch(np.array(rows), keys)]
    assert len(set(expected)) == BATCH
    assert [bits(problem.evaluate(*pair)) for pair in zip(rows, keys, strict=True)] == expected
    order = generator.permutation(BATCH)
    moved = problem.evaluate_batch(np.array(rows)[order], [keys[i] for i in order])
    assert [bits(evaluation) for evaluation in moved] == [expected[i] for i in order]
    others[1][:] = np.nan
    for place in range(BATCH):
        mixed, new_keys = np.array(others), [key(99)] * BATCH
        mixed[place], new_keys[place] = rows[place], keys[place]
        assert bits(problem.evaluate_batch(mixed, new_keys)[place]) == expected[place]


@pytest.mark.parametrize("rounds", [0, 2])
def test_batches_find_what_single_evaluations_find(rounds: int) -> None:
    alone, together = corridor(rounds=rounds), corridor(rounds=rounds, batch_size=BATCH)
    params = some_params(alone)
    one, other = alone.evaluate(params, key()), together.evaluate(params, key())
    np.testing.assert_allclose(one.returns, other.returns, rtol=1e-3)
    assert (one.returns.shape, one.steps) == ((rounds + 1,), other.steps)


def test_without_rounds_the_episodes_are_those_that_the_first_round_would_collect() -> None:
    with_rounds, without = corridor(step_size_gene="none"), corridor(rounds=0)
    params = some_params(without)
    expected = with_rounds.evaluate(params, key()).returns[0]
    assert without.evaluate(params, key()).returns == pytest.approx([expected], rel=1e-5)


def test_a_policy_without_std_acts_alike_in_every_episode() -> None:
    policy = {"hidden": [4], "std": 0.0, "std_gene": False}
    problem = problems.make_problem(config(policy=policy, inner={**RL_INNER, "rounds": 0}), CORRIDOR)
    assert problem.num_params == 1 * 4 + 4 + 4 * 1 + 1
    params = some_params(problem)
    first, second = problem.evaluate(params, key(1)), problem.evaluate(params, key(2))
    assert bits(first) == bits(second)
    assert bits(problem.evaluate(params, key(1, tasks=2))) != bits(first)


def test_a_nan_in_one_task_makes_the_fitness_nan() -> None:
    problem = corridor()
    params = some_params(problem)
    params[0] = np.nan
    assert np.isnan(problem.evaluate(params, key()).fitness)


def test_parameters_are_not_changed_by_an_evaluation() -> None:
    problem = corridor()
    params = some_params(problem)
    copy = params.copy()
    problem.evaluate(params, key())
    np.testing.assert_array_equal(params, copy)


@pytest.mark.parametrize("updates_in_turn", [True, False])
def test_the_inner_loop_takes_any_learner(updates_in_turn: bool) -> None:
    learner = Learner(
        sample=lambda key: array(1.0),
        collect=lambda params, task, key: jax.random.uniform(key, (), jnp.float32),
        loss=lambda params, task, data: params["w"] * task,
        measure=lambda params, task, data: Measured(params["w"], jnp.asarray(1, jnp.int32)),
        outer_loss=lambda params, task, data: params["w"],
        updates_in_turn=updates_in_turn,
    )
    start, step_sizes = {"w": array(0.0)}, {"w": array(0.5)}
    tasks, keys = jnp.asarray([1, 2], jnp.float32), jax.random.split(jax.random.key(0), 2)
    measured = adapt(lambda index: learner, start, tasks, keys, step_sizes_at=lambda index: step_sizes, rounds=3)
    assert measured.value.tolist() == [[0.0, 0.0], [-0.5, -1.0], [-1.0, -2.0], [-1.5, -3.0]]
    assert measured.steps.tolist() == [[1, 1]] * 4


def test_a_round_measures_the_network_that_collected_and_then_updates_it() -> None:
    order: list[tuple[str, Any, Any]] = []

    def noted(name: str, result: Any) -> Any:
        def function(learned: Learned, other: Any) -> Any:
            order.append((name, learned.network, other))
            return result

        return function

    start = Learned(network="before", state=())
    found = one_round(
        start, "key", collect=noted("collect", "data"), measure=noted("measure", 3.0), update=noted("update", "after")
    )
    assert found == ("after", 3.0)
    assert order == [("collect", "before", "key"), ("measure", "before", "data"), ("update", "before", "data")]


def run_python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    home = environment.get("HOME", str(Path.home()))
    variables = {"PATH": "/usr/bin:/bin", "HOME": home, **environment}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


def test_a_jax_that_runs_with_several_threads_is_refused_with_the_remedy() -> None:
    program = """
        import os
        os.environ["NPROC"] = "2"
        import jax
        jax.devices()
        from gamaml.errors import LaunchError
        from gamaml.inner.start_jax import start_jax
        try:
            start_jax()
        except LaunchError as error:
            print(error)
    """
    result = run_python(program)
    assert "XLA threads: expected 1 per rank, got 2" in result.stdout, result.stderr
    assert "set NPROC=1 in the environment" in result.stdout


def test_a_jax_that_runs_with_one_thread_on_the_cpu_is_accepted() -> None:
    program = """
        import jax
        jax.devices()
        from gamaml.inner.start_jax import start_jax
        start_jax()
        print(jax.default_backend())
    """
    assert run_python(program, NPROC="1", JAX_PLATFORMS="cpu").stdout == "cpu\n"


def test_a_cache_folder_that_cannot_be_made_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    program = """
        from gamaml.inner.start_jax import start_jax
        start_jax()
        import jax
        print(float(jax.jit(lambda x: x + 1)(1.0)), jax.config.jax_compilation_cache_dir)
    """
    result = run_python(program, XDG_CACHE_HOME=str(tmp_path / "file"))
    assert result.stdout == "2.0 None\n", result.stderr


def test_programs_are_kept_in_the_cache_folder(tmp_path: Path) -> None:
    program = """
        from gamaml.inner.start_jax import start_jax
        start_jax()
        import jax
        jax.jit(lambda x: x + 1)(1.0).block_until_ready()
    """
    result = run_python(program, XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert any(cache_folder({"XDG_CACHE_HOME": str(tmp_path)}, jax.__version__).iterdir())


def test_cache_folder_names_jax_version_and_cpu_and_prefers_xdg() -> None:
    folder = cache_folder({"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "1.2.3")
    assert folder.parent == Path("/x/gamaml") and folder.name.startswith("jax-1.2.3-")
    assert cache_folder({"HOME": "/h"}, "1.2.3").parent == Path("/h/.cache/gamaml")
