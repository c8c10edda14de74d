"""Every benchmark runs in its quick form, and ends with one JSON object; figures are nobody's business here."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from harness import ROOT, Mpi


def quick(mpi: Mpi, script: str, *more: str | Path) -> dict[str, Any]:
    """Run a benchmark and return its last line."""
    command = [mpi.python, "-W", "error", ROOT / "benchmarks" / script, "--quick", *map(str, more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "value", "unit", "bar", "meets"} <= set(result)
    return result


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler named cc")
def test_decode_compares_with_the_c_loop(mpich: Mpi) -> None:
    result = quick(mpich, "decode.py")
    assert result["name"] == "decode"
    assert result["ratio"] > 0


@pytest.mark.skipif(
    not (ROOT / ".venv-roboschool" / "ready").exists(),
    reason="needs roboschool on Python 3.7: make .venv-roboschool/ready (docs/roboschool.md)",
)
def test_bridge_tells_the_share_of_the_native_rate(mpich: Mpi) -> None:
    result = quick(mpich, "bridge.py")
    assert result["name"] == "bridge"
    assert set(result["shares"]) == {"RoboschoolAnt-v1", "RoboschoolHalfCheetah-v1"}
    assert result["ratio"] == min(result["shares"].values()) > 0


def test_utilisation_drops_nothing_and_favours_nothing(mpich: Mpi) -> None:
    result = quick(mpich, "utilisation.py")
    assert result["name"] == "utilisation"
    assert (result["dropped"], result["bias"]) == (0, 0)
    assert set(result["shares"]) == {"1", "2"}


def test_turnaround_tells_the_beginning_and_the_end_of_a_run(mpich: Mpi) -> None:
    result = quick(mpich, "turnaround.py")
    assert result["name"] == "turnaround"
    first, last = result["first_and_last_tenth"]["journal per generation, bytes"]
    assert first == last > 0


def test_noise_compares_with_randn_on_one_rank_and_on_two(mpich: Mpi) -> None:
    result = quick(mpich, "noise.py")
    assert result["name"] == "noise"
    assert set(result["peak_nbytes"]) == {"1 rank", "2 ranks", "randn"}


def test_interval_coverage_counts_for_tasks_and_for_seeds(mpich: Mpi) -> None:
    result = quick(mpich, "interval_coverage.py")
    assert result["name"] == "interval_coverage"
    assert set(result["coverages"]) == {"5 tasks", "2 seeds"}


def test_relay_measures_throughput_by_block_and_latency_by_what_leaders_do(mpich: Mpi) -> None:
    result = quick(mpich, "relay.py")
    assert result["name"] == "relay"
    assert set(result["rates"]) == {"2 ranks on one node, batches of 200", "2 emulated nodes of 1, batches of 200"}
    assert all(set(rates) == {"1", "8", "64", "256", "1024"} for rates in result["rates"].values())
    assert set(result["latencies_ms"]) == {f"{n} nodes, {busy}" for n in (1, 2) for busy in ("sleep", "NumPy")}


def test_relay_compares_the_ways_to_make_progress(mpi: Mpi) -> None:
    ways = quick(mpi, "relay.py", "--progress")["ways"]
    assert set(ways) == {"helper thread", "polling between", "dedicated leader"}
    assert all(len(way["stop_ms"]) == 1 for way in ways.values())


def test_simulation_runs_alone_and_beside_real_runs(mpich: Mpi) -> None:
    assert set(quick(mpich, "simulate.py")["shares"]) == {"256"}
    assert quick(mpich, "simulate.py", "--check")["name"] == "simulate --check"


def test_scaling_writes_a_table_and_a_plot(mpich: Mpi, tmp_path: Path) -> None:
    assert set(quick(mpich, "scaling.py", "--out", tmp_path)["rates"]["strong"]) == {"1", "2"}
    table = (tmp_path / "scaling.csv").read_text().splitlines()
    assert table[0] == "kind,ranks,population_size,rate,seconds"
    assert len(table) == 1 + 4
    assert (tmp_path / "scaling.png").stat().st_size > 0


def test_claim_scores_runs_of_equal_core_seconds_and_repeats_none(mpich: Mpi, tmp_path: Path) -> None:
    command = ("claim.py", "sinusoid", "--methods", "multifactorial,maml", "--out", tmp_path)
    result = quick(mpich, *command)
    assert result["name"] == "claim sinusoid"
    assert [row["method"] for row in result["rows"]] == ["multifactorial", "maml"]
    for row in result["rows"]:
        assert (row["K"], row["seeds"], row["budget"], row["diverged"]) == (1, [1], ["seconds", 3.0], [None])
        assert row["scores"] == [row["score"]] == [row["rounds"]["iqm"][-1]]
        assert len(row["rounds"]["iqm"]) == 2  # before and after the round
        assert all(row[name][0] > 0 for name in ("core_seconds", "steps", "generations", "evaluations", "nbytes"))
    assert (tmp_path / "sinusoid.png").stat().st_size > 0

    runs = sorted(tmp_path.glob("*.json"))
    times = [path.stat().st_mtime_ns for path in runs]
    stored = json.loads(runs[1].read_text())
    assert stored["config"]["stop"] == {"generations": stored["generations"]}
    assert stored["std"]["last"] == stored["std"]["scheduled"]
    assert len(stored["values"]) == 4  # tasks
    assert quick(mpich, *command)["rows"] == result["rows"]
    assert quick(mpich, "claim.py", "sinusoid", "--from", tmp_path)["rows"] == result["rows"]
    assert [path.stat().st_mtime_ns for path in runs] == times


@pytest.mark.skipif(find_spec("mujoco") is None, reason="needs mujoco: pip install 'gamaml[mujoco]'")
def test_claim_compares_at_equal_steps_with_the_mean_action_as_a_control(mpich: Mpi, tmp_path: Path) -> None:
    more = ("--methods", "ga", "--steps", "2_000,4_000", "--out", tmp_path)
    rows = quick(mpich, "claim.py", "cheetah_direction", *more)["rows"]
    assert [row["budget"] for row in rows] == [["steps", 2_000.0], ["steps", 4_000.0]]
    assert 2_000 <= rows[0]["steps"][0] < 4_000 <= rows[1]["steps"][0]
    assert all(len(row["mean_action"]["iqm"]) == 1 for row in rows)


def test_claim_tells_the_generation_in_which_a_run_diverged(mpich: Mpi, tmp_path: Path) -> None:
    more = ("--methods", "maml", "--set", "inner.step_size=1e30", "--out", tmp_path)
    (row,) = quick(mpich, "claim.py", "sinusoid", *more)["rows"]
    assert row["diverged"] == [0]
    assert row["score"] is None


def test_claim_prints_the_line_of_a_setting_that_is_tried(mpich: Mpi) -> None:
    command = [mpich.python, ROOT / "benchmarks" / "claim.py", "sinusoid", "--quick", "--try", "es"]
    done = subprocess.run([*command, "--set", "es.std=0.1"], capture_output=True, text=True, timeout=120, check=True)
    line = tomllib.loads(f"tried = [{done.stdout.splitlines()[-1]}]")["tried"][0]
    assert (line["rounds"], line["seconds"], line["set"]) == (1, 3, ["es.std=0.1"])
    assert line["score"] > 0


def test_cartpole_measures_random_and_solved_policies(mpich: Mpi) -> None:
    result = quick(mpich, "cartpole.py")
    assert result["name"] == "cartpole"
    rates = result["generations_per_second"]
    assert set(rates["gamaml"]) == {"random", "solved"}
    # evosax takes part where its environment was made.
    assert (result["baseline"] is None) == ("evosax" not in rates)


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler named cc")
def test_inner_loop_compares_with_c_loops_of_the_same_returns(mpich: Mpi) -> None:
    rows = quick(mpich, "inner_loop.py", "--rows", "navigation_alone,sinusoid,memory")["rows"]
    assert set(rows) == {"navigation_alone", "sinusoid", "memory"}
    assert all(rows[name]["ratio"] > 0 for name in ("navigation_alone", "sinusoid"))
    assert rows["memory"]["gamaml"] > 0


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler named cc")
@pytest.mark.skipif(find_spec("mujoco") is None, reason="needs mujoco: pip install 'gamaml[mujoco]'")
def test_inner_loop_compares_with_the_simulator_alone(mpich: Mpi) -> None:
    rows = quick(mpich, "inner_loop.py", "--rows", "cheetah_direction")["rows"]
    assert rows["cheetah_direction"]["ratio"] > 0


def test_startup_divides_the_time_of_a_cold_and_of_a_warm_start(mpich: Mpi) -> None:
    rows = quick(mpich, "startup.py")["rows"]["demo"]
    assert set(rows) == {"cold", "warm", "import jax"}
    parts = {"total", "interpreter", "imports", "trace", "compile", "rest"}
    assert set(rows["cold"]) == set(rows["warm"]) == parts


@pytest.mark.skipif(find_spec("gymnasium") is None, reason="needs gymnasium: pip install 'gamaml[gymnasium]'")
def test_rollout_tells_the_whole_and_its_parts_of_what_is_installed(mpich: Mpi) -> None:
    result = quick(mpich, "rollout.py")
    assert result["name"] == "rollout"
    assert "CartPole-v1" in result["rows"]
    assert ("ALE/Frostbite-v5" in result["left_out"]) == (find_spec("ale_py") is None)
    for name, row in result["rows"].items():
        assert set(row) == {"together", "env", "policy", "loop", "simulator", "overhead", "of loop"}
        assert (row["simulator"] is None) != name.startswith("ALE/")
        assert all(value is None or value > 0 for value in row.values())
