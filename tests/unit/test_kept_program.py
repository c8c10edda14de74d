"""Programs of ready-made tasks, kept from one process to the next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SETTINGS = ("inner.rounds=0", "inner.num_tasks=2", "task.horizon=2", "policy.hidden=[4]", "stop.generations=1")
PROGRAM = """
    import json, sys
    import jax
    import numpy as np
    from gamaml.config import from_mapping
    from gamaml.problems.factory import make_problem
    from gamaml.types import EvaluationKey
    if sys.argv[1] == "warm":  # whoever traces a program lowers it
        jax.stages.Traced.lower = None
    name, *settings = sys.argv[2:]
    problem = make_problem(from_mapping({"task": {"name": name}}, settings))
    data = np.arange(2, dtype=np.uint32)
    found = problem.evaluate(np.full(problem.num_params, 0.1, np.float32), EvaluationKey(data, data))
    print(json.dumps([found.fitness.hex(), found.returns.tobytes().hex()]))
"""
USER_TASK = "from gamaml.tasks.navigation import Navigation\nclass Mine(Navigation):\n    pass\n"


def evaluate(cache: Path, *settings: str, task: str = "navigation", state: str = "cold") -> list[str]:
    """Return the bits of an evaluation in a fresh process; a warm one cannot trace."""
    (cache / "mine.py").write_text(USER_TASK)
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), state, task, *SETTINGS, *settings]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": os.pathsep.join([str(cache), *sys.path])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def programs(cache: Path) -> list[Path]:
    return sorted(cache.glob("gamaml/*/*.program"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The cache folder after a first process, and the bits of its evaluation."""
    cache = tmp_path_factory.mktemp("cache")
    return cache, evaluate(cache)


@pytest.fixture
def cache(first: tuple[Path, list[str]], tmp_path: Path) -> Path:
    shutil.copytree(first[0] / "gamaml", tmp_path / "gamaml")
    return tmp_path


@pytest.fixture
def cold(first: tuple[Path, list[str]]) -> list[str]:
    return first[1]


@pytest.fixture
def path(cache: Path) -> Path:
    """The kept program."""
    (path,) = programs(cache)
    return path


def empty_the_cache_of_jax(cache: Path) -> None:
    for path in cache.glob("gamaml/*/*-cache"):
        path.unlink()


def test_a_second_process_traces_nothing_and_returns_the_same_bits(cache: Path, cold: list[str]) -> None:
    assert evaluate(cache, state="warm") == cold


def test_a_program_from_the_cache_of_jax_which_cannot_write_it_again_is_not_kept(tmp_path: Path) -> None:
    cold = evaluate(tmp_path)
    (path,) = programs(tmp_path)
    path.unlink()
    assert evaluate(tmp_path) == cold
    assert programs(tmp_path) == []


def test_a_damaged_file_is_replaced(cache: Path, cold: list[str], path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    empty_the_cache_of_jax(cache)
    assert evaluate(cache) == cold
    assert evaluate(cache, state="warm") == cold
    assert programs(cache) == [path]


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_file_cut_short_is_ignored(cache: Path, cold: list[str], path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert evaluate(cache) == cold


def test_a_file_that_others_may_write_is_not_read_but_replaced(cache: Path, cold: list[str], path: Path) -> None:
    path.chmod(0o666)
    empty_the_cache_of_jax(cache)
    assert evaluate(cache) == cold
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("setting", ["task.horizon=3", "policy.activation=tanh"])
def test_another_setting_has_another_program(cache: Path, setting: str) -> None:
    evaluate(cache, setting)
    assert len(programs(cache)) == 2


def test_another_setting_of_jax_has_another_program(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    evaluate(cache)
    assert len(programs(cache)) == 2


def test_settings_that_are_passed_at_run_time_share_a_program(cache: Path) -> None:
    evaluate(cache, "ga.mutation_std=0.3", "seed=2", state="warm")


def test_the_program_of_a_users_task_is_not_kept(cache: Path, path: Path) -> None:
    evaluate(cache, task="mine:Mine")
    assert programs(cache) == [path]


def test_a_file_that_cannot_be_written_costs_nothing_but_time(cache: Path, cold: list[str], path: Path) -> None:
    path.unlink()
    path.mkdir()  # no file can take its place
    empty_the_cache_of_jax(cache)
    assert evaluate(cache) == cold
    assert list(path.parent.glob("tmp*")) == []
