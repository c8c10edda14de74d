"""From a config to a Problem: ready-made tasks, users' classes, and every mistake in one line."""

import inspect
import runpy
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.config import PolicyConfig
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.inner.start_jax import start_jax
from gamaml.problems import CompleteProblem
from gamaml.problems.jax_problem import JaxProblem
from gamaml.problems.registry import READY_MADE, task_class
from gamaml.tasks.navigation import Navigation
from gamaml.tasks.sinusoid import Sine, Sinusoid
from gamaml.types import EvaluationKey


@pytest.fixture(autouse=True)
def strict_jax() -> Iterator[None]:
    start_jax()
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


def config(task: dict[str, Any], **sections: Any) -> cfg.Config:
    mapping = {"task": task, "stop": {"generations": 1}, "noise": {"size": 20000}, **sections}
    return cfg.from_mapping(mapping)


def problem_of(task: object, **sections: Any) -> CompleteProblem:
    return problems.make_problem(config({"name": "my:Task"}, **sections), task=task)


KEY = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))


class OwnProblem:
    num_params, num_rounds, scalars, metric, scale = 3, 0, (), "return", None

    def initial(self, noise: Any) -> Any:
        return noise

    def evaluate(self, params: Any, key: Any) -> Any:
        raise AssertionError("a check of the form calls nothing")


class Regression:
    shapes: Any = {"w": (2, 1), "b": (1,)}

    def sample(self, key: Any) -> Any:
        return key

    def loss(self, params: Any, task: Any, key: Any) -> Any:
        return jnp.sum(params["w"] ** 2)


class Point:
    observation_size: Any = 2
    action_size, horizon = 1, 3

    def sample(self, key: Any) -> Any:
        return key

    def reset(self, task: Any, key: Any) -> Any:
        raise AssertionError("a check of the form calls nothing")

    def step(self, state: Any, action: Any, task: Any, key: Any) -> Any:
        raise AssertionError("a check of the form calls nothing")


def test_every_ready_made_task_is_listed_with_its_settings() -> None:
    lines = problems.available()
    assert set(lines) == set(READY_MADE)
    assert "Finn et al. 2017, section 5.3" in lines["navigation"] and "horizon = 100" in lines["navigation"]


@pytest.mark.parametrize("name", READY_MADE)
def test_listed_settings_are_those_of_the_class(name: str) -> None:
    parameters = inspect.signature(task_class(name)).parameters.values()
    assert READY_MADE[name].settings == {p.name: p.default for p in parameters if p.name != "policy"}


