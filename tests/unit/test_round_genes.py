"""Genes of each round in whole evaluations: in JAX and on the host, for training and for adaptation."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_cases import Walks

import gamaml
from gamaml import config as cfg
from gamaml import problems
from gamaml.commands import run_table
from gamaml.engine.adaptation import adapt, difference
from gamaml.engine.policy_file import export
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.evolution.linear_genome import LinearGenome
from gamaml.evolution.noise_table import LazyNoise
from gamaml.problems import CompleteProblem
from gamaml.types import EvaluationKey, Float32Array

KEY = EvaluationKey(task=np.array([1, 2], np.uint32), episode=np.array([3, 4], np.uint32))


def a_config(**changes: Any) -> cfg.Config:
    mapping: dict[str, Any] = {
        "task": {"name": "navigation", "horizon": 20},
        "policy": {"hidden": [4]},
        "inner": {"rounds": 2, "num_tasks": 2, "episodes": 4, "step_size_gene": "layer"},
        "stop": {"generations": 1},
        "noise": {"size": 4096},
    }
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in changes.items()]
    return cfg.from_mapping(mapping, overrides)


def in_jax(**changes: Any) -> CompleteProblem:
    return problems.make_problem(a_config(**changes))


def on_the_host(**changes: Any) -> CompleteProblem:
    config = dataclasses.replace(a_config(**changes), task=cfg.TaskConfig("walks:Walks"))
    return problems.make_problem(config, Walks())


def params_of(problem: CompleteProblem, stds: list[float], steps: list[float], size: int) -> Float32Array:
    """Return parameters of random weights, whose step sizes and stds these are; `size` weights."""
    weights = streams.generator(np.zeros(2, np.uint32)).standard_normal(size, np.float32)
    params = np.concatenate([0.3 * weights, np.log(np.array([*steps, *stds], np.float32))]).astype(np.float32)
    assert len(params) == problem.num_params
    return params


@pytest.mark.parametrize("make", [in_jax, on_the_host])
def test_equal_genes_in_all_rounds_are_one_gene_for_all(make: Any) -> None:
    one, each = make(), make(policy__std_gene="round", inner__step_size_gene="round")
    size = one.num_params - 5
    together = params_of(one, [0.4], [0.1] * 4, size)
    by_round = params_of(each, [0.4] * 3, [0.1] * 8, size)
    expected, found = one.evaluate(together, KEY), each.evaluate(by_round, KEY)
    np.testing.assert_allclose(found.returns, expected.returns, rtol=2e-5)
    assert found.steps == expected.steps


@pytest.mark.parametrize("make", [in_jax, on_the_host])
def test_a_gene_acts_on_its_round_and_on_those_after_it(make: Any) -> None:
    problem = make(policy__std_gene="round", inner__step_size_gene="round")
    size = problem.num_params - 11
    base = problem.evaluate(params_of(problem, [0.4] * 3, [0.1] * 8, size), KEY).returns
    later_std = problem.evaluate(params_of(problem, [0.4, 0.2, 0.4], [0.1] * 8, size), KEY).returns
    later_step = problem.evaluate(params_of(problem, [0.4] * 3, [0.1] * 4 + [0.3] * 4, size), KEY).returns
    assert (later_std[0], later_step[0], later_step[1]) == (base[0], base[0], base[1])
    assert later_std[1] != base[1]
    assert later_step[2] != base[2]


@pytest.mark.parametrize("make", [in_jax, on_the_host])
def test_more_rounds_than_have_genes_hold_the_last_ones(make: Any) -> None:
    changes = {"policy__std_gene": "round", "inner__step_size_gene": "round"}
    few, many = make(**changes), make(**changes, inner__rounds=4, inner__gene_rounds=2)
    assert many.num_params == few.num_params
    all_rounds = make(**changes, inner__rounds=4)
    size = few.num_params - 11
    stds, steps = [0.4, 0.3, 0.2], [*[0.1] * 4, *[0.05] * 4]
    held = many.evaluate(params_of(many, stds, steps, size), KEY)
    same = all_rounds.evaluate(params_of(all_rounds, [*stds, 0.2, 0.2], [*steps, *[0.05] * 8], size), KEY)
    np.testing.assert_array_equal(held.returns, same.returns)


@pytest.mark.parametrize("make", [in_jax, on_the_host])
def test_the_mean_action_at_the_end_changes_the_last_return_alone(make: Any) -> None:
    drawn, quiet = make(), make(policy__mean_at_end="true")
    params = params_of(drawn, [0.4], [0.1] * 4, drawn.num_params - 5)
    before, after = drawn.evaluate(params, KEY).returns, quiet.evaluate(params, KEY).returns
    np.testing.assert_allclose(after[:-1], before[:-1], rtol=2e-5)
    assert abs(after[-1] - before[-1]) > 1e-3


def test_factors_may_be_evolved_for_each_round() -> None:
    problem = in_jax(inner__genes='["discount"]', inner__genes_per_round="true")
    assert problem.scalars == ("step_size", "discount_1", "discount_2")
    params = problem.initial(np.zeros(problem.num_params, np.float32))
    params[: problem.num_params - 7] = 0.1 * np.random.default_rng(0).standard_normal(problem.num_params - 7)
    changed = params.copy()
    changed[-1] += 3.0  # of the second update
    base, other = problem.evaluate(params, KEY), problem.evaluate(changed, KEY)
    assert other.returns[:2].tolist() == base.returns[:2].tolist()
    assert other.returns[2] != base.returns[2]
    assert other.scalars[1] == base.scalars[1] == pytest.approx(0.99)
    assert other.scalars[2] > base.scalars[2]


def test_discrete_actions_have_a_temperature_for_each_round() -> None:
    pytest.importorskip("gymnasium")
    mapping = {
        "env": {"id": "CartPole-v1", "max_steps": 30},
        "policy": {"hidden": [4], "std_gene": "round"},
        "inner": {"rounds": 1, "num_tasks": 1, "episodes": 3},
        "stop": {"generations": 1},
        "noise": {"size": 4096},
    }
    problem = problems.make_problem(cfg.from_mapping(mapping))
    plain = problems.make_problem(cfg.from_mapping(mapping, ["policy.std_gene=true"]))
    assert (problem.scalars, problem.num_params) == (("temperature_0", "temperature_1"), plain.num_params + 2)
    weights = np.random.default_rng(0).standard_normal(plain.num_params).astype(np.float32)

    def returns(*temperatures: float) -> list[float]:
        params = np.concatenate([weights, np.log(np.array(temperatures, np.float32))])
        return problem.evaluate(params, KEY).returns.tolist()

    assert returns(1.0, 1.0) == plain.evaluate(weights, KEY).returns.tolist()
    assert returns(1.0, 1e-6)[0] == returns(1.0, 1.0)[0]
    assert returns(30.0, 1.0)[0] != returns(1e-6, 1.0)[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("policy.std_gene=round", "policy.std_gene='round': expected true or false with strategy"),
        ("policy.mean_at_end=true", "policy.mean_at_end=True: expected false with strategy"),
        ("policy.std_gene=rounds", "policy.std_gene='rounds': unknown; did you mean 'round'"),
        ("policy.std_gene=3", "policy.std_gene: expected true, false or a string in quotes, got 3"),
        ("inner.gene_rounds=0", "inner.gene_rounds=0: expected at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        cfg.from_mapping(cfg.to_mapping(a_config()), ["strategy=maml", setting])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> gamaml.Run:
    """Return a run of multifactorial recombination, whose policy has genes of each round."""
    settings = {
        "strategy": "multifactorial",
        "multifactorial": {"population_size": 8, "litters": 2, "std": 0.5, "episodes": 1},
        "inner": {"rounds": 2, "num_tasks": 1, "episodes": 4, "step_size_gene": "round"},
        "policy": {"hidden": [4], "std_gene": "round"},
        "stop": {"generations": 3},
    }
    folder = tmp_path_factory.mktemp("round_genes")
    gamaml.train(cfg.from_mapping({**cfg.to_mapping(a_config()), **settings}), out=folder)
    return gamaml.load(folder / "navigation-seed1.h5")


def test_adaptation_goes_on_with_the_genes_of_the_last_round(run: gamaml.Run) -> None:
    found, longer = (adapt(run, tasks=3, rounds=range(number + 1)) for number in (2, 4))
    np.testing.assert_array_equal(longer.values[:, :3], found.values)
    assert np.isfinite(longer.values).all()


def test_the_mean_action_is_a_control_of_each_round_by_itself(run: gamaml.Run) -> None:
    drawn = adapt(run, tasks=3, rounds=[0, 1, 2])
    quiet = adapt(run, tasks=3, rounds=[0, 1, 2], mean_action=True)
    assert quiet.who == "incumbent, by the mean action after the last update"
    assert (quiet.values != drawn.values).all()
    alone = adapt(run, tasks=3, rounds=[1], mean_action=True)
    np.testing.assert_array_equal(alone.values[:, 0], quiet.values[:, 1])
    with pytest.raises(ConfigError, match="expected runs of the same tasks, got .*mean action at the end"):
        difference(quiet, drawn)
    with pytest.raises(ConfigError, match="expected other names, got policy.mean_at_end; use --mean-action"):
        adapt(run, tasks=3, overrides=["policy.mean_at_end=true"])


def test_a_supervised_task_has_no_mean_action(tmp_path: Path) -> None:
    mapping = {"task": {"name": "sinusoid"}, "stop": {"generations": 1}, "noise": {"size": 2**20}}
    small = {"ga": {"population_size": 2, "num_parents": 1, "elite": {"candidates": 0}}, "policy": {"hidden": [2]}}
    gamaml.train({**mapping, **small}, out=tmp_path)
    with pytest.raises(ConfigError, match="expected a policy with actions for --mean-action, got a supervised task"):
        adapt(gamaml.load(tmp_path / "sinusoid-seed1.h5"), tasks=2, mean_action=True)


def test_the_run_file_and_an_export_have_the_genes_of_each_round(run: gamaml.Run, tmp_path: Path) -> None:
    names = [f"scalar_{name}" for name in ("step_size_1", "step_size_2", "std_0", "std_1", "std_2")]
    assert set(names) <= set(run.records.dtype.names or ())
    exported = export(run, tmp_path / "policy.npz")
    assert (exported.arrays["std"].shape, exported.arrays["step_sizes"].shape) == ((3,), (2, 4))
    assert exported.genome is not None
    assert exported.genome.nbytes == 8 + 12 * 3 * 4


def test_the_incumbent_and_a_child_follow_from_their_genomes(run: gamaml.Run) -> None:
    noise = LazyNoise(size=run.config.noise.size, seed=run.config.noise.seed)
    problem = problems.make_problem(run.config)
    for index in (None, 5):
        genome = run.genome(2, index)
        assert isinstance(genome, LinearGenome)
        where = slice(7, 23)
        assert genome.parameters(noise, problem, where).tobytes() == run.parameters(2, index)[where].tobytes()
    shown = run_table.text(run)
    assert "the incumbent's genome: 152 bytes, 12 mutations" in shown
    assert "evolved per round and layer" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("  genes ")]
    assert re.search(r"of the incumbent: step_size \S+, \S+; std \S+, \S+, \S+$", line)
