"""Adaptation to held-out tasks: values by hand, intervals, tables and pictures."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from run_examples import NUM_PARAMS, example_header, write_example

import gamaml
from gamaml import cli, problems, runlog
from gamaml import config as cfg
from gamaml.commands import adapt as adapt_command
from gamaml.commands import adaptation_picture, pictures
from gamaml.commands.adapt import seeds_text, text
from gamaml.engine.adaptation import Adaptation, Aggregate, adapt, aggregate, compare_adaptation, difference
from gamaml.engine.intervals import interquartile_mean
from gamaml.errors import ConfigError
from gamaml.runlog import Run
from gamaml.tasks.locomotion import CheetahDirection
from gamaml.types import Evaluation


class Shift:
    """Half the squared distance to a goal: a step of 0.5 leaves a quarter of the loss."""

    shapes: Any = {"w": (NUM_PARAMS,)}

    def __init__(self, bound: float = 1.0) -> None:
        self.bound = bound

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (NUM_PARAMS,), jnp.float32, -self.bound, self.bound)

    def loss(self, params: Any, task: jax.Array, key: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum((params["w"] - task) ** 2)


class Own:
    """Tells what it is given: its first parameter, and a digit of the task's key."""

    num_params, num_rounds, scalars, metric, scale = NUM_PARAMS, 1, (), "return", None

    def initial(self, noise: Any) -> Any:
        return noise

    def evaluate(self, params: Any, key: Any) -> Evaluation:
        return Evaluation(2.0, np.array([params[0], key.task[0] % 1000], np.float32), 3)


def write(path: Path, name: str = "Shift", *, rounds: int = 2, number: int = 2, **sections: Any) -> Run:
    mapping: dict[str, Any] = {
        "task": {"name": f"test_adapt:{name}"},
        "inner": {"rounds": rounds, "step_size": 0.5},
        "ga": {"population_size": 6, "num_parents": 3, "elite": {"candidates": 2, "episodes": 4}},
        "stop": {"generations": 5},
        "noise": {"size": 1000},
        **sections,
    }
    header = example_header(cfg.from_mapping(mapping), name=path.stem, num_rounds=rounds, scalars=())
    write_example(path, number, header=header)
    return gamaml.load(path)


def result(values: Any, trained: int = 1, **changes: Any) -> Adaptation:
    values = np.array(values, np.float64)
    rounds = tuple(range(values.shape[1]))
    made = Adaptation("one", "incumbent", "return", rounds, trained, values, 7, None, (), 1, 5, {"strategy": "ga"})
    return dataclasses.replace(made, **changes)


def alone(values: Any, trained: int = 1, **changes: Any) -> Aggregate:
    return aggregate([result(values, trained, **changes)])


def seeds(*values: Any, name: str = "ga", **changes: Any) -> Aggregate:
    """Return an aggregate of the seeds 1, 2, ..., whose values are these."""
    return aggregate(
        [result(each, seed=seed, name=f"{name}-seed{seed}", **changes) for seed, each in enumerate(values, start=1)]
    )


def test_every_round_shows_what_its_update_left_also_beyond_the_training(tmp_path: Path) -> None:
    found = adapt(write(tmp_path / "a.h5"), tasks=11, rounds=[4, 0, 1, 3])
    assert found.values.shape == (11, 4)
    assert (found.rounds, found.trained_rounds, found.metric) == ((0, 1, 3, 4), 2, "loss")
    expected = found.values[:, :1] * 0.25 ** np.array([0, 1, 3, 4])
    np.testing.assert_allclose(found.values, expected, rtol=1e-5)
    assert len(np.unique(found.values[:, 0])) == 11  # so many different tasks
    np.testing.assert_array_equal(found.mean, found.values.mean(axis=0))
    np.testing.assert_array_equal(found.median, np.sort(found.values, axis=0)[5])


def test_a_task_is_the_same_whatever_their_number(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5")
    np.testing.assert_array_equal(adapt(run, tasks=3).values, adapt(run, tasks=20).values[:3])


def test_all_runs_meet_the_same_tasks_with_their_elites(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"{seed}.h5", "Own", rounds=1, seed=seed) for seed in (1, 2)]
    found = [adapt(run, tasks=4) for run in runs]
    assert [each.who for each in found] == ["incumbent", "incumbent"]
    assert [set(each.values[:, 0]) for each in found] == [{run.incumbent_parameters()[0]} for run in runs]
    np.testing.assert_array_equal(found[0].values[:, 1], found[1].values[:, 1])
    assert len(set(found[0].values[:, 1])) == 4