def test_listing_tasks_imports_no_jax_and_making_one_starts_no_device() -> None:
    program = """
        import sys
        from gamaml import config, problems
        problems.available()
        assert "jax" not in sys.modules
        mapping = {"task": {"name": "sinusoid"}, "stop": {"generations": 1}}
        problems.make_problem(config.from_mapping(mapping))
        from jax._src import xla_bridge
        assert not xla_bridge.backends_are_initialized()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_navigation_has_the_parameters_of_the_papers_network_and_a_std() -> None:
    problem = problems.make_problem(config({"name": "navigation"}))
    assert problem.num_params == 2 * 100 + 100 + 100 * 100 + 100 + 100 * 2 + 2 + 1
    assert problem.metric == "return"


def test_equal_configs_share_a_task_and_other_settings_make_another() -> None:
    def definition(horizon: int) -> object:
        problem = problems.make_problem(config({"name": "navigation", "horizon": horizon})).wrapped
        assert isinstance(problem, JaxProblem)
        return problem._task.task

    assert definition(50) is definition(50)
    assert definition(50) is not definition(51)


def test_navigation_goals_fill_the_unit_square_around_the_start() -> None:
    goals = np.asarray(jax.vmap(Navigation().sample)(jax.random.split(jax.random.key(0), 1000)))
    assert goals.shape == (1000, 2)
    assert np.abs(goals).max() <= 0.5 and np.abs(goals).max() > 0.49
    np.testing.assert_allclose(goals.mean(axis=0), 0, atol=0.04)


def test_navigation_moves_by_the_clipped_action_and_pays_minus_the_squared_distance() -> None:
    goal = jnp.asarray([0.3, 0.0], jnp.float32)
    position, observation = Navigation().reset(goal, jax.random.key(0))
    assert position.tolist() == observation.tolist() == [0.0, 0.0]
    action = jnp.asarray([5.0, -0.05], jnp.float32)
    position, observation, reward, done = Navigation().step(position, action, goal, jax.random.key(0))
    np.testing.assert_allclose(position, [0.1, -0.05], rtol=1e-6)
    np.testing.assert_allclose(observation, position)
    assert float(reward) == pytest.approx(-(0.2**2 + 0.05**2))
    assert not bool(done)


@pytest.mark.parametrize(("distance", "ends"), [(0.009, True), (0.011, False)])
def test_navigation_ends_within_a_hundredth_of_the_goal(distance: float, ends: bool) -> None:
    goal = jnp.asarray([0.2, 0.2], jnp.float32)
    state = goal - jnp.asarray([0.0, distance], jnp.float32)
    done = Navigation().step(state, jnp.zeros(2, jnp.float32), goal, jax.random.key(0))[3]
    assert bool(done) is ends


def navigate_by_hand(goal: np.ndarray, actions: np.ndarray, reward: str) -> tuple[list[float], int]:
    """Return the rewards of an episode, and its steps, as the text ("distance_squared") or the authors' code say."""
    position, rewards = np.zeros(2), list[float]()
    for action in actions:
        position = position + np.clip(action, -0.1, 0.1)
        dx, dy = position - goal
        distance = np.hypot(dx, dy)
        rewards.append(-distance if reward == "distance" else -(distance**2))
        near = distance < 0.01 if reward == "distance_squared" else abs(dx) < 0.01 and abs(dy) < 0.01
        if near:
            break
    return rewards, len(rewards)


def navigate(goal: np.ndarray, actions: np.ndarray, reward: str) -> tuple[list[float], int]:
    task, key = Navigation(reward=reward), jax.random.key(0)
    chosen = jnp.asarray(goal, jnp.float32)
    position, rewards = task.reset(chosen, key)[0], list[float]()
    for action in actions:
        position, _, paid, done = task.step(position, jnp.asarray(action, jnp.float32), chosen, key)
        rewards.append(float(paid))
        if bool(done):
            break
    return rewards, len(rewards)


@pytest.mark.parametrize("reward", ["distance_squared", "distance"])
def test_navigation_pays_and_ends_as_a_rollout_in_numpy(reward: str) -> None:
    random, lengths = np.random.default_rng(0), list[int]()
    for goal in random.uniform(-0.5, 0.5, (20, 2)):
        # Straight at the goal, then around it, with a step too long for the bounds now and then.
        actions = np.concatenate([np.tile(goal / 6, (5, 1)), [goal / 6 + 0.008], random.normal(0, 0.03, (40, 2))])
        rewards, steps = navigate(goal, actions, reward)
        expected, expected_steps = navigate_by_hand(goal, actions, reward)
        assert steps == expected_steps
        np.testing.assert_allclose(rewards, expected, rtol=2e-4, atol=1e-6)
        lengths.append(steps)
    if reward == "distance":
        assert set(lengths) == {6}  # each coordinate is 0.008 from the goal's, the distance is 0.0113
    else:
        assert min(lengths) > 6


def test_rewards_of_navigation_differ_at_the_same_place() -> None:
    goal, first = np.array([0.3, 0.4]), np.zeros((1, 2))
    assert navigate(goal, first, "distance")[0] == pytest.approx([-0.5])
    assert navigate(goal, first, "distance_squared")[0] == pytest.approx([-0.25])


