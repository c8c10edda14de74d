"""Exported policies, and the loaders that the documentation gives for them."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_examples import example_header, write_example

from gamaml import cli, problems, runlog
from gamaml import config as cfg
from gamaml.commands.export import text
from gamaml.config import Config
from gamaml.engine.policy_file import export
from gamaml.policies import cnn
from gamaml.policies.mlp import Forward
from gamaml.runlog import Run

DOCS = Path(__file__).parents[2] / "docs" / "environments.md"


def run_of(env: dict[str, Any], policy: dict[str, Any], path: Path, **constants: list[float]) -> Run:
    """Write a run of two generations whose records are made up, but whose genomes are real."""
    mapping = {
        "env": env,
        "policy": policy,
        "inner": {"rounds": 0, "num_tasks": 1, "episodes": 1},
        "ga": {"population_size": 6, "num_parents": 3, "elite": {"candidates": 2, "episodes": 4}},
        "stop": {"generations": 2},
        "noise": {"size": 2**21},
    }
    return written(cfg.from_mapping(mapping), path, **constants)


def written(config: Config, path: Path, **constants: list[float]) -> Run:
    problem = problems.make_problem(config)
    header = dataclasses.replace(
        example_header(config), num_params=problem.num_params, num_rounds=problem.num_rounds, constants=constants
    )
    write_example(path, 2, header=header)
    return runlog.load(path)


def blocks() -> list[str]:
    """Return the Python blocks of the documentation."""
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


def test_the_documented_loader_acts_as_the_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    monkeypatch.chdir(tmp_path)
    run = run_of({"id": "CartPole-v1"}, {"hidden": [32, 32], "output_scale": 1.0}, tmp_path / "run.h5")
    exported = export(run, Path("policy.npz"))
    loader: dict[str, Any] = {}
    exec(next(block for block in blocks() if "def act" in block), loader)  # noqa: S102 - what users would run
    forward = Forward((4, 32, 32, 2), "relu")
    forward.load({name: array for name, array in exported.arrays.items() if len(name) == 2})
    observations = np.random.default_rng(1).standard_normal((50, 4)).astype(np.float32)
    actions = [int(forward(observation).argmax()) for observation in observations]
    assert [loader["act"](observation) for observation in observations] == actions
    assert set(actions) == {0, 1}


def test_the_centre_of_an_es_run_is_exported_without_a_genome(tmp_path: Path) -> None:
    config = cfg.from_mapping(
        {
            "task": {"name": "navigation"},
            "strategy": "es",
            "policy": {"hidden": [4]},
            "es": {"population_size": 6, "episodes": 4},
            "stop": {"generations": 2},
            "noise": {"size": 10_000},
        }
    )
    run = written(config, tmp_path / "run.h5")
    exported = export(run, tmp_path / "policy.npz")
    assert exported.genome is None
    params = run.incumbent_parameters()
    expected: Any = problems.make_problem(config)
    for name, array in expected.arrays(params).items():
        assert np.asarray(array).tobytes() == np.asarray(exported.arrays[name]).tobytes()
    assert run.parents_mean().tobytes() == params.tobytes()
    assert "genome" not in text(exported)


def test_the_documented_loader_of_atari_networks_gives_an_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ale_py", reason="needs ale-py")
    monkeypatch.chdir(tmp_path)
    run = run_of({"id": "ALE/Pong-v5"}, {"network": "nature"}, tmp_path / "run.h5")
    export(run, Path("policy.npz"))
    observation = np.random.default_rng(1).integers(256, size=cnn.OBSERVATION_SHAPE).astype(np.uint8)
    names: dict[str, Any] = {"observation": observation}
    exec(next(block for block in blocks() if "cnn" in block), names)  # noqa: S102 - what users would run
    assert 0 <= names["action"] < 6


def test_a_file_holds_what_run_parameters_gives_and_no_pickle(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    constants = {"observation_mean": [0.0] * 4, "observation_std": [1.0, 2.0, 3.0, 4.0]}
    run = run_of({"id": "CartPole-v1", "normalise_steps": 9}, {"hidden": [3]}, tmp_path / "run.h5", **constants)
    export(run, tmp_path / "child.npz", generation=1, index=4)
    with np.load(tmp_path / "child.npz", allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    network = np.concatenate([found[name].reshape(-1) for name in ("w0", "b0", "w1", "b1")])
    assert np.array_equal(network, run.parameters(1, 4))
    assert found["observation_std"].tolist() == constants["observation_std"]
    assert json.loads(str(found["config"]))["env"]["id"] == "CartPole-v1"


def test_a_meta_learned_policy_comes_with_its_step_sizes_and_std(tmp_path: Path) -> None:
    mapping = {
        "task": {"name": "navigation"},
        "inner": {"rounds": 2, "step_size": 0.5, "step_size_gene": "layer"},
        "policy": {"hidden": [4]},
        "ga": {"population_size": 6, "num_parents": 3, "elite": {"candidates": 2, "episodes": 4}},
        "stop": {"generations": 2},
        "noise": {"size": 1000},
    }
    run = written(cfg.from_mapping(mapping), tmp_path / "run.h5")
    arrays = export(run, tmp_path / "policy.npz").arrays
    assert list(arrays) == ["w0", "b0", "w1", "b1", "step_sizes", "std"]
    assert arrays["step_sizes"].shape == (4,)
    genes = run.incumbent_parameters()[-5:]
    assert np.array_equal(np.log([*arrays["step_sizes"], arrays["std"]]).round(4), genes.round(4))


def test_the_command_lists_the_arrays_and_the_size_of_the_genome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium")
    run = run_of({"id": "CartPole-v1"}, {"hidden": []}, tmp_path / "run.h5")
    file = tmp_path / "policy.npz"
    assert cli.main(["export", str(run.path), "--incumbent", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["  w0  float32[4, 2]", "  b0  float32[2]"]
    size, genome = file.stat().st_size, run.genome().nbytes
    assert lines[2] == f"{file}: 10 parameters, {size:,} bytes, from a genome of {genome} bytes"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.npz", "run.h5", "run.run"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--incumbent", "policy.npy"],
            "file 'policy.npy': expected a name that ends in .npz, got 'policy.npy'; rename it",
        ),
        (
            ["--incumbent", "absent/policy.npz"],
            "file 'absent/policy.npz': expected an existing folder, got none; create it",
        ),
        (["--index", "1", "policy.npz"], "--generation: expected with --index and --contender, got none"),
        (["--index", "9", "--generation", "0", "policy.npz"], "index=9: expected 0 to 5"),
        (["policy.npz"], "one of the arguments --index --contender --incumbent is required"),
    ],
)
def test_mistakes_are_told_in_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_example(Path("run.h5"), 1)
    assert cli.main(["export", "run.h5", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"gamaml: error: {message}")
    assert captured.err.count("\n") == 1