def test_parents_mean_is_the_mean_of_all_parents(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5", "Own", rounds=1, number=1)
    records = run.records[0]
    incumbent = run.incumbent_parameters()
    # The first generation's parents are the incumbent and its best other children.
    children = [run.parameters(0, int(index)) for index in np.argsort(-records["fitness"])]
    others = [child for child in children if not np.array_equal(child, incumbent)][:2]
    mean = np.mean([incumbent, *others], axis=0, dtype=np.float64)
    np.testing.assert_allclose(run.parents_mean(), mean, rtol=1e-5)
    found = adapt(run, tasks=2, parents_mean=True)
    assert (found.who, found.values[0, 0]) == ("mean of the parents", run.parents_mean()[0])


def test_what_an_earlier_generation_found_can_be_asked_for(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5", "Own", rounds=1, number=3)
    for generation in range(3):
        found = adapt(run, tasks=2, generation=generation)
        assert (found.who, found.values[0, 0]) == (
            f"incumbent of generation {generation}",
            run.parameters(generation)[0],
        )
        found = adapt(run, tasks=2, generation=generation, parents_mean=True)
        assert found.values[0, 0] == run.parents_mean(generation)[0]
    assert run.parents_mean(2)[0] == run.parents_mean()[0] != run.parents_mean(1)[0]
    for parents_mean in (False, True):
        with pytest.raises(ConfigError, match="generation=3: expected 0 to 2"):
            adapt(run, tasks=2, generation=3, parents_mean=parents_mean)


def test_an_environment_plays_as_many_fresh_episodes_as_tasks(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    mapping: dict[str, Any] = {
        "env": {"id": "CartPole-v1"},
        "policy": {"hidden": []},
        "inner": {"rounds": 0},
        "ga": {"population_size": 6, "num_parents": 3, "elite": {"candidates": 2, "episodes": 4}},
        "stop": {"generations": 5},
        "noise": {"size": 1000},
    }
    header = example_header(cfg.from_mapping(mapping), num_rounds=0, scalars=())
    write_example(tmp_path / "pole.h5", 1, header=header)
    found = adapt(gamaml.load(tmp_path / "pole.h5"), tasks=30)
    assert found.values.shape == (30, 1)
    assert found.steps == found.values.sum()  # CartPole pays 1 per step
    assert np.array_equal(found.values, found.values.round())


def test_a_run_without_rounds_can_be_given_some_by_its_fixed_step_size(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5", rounds=0, inner={"rounds": 0, "step_size": 0.5, "step_size_gene": "layer"})
    found = adapt(run, tasks=2, rounds=[0, 1])
    np.testing.assert_allclose(found.values[:, 1], found.values[:, 0] / 4, rtol=1e-5)
    assert "1*" in text(found)


def test_a_problem_of_ones_own_shows_the_rounds_that_it_has(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5", "Own", rounds=1)
    assert adapt(run, tasks=2).rounds == (0, 1)
    with pytest.raises(ConfigError, match="--rounds 2: expected at most the 1 of this Problem, got 2"):
        adapt(run, rounds=[2])


def test_overrides_change_the_evaluation_and_not_what_is_evaluated(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5")
    found = adapt(run, tasks=2, overrides=["inner.step_size=1.0"])
    np.testing.assert_allclose(found.values[:, 1:], 0, atol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": 1}, "tasks=1: expected at least 2, since an interval needs several"),
        ({"rounds": []}, "expected numbers from 0 on; choose e.g. 0-2"),
        ({"rounds": [-1]}, "expected numbers from 0 on; choose e.g. 0-2"),
        ({"overrides": ["inner.rounds=3"]}, "expected other names, got inner.rounds; use --rounds"),
        (
            {"overrides": ["strategy=es"]},
            "--set strategy=es: expected a setting of an evaluation, got one of the search",
        ),
        (
            {"overrides": ["custom.std=1"]},
            "--set custom.std=1: expected a setting of an evaluation, got one of",
        ),
        ({"overrides": ["inner.num_tasks=3"]}, "expected other names, got inner.num_tasks; use --tasks"),
        ({"overrides": ["inner.step_size_gene=global"]}, "expected a policy of 10 parameters, got 11"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, arguments: Any, message: str) -> None:
    run = write(tmp_path / "a.h5")
    with pytest.raises(ConfigError, match=message):
        adapt(run, **arguments)


@pytest.mark.parametrize("parents_mean", [False, True])
def test_run_without_a_generation_has_nothing_to_adapt(tmp_path: Path, parents_mean: bool) -> None:
    with pytest.raises(ConfigError, match="expected at least one finished generation, got none"):
        adapt(write(tmp_path / "a.h5", number=0), parents_mean=parents_mean)


def test_comparison_is_task_by_task(tmp_path: Path) -> None:
    run = write(tmp_path / "a.h5")
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    one, other = compare_adaptation(run, gamaml.load(tmp_path / "b.h5"), tasks=4)
    assert difference(one, other).tolist() == [[0.0] * 3] * 4
    assert "0 [0, 0]" in text(one, other).splitlines()[-1]


def test_comparison_shows_as_many_rounds_as_one_of_both_was_trained_for(tmp_path: Path) -> None:
    one, other = compare_adaptation(write(tmp_path / "a.h5"), write(tmp_path / "b.h5", rounds=1), tasks=2)
    assert one.rounds == other.rounds == (0, 1, 2)
    assert "* more rounds than were trained for (a: 2; b: 1)" in text(one, other)


def test_runs_of_other_tasks_are_not_compared(tmp_path: Path) -> None:
    other = write(tmp_path / "b.h5", task={"name": "test_adapt:Shift", "bound": 2.0})
    with pytest.raises(ConfigError, match="expected runs of the same tasks, got settings {} and settings {'bound'"):
        compare_adaptation(write(tmp_path / "a.h5"), other, tasks=2)
    other = write(tmp_path / "c.h5", env={"patience": 7})
    with pytest.raises(ConfigError, match="patience=0 and environment {} with max_steps=None, patience=7; compare"):
        compare_adaptation(write(tmp_path / "d.h5"), other, tasks=2)
    with pytest.raises(ConfigError, match="expected the same rounds and number of tasks"):
        difference(result([[1, 2], [3, 4]]), result([[1], [2]]))


def test_table_shows_mean_interval_and_median_and_marks_rounds_beyond_the_training() -> None:
    lines = text(result([[1, 2, 3], [3, 2, np.inf]], optimal_return=6.66)).splitlines()
    assert lines[:2] == [
        "one: incumbent, 7 environment steps",
        "return on 2 held-out tasks or episodes: mean [95 % bootstrap interval], higher is better",
    ]
    rows = [line.split() for line in lines[3:7]]
    assert rows == [
        ["rounds", "one", "median", "not", "finite"],
        ["0", "2.000", "[-7.168,", "11.17]", "2.000", "0"],
        ["1", "2.000", "[2.000,", "2.000]", "2.000", "0"],
        ["2*", "inf", "inf", "1"],
    ]
    assert lines[7:] == ["* more rounds than were trained for (one: 1)", "best possible mean: 6.6600, exactly computed"]


def test_median_takes_what_is_no_number_for_the_worst() -> None:
    values = [[1.0], [2.0], [np.nan]]
    assert result(values).median.tolist() == [1.0]
    assert result(values, metric="loss").median.tolist() == [2.0]


def test_plot_is_dashed_beyond_the_training_and_cut_where_that_diverges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    made = pictures.figure

    def figure() -> Any:
        drawn.append(made())
        return drawn[-1]

    monkeypatch.setattr(pictures, "figure", figure)
    calm = alone([[0, 1, 2], [1, 2, 3]], optimal_return=6.66)
    wild = alone([[0, 1, 2e9], [1, 2, np.nan]])
    assert adaptation_picture.draw(calm, path=tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    adaptation_picture.draw(calm, wild, path=tmp_path / "b.png")
    adaptation_picture.draw(alone([[1], [2]], trained=0), path=tmp_path / "c.png")
    axes = [each[1] for each in drawn]
    styles = [line.get_linestyle() for line in axes[0].lines if len(line.get_xdata()) > 1]
    assert "--" in styles and "-" in styles
    assert "best possible, 6.6600" in [line.get_label() for line in axes[0].lines]
    assert "dashed: more than trained for" in axes[0].get_xlabel()
    assert "leave the axis" not in axes[0].get_title(loc="left")
    assert "rounds beyond the training leave the axis" in axes[1].get_title(loc="left")
    assert axes[1].get_ylim()[1] < 100
    assert "dashed" not in axes[2].get_xlabel()
    with pytest.raises(ConfigError, match="ends in .png"):
        adaptation_picture.draw(calm, path=tmp_path / "a.pdf")


def test_the_command_prints_table_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.h5"
    write(path)
    write(tmp_path / "b.h5", seed=2)
    picture = tmp_path / "p.png"
    arguments = ["adapt", str(path), "--tasks", "3", "--rounds", "0,3", "--against", str(tmp_path / "b.h5")]
    assert cli.main([*arguments, "--parents-mean", "--set", "inner.step_size=0.25", "--plot", str(picture)]) == 0
    out = capsys.readouterr().out
    expected = compare_adaptation(
        runlog.load(path),
        runlog.load(tmp_path / "b.h5"),
        tasks=3,
        rounds=[0, 3],
        parents_mean=True,
        overrides=["inner.step_size=0.25"],
    )
    assert out == f"{text(*expected)}\npicture: {picture}\n"
    assert picture.exists()


def test_200_tasks_of_the_direction_task_are_100_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    pytest.importorskip("mujoco", reason="needs mujoco")
    told: list[float] = []
    set_task = CheetahDirection.set_task

    def record(self: CheetahDirection, env: Any, task: float) -> None:
        told.append(task)
        set_task(self, env, task)

    monkeypatch.setattr(CheetahDirection, "set_task", record)
    config = cfg.from_mapping(
        {
            "task": {"name": "cheetah_direction", "horizon": 1},
            "policy": {"hidden": []},
            "inner": {"rounds": 0, "num_tasks": 3, "episodes": 1},
            "stop": {"generations": 1},
            "noise": {"size": 1000},
        }
    )
    problem = problems.make_problem(config)
    header = example_header(config, num_params=problem.num_params, num_rounds=0, scalars=problem.scalars)
    write_example(tmp_path / "a.h5", 1, header=header)
    told.clear()
    found = adapt(gamaml.load(tmp_path / "a.h5"))
    assert found.num_tasks == 200
    assert told[-200:] == [-1.0, 1.0] * 100


def test_an_aggregate_has_the_mean_of_each_seed_and_their_interquartile_mean() -> None:
    found = seeds([[1.0, 0], [3, 0]], [[2, 0], [4, 1]], [[9, 0], [9, 1]], [[0, 0], [0, np.nan]])
    assert found.means[:, 0].tolist() == [2, 3, 9, 0]
    assert found.mean.tolist() == [2.5, 0.25]  # the seed that diverged counts as the worst, which is left out
    assert (found.name, found.steps, found.values.shape) == ("ga, 4 seeds", 28, (4, 2, 2))
    low, high = found.interval
    assert low[0] < 2.5 < high[0] and np.isnan(low[1]) and np.isnan(high[1])
    np.testing.assert_array_equal(found.mean[:1], interquartile_mean(found.means[:, :1]))
    assert seeds([[1.0], [3]], [[2.0], [4]], [[9.0], [9]]).mean.tolist() == [14 / 3]


def test_one_seed_has_the_interval_of_its_tasks() -> None:
    one = result([[1, 2], [3, 7], [4, 5]])
    np.testing.assert_array_equal(aggregate([one]).interval, one.interval)
    assert aggregate([one]).name == "one"


def test_the_difference_of_aggregates_pairs_their_tasks() -> None:
    values = np.random.default_rng(1).standard_normal((3, 20, 1))
    one, other = seeds(*values + 5), seeds(*values, name="es")
    mean, interval = one.difference(other)
    assert mean == pytest.approx([5])
    # Tasks of the same difficulty on both sides leave the spread of the seeds alone.
    alike = np.zeros((3, 20, 1)) + 10 * np.random.default_rng(2).standard_normal((20, 1))
    mean, interval = seeds(*alike + 5).difference(seeds(*alike))
    np.testing.assert_allclose([mean, *interval], 5, rtol=1e-12)
    with pytest.raises(ConfigError, match="expected the same rounds and number of tasks"):
        one.difference(seeds([[1.0], [2.0]]))


def test_runs_of_one_config_differ_in_their_seed_alone(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"{seed}.h5", seed=seed) for seed in (1, 2)]
    adapted = [adapt(run, tasks=3) for run in runs]
    assert [each.seed for each in aggregate(adapted).adaptations] == [1, 2]
    with pytest.raises(ConfigError, match="1, 1: expected runs of different seeds, got seed 1 2 times; leave one out"):
        aggregate([adapted[0], adapted[0]])
    with pytest.raises(ConfigError, match=r'got candidate = "incumbent" and "mean of the parents"; leave one out'):
        aggregate([adapted[0], adapt(runs[1], tasks=3, parents_mean=True)])
    with pytest.raises(ConfigError, match="expected the same rounds and number of tasks"):
        aggregate([adapted[0], adapt(runs[1], tasks=4)])
    with pytest.raises(ConfigError, match="expected one per seed, got none"):
        aggregate([])
    other = write(tmp_path / "other.h5", seed=3, inner={"rounds": 2, "step_size": 0.25})
    with pytest.raises(
        ConfigError, match=r"1, other: expected runs of one config .* got inner.step_size = 0.5 and 0.25;"
    ):
        aggregate([adapted[0], adapt(other, tasks=3)])


def test_table_of_seeds_has_each_seed_all_together_and_the_difference() -> None:
    one = seeds([[1, 2], [3, 2]], [[2, 3], [2, 3]], [[3, 4], [3, np.inf]], trained=0)
    other = aggregate([result([[1, 2], [1, 2]], trained=0, name="alone", generations=7)])
    lines = seeds_text(one, other).splitlines()
    assert lines[:3] == [
        "ga, 3 seeds: incumbent, 21 environment steps",
        "alone: incumbent, 7 environment steps",
        "return on 2 held-out tasks or episodes: mean of each seed, and interquartile mean over seeds [95 % bootstrap "
        "interval over seeds and tasks], higher is better",
    ]
    rows = [line.split("  ") for line in lines[4:12]]
    table = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert [row[0] for row in table] == [
        "rounds",
        "ga-seed1",
        "ga-seed2",
        "ga-seed3",
        "ga, 3 seeds",
        "alone",
        "difference",
        "not finite",
    ]
    assert table[0][1:] == ["0", "1*"] and table[1][1:] == ["2.000", "2.000"] and table[3][1:] == ["3.000", "inf"]
    assert table[4][1].startswith("2.333 [") and table[4][2] == "inf"
    assert table[5][1:] == ["1.000 [1.000, 1.000]", "2.000 [2.000, 2.000]"]
    assert table[6][1].startswith("1.333 [")
    assert table[7][1:] == ["0", "1"]
    assert lines[12] == "* more rounds than were trained for (ga, 3 seeds: 0; alone: 0)"
    other = aggregate([result([[1.0], [1]], generations=number, seed=number) for number in (7, 9)])
    assert seeds_text(other).splitlines()[-1] == "generations differ: one 7, one 9"


def test_the_command_takes_seeds_and_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ga").mkdir()
    paths = [tmp_path / "ga" / f"ga-seed{seed}.h5" for seed in (2, 10)]
    for path, seed in zip(paths, (2, 10), strict=True):
        write(path, seed=seed)
    write(tmp_path / "es.h5", inner={"rounds": 2, "step_size": 0.25})
    picture = tmp_path / "p.png"
    arguments = ["--tasks", "3", "--rounds", "0,2", "--against", str(tmp_path / "es.h5"), "--plot", str(picture)]
    assert cli.main(["adapt", str(tmp_path / "ga"), *arguments]) == 0
    out = capsys.readouterr().out
    adapted = [adapt(gamaml.load(path), tasks=3, rounds=[0, 2]) for path in (*paths, tmp_path / "es.h5")]
    assert out == f"{seeds_text(aggregate(adapted[:2]), aggregate(adapted[2:]))}\npicture: {picture}\n"
    assert out.index("ga-seed2") < out.index("ga-seed10")

    monkeypatch.setattr(adapt_command, "adapt", lambda *args, **settings: pytest.fail("adapted before it was refused"))
    assert cli.main(["adapt", *map(str, paths), str(tmp_path / "es.h5")]) == 2
    assert "got inner.step_size = 0.5 and 0.25" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert cli.main(["adapt", str(tmp_path / "none")]) == 2
    assert "expected run files NAME.h5 in this folder, got none" in capsys.readouterr().err


def test_the_command_says_how_long_it_takes_if_it_takes_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.h5", "Own", rounds=1)
    assert cli.main(["adapt", str(tmp_path / "a.h5")]) == 0
    assert capsys.readouterr().err == ""
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(adapt_command.time, "monotonic", lambda: next(clock))
    assert cli.main(["adapt", str(tmp_path / "a.h5")]) == 0
    assert capsys.readouterr().err == "4 of 200 tasks in 0:12, 1 run in about 13:20; --tasks takes fewer\n"


def test_plot_of_seeds_has_a_thin_line_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    made = pictures.figure

    def figure() -> Any:
        drawn.append(made())
        return drawn[-1]

    monkeypatch.setattr(pictures, "figure", figure)
    adaptation_picture.draw(seeds([[1, 2], [3, 4]], [[2, 2], [2, 5]]), path=tmp_path / "a.png")
    axes = drawn[0][1]
    thin = [line for line in axes.lines if line.get_linewidth() == 0.8]
    assert [line.get_ydata().tolist() for line in thin] == [[2, 3], [2, 3.5]]
    assert axes.get_title(loc="left") == "2 held-out tasks, 95 % intervals; thin: each seed"