@pytest.mark.parametrize(("reward", "mean"), [("distance_squared", 1 / 6), ("distance", 0.3826)])
def test_standing_still_in_navigation_scores_the_mean_over_the_square(reward: str, mean: float) -> None:
    problem = problems.make_problem(
        config(
            {"name": "navigation", "reward": reward},
            policy={"hidden": [], "std": 1e-9},
            inner={"rounds": 0, "num_tasks": 2000, "episodes": 1},
        )
    )
    params = np.zeros(problem.num_params, np.float32)
    params[-1] = np.log(1e-9)
    assert problem.evaluate(params, KEY).fitness == pytest.approx(-100 * mean, rel=0.03)


def test_sinusoid_tasks_have_the_papers_ranges() -> None:
    task = Sinusoid(PolicyConfig(hidden=(40, 40)))
    waves = jax.vmap(task.sample)(jax.random.split(jax.random.key(0), 2000))
    amplitude, phase = np.asarray(waves.amplitude), np.asarray(waves.phase)
    assert 0.1 <= amplitude.min() < 0.12 and 4.98 < amplitude.max() <= 5.0
    assert 0.0 <= phase.min() < 0.01 and 3.13 < phase.max() <= np.pi


def test_sinusoid_loss_is_the_mean_squared_error_of_the_wave() -> None:
    task = Sinusoid(PolicyConfig(hidden=(40, 40)), query=4000)
    wave = Sine(jnp.asarray(2.0, jnp.float32), jnp.asarray(0.0, jnp.float32))
    zero = {name: jnp.zeros(shape, jnp.float32) for name, shape in task.shapes.items()}
    # the mean of (2 sin x)^2 over [-5, 5] is 2 - sin(10) / 5
    expected = 2 - np.sin(10) / 5
    assert float(task.test_loss(zero, wave, jax.random.key(0))) == pytest.approx(expected, rel=0.05)


def test_sinusoid_counts_support_and_query_points() -> None:
    inner = {"rounds": 2, "num_tasks": 3, "step_size": 0.001}
    problem = problems.make_problem(
        config({"name": "sinusoid", "shots": 5, "query": 7}, policy={"hidden": [4]}, inner=inner)
    )
    result = problem.evaluate(problem.initial(np.ones(problem.num_params, np.float32)), KEY)
    assert result.steps == 3 * (5 + 7)
    assert result.fitness == -float(result.returns[-1])


def test_kinks_of_the_sinusoid_network_are_spread_over_the_inputs() -> None:
    task = Sinusoid(PolicyConfig(hidden=(400, 4)))
    generator = np.random.default_rng(0)
    noise = {name: generator.standard_normal(shape, np.float32) for name, shape in task.shapes.items()}
    arrays = task.initial(noise)
    kinks = -arrays["b0"] / arrays["w0"][0]
    assert np.abs(kinks).max() <= 5.001
    np.testing.assert_allclose(np.quantile(kinks, [0.25, 0.5, 0.75]), [-2.5, 0, 2.5], atol=0.6)


def test_the_start_of_maml_has_small_weights_and_zero_biases() -> None:
    problem = problems.make_problem(config({"name": "sinusoid", "start": "maml"}, policy={"hidden": [40, 40]}))
    noise = np.random.default_rng(0).standard_normal(problem.num_params, np.float32)
    initial = problem.arrays(problem.initial(noise))
    weights, given = ("w0", "w1", "w2"), problem.arrays(noise)
    for name in weights:
        np.testing.assert_array_equal(initial[name], given[name] * np.float32(0.01))
    assert [initial[name].any() for name in ("b0", "b1", "b2")] == [False] * 3
    everything = np.concatenate([initial[name].ravel() for name in weights])
    assert everything.std() == pytest.approx(0.01, rel=0.05)
    assert np.abs(everything).max() > 0.03  # not cut off at two standard deviations


def test_the_usual_start_of_the_sinusoid_is_the_spread_one() -> None:
    made = [
        problems.make_problem(config({"name": "sinusoid", **start}, policy={"hidden": [40, 40]}))
        for start in ({}, {"start": "spread"}, {"start": "maml"})
    ]
    noise = np.random.default_rng(0).standard_normal(made[0].num_params, np.float32)
    first, spread, small = (problem.initial(noise).tobytes() for problem in made)
    assert first == spread != small


def test_a_problem_of_the_users_own_is_used_as_it_is() -> None:
    own = OwnProblem()
    problem = problem_of(own)
    assert (problem.wrapped, problem.evaluate) == (own, own.evaluate)
    assert problem_of(problem) is problem


def test_methods_tell_the_kind_of_task() -> None:
    assert problem_of(Regression()).metric == "loss"
    assert problem_of(Point()).metric == "return"


def test_a_dataclass_of_the_current_directory_gets_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colour_task.py").write_text(
        textwrap.dedent("""
            from dataclasses import dataclass

            @dataclass
            class Colours:
                number: int
                bright: bool = False

                num_rounds, scalars, metric, scale = 0, (), "return", None

                @property
                def num_params(self): return self.number

                def initial(self, noise): return noise

                def evaluate(self, params, key): return None
        """)
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    problem = problems.make_problem(config({"name": "colour_task:Colours", "number": 5}))
    assert problem.num_params == 5
    for settings, message in (
        ({}, "task.number: expected a value, got none; task 'colour_task:Colours' requires it below [task]"),
        ({"number": "5"}, "task.number: expected an integer, got '5'; change its type"),
        ({"number": True}, "task.number: expected an integer, got True; change its type"),
        ({"number": 5, "bright": 1}, "task.bright: expected true or false, got 1; change its type"),
        (
            {"number": 5, "brigth": True},
            "task.brigth: unknown setting of task 'colour_task:Colours'; did you mean 'bright'? known: bright, number",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            problems.make_problem(config({"name": "colour_task:Colours", **settings}))
        assert str(caught.value) == message
    with pytest.raises(ConfigError, match="expected a class 'Colour' in module 'colour_task', got none; did you mean"):
        problems.make_problem(config({"name": "colour_task:Colour"}))


def test_an_import_error_inside_the_users_module_is_not_mistaken_for_a_missing_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_task.py").write_text("import no_such_dependency\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        problems.make_problem(config({"name": "broken_task:Task"}))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            {"name": "navigatoin"},
            "task.name='navigatoin': unknown task; did you mean 'navigation'? known: ant_direction, ",
        ),
        (
            {"name": "no_such:T"},
            "task.name='no_such:T': expected an importable module 'no_such', got none; start ",
        ),
        ({"name": ":T"}, "task.name=':T': expected an importable module '', got none; "),
        (
            {"name": "gamaml.config:load"},
            "task.name='gamaml.config:load': expected a class 'load' in module ",
        ),
        (
            {"name": "navigation", "horizn": 3},
            "task.horizn: unknown setting of task 'navigation'; did you mean 'hor",
        ),
        (
            {"name": "navigation", "horizon": 2.5},
            "task.horizon: expected an integer, got 2.5; change its type",
        ),
        (
            {"name": "navigation", "horizon": 0},
            "task 'navigation': horizon=0: expected at least 1; choose e.g. 100",
        ),
        (
            {"name": "navigation", "reward": "distances"},
            "task 'navigation': reward='distances': unknown; did you mean 'distance'? known: distance, ",
        ),
        (
            {"name": "navigation", "reward": 1},
            "task.reward: expected a string in quotes, got 1; change its type",
        ),
        (
            {"name": "sinusoid", "start": "malm"},
            "task 'sinusoid': start='malm': unknown; did you mean 'maml'? known: maml, spread",
        ),
        ({"name": "sinusoid", "shots": 0}, "task 'sinusoid': shots=0: expected at least 1; choose e.g. 10"),
    ],
)
def test_a_mistake_in_the_task_section_is_one_line(task: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        problems.make_problem(config(task))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def without(cls: type, **changes: Any) -> object:
    return type("Task", (cls,), changes)()


@dataclass
class Empty:
    pass


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            without(Regression, loss=None),
            "for the kind 'supervised' lacks loss(params, task, key); define them",
        ),
        (
            without(Point, step=3),
            "for the kind 'JAX reinforcement learning' lacks step(state, action, task, key); ",
        ),
        (Empty(), "got Empty, which for the kind "),
        (without(Regression, sample=lambda self: 0), "expected sample(key), got sample()"),
        (without(Regression, shapes=[1]), "expected shapes to map names to shapes, got [1]; write e.g."),
        (without(Regression, shapes={}), "expected shapes to map names to shapes, got {}; write e.g."),
        (
            without(Regression, shapes={"w": 3}),
            "expected shapes['w'] to be positive integers, got 3; write e.g. (10",
        ),
        (
            without(Regression, shapes={"w": (0,)}),
            "expected shapes['w'] to be positive integers, got (0,); write",
        ),
        (
            without(Point, observation_size="2"),
            "expected observation_size to be an integer above 0, got '2'; change",
        ),
        (without(Point, horizon=0), "expected horizon to be an integer above 0, got 0; change it"),
        (without(OwnProblem, batch_size=0), "expected batch_size to be an integer above 0, got 0; change it"),
        (
            without(OwnProblem, batch_size=2),
            "expected a method evaluate_batch(params, keys), got none, with batch_size=2; define it, or leave",
        ),
        (
            without(OwnProblem, batch_size=2, evaluate_batch=lambda self, params: []),
            "expected evaluate_batch(params, keys), got evaluate_batch(params); change its arguments",
        ),
    ],
)
def test_a_task_of_another_form_is_refused_with_what_it_lacks(task: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        problem_of(task)
    assert str(caught.value).startswith("task 'my:Task': ") and message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_problem_without_all_attributes_is_told_the_usual_values() -> None:
    class Short:
        num_params = 3
        initial, evaluate = OwnProblem.initial, OwnProblem.evaluate

    with pytest.raises(ConfigError, match=r"none named num_rounds, scalars, metric, scale; add e.g. num_rounds = 0"):
        problem_of(Short())


def test_a_batch_size_is_refused_where_children_are_evaluated_one_by_one() -> None:
    class Host:
        def make_env(self, task: Any) -> Any:
            raise AssertionError("a check of the form calls nothing")

    for task, message in (
        (Host(), "whose environments are stepped on the host, one child at a time; leave it out, or write it in JAX"),
        (OwnProblem(), "a Problem of your own; leave it out, and give the class an attribute batch_size"),
    ):
        with pytest.raises(ConfigError) as caught:
            problem_of(task, inner={"rounds": 0, "batch_size": 4})
        assert str(caught.value) == f"inner.batch_size=4: expected 1 for task 'my:Task', {message}"


def test_a_table_smaller_than_the_parameters_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        problems.make_problem(config({"name": "navigation"}, noise={"size": 1000}))
    assert str(caught.value).startswith("noise.size=1000: expected at least the 10603 parameters of task 'navigation'")


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_example_config_makes_a_problem(path: Path) -> None:
    config = cfg.load(path)
    python = config.env.python or config.task.settings.get("python")
    if python:
        absolute = EXAMPLES.parent / python
        if not absolute.exists():
            pytest.skip(f"needs {python}: make .venv-roboschool/ready")
        config = cfg.load(path, [f"{'env' if config.env.python else 'task'}.python={str(absolute)!r}"])
    assert problems.make_problem(config).num_params > 0


def test_the_table_of_the_demo_leaves_room_in_a_shared_memory_of_64_mb() -> None:
    assert 4 * cfg.load(EXAMPLES / "demo.toml").noise.size <= 16 * 2**20


def test_the_custom_task_is_under_25_lines_and_of_the_right_form() -> None:
    path = EXAMPLES / "custom_task.py"
    assert sum(bool(line.strip()) for line in path.read_text().splitlines()) < 25
    problem = problem_of(runpy.run_path(str(path))["Lines"]())
    assert problem.metric == "loss"
