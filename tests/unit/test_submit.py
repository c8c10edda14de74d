"""gamaml submit, with a stand-in for sbatch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gamaml import cli
from gamaml.commands import submission
from gamaml.commands.submission import Request, seconds_of
from gamaml.commands.sweep import Sweep
from gamaml.errors import ConfigError
from gamaml.slurm.site import Site

NAV = (
    '[task]\nname = "navigation"\n[policy]\nhidden = [8]\n[ga]\npopulation_size = 40\nnum_parents = 4\n'
    "[stop]\ngenerations = 3\n[noise]\nsize = 2621440\n"
)

Program = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "nav.toml").write_text(NAV)
    return tmp_path


def request(**changes: object) -> Request:
    whole = Request(
        command=("gamaml",),
        sweep=Sweep((Path("nav.toml"),), seeds=tuple(range(6))),
        nodes=2,
        time="2:00:00",
        out=Path("runs"),
        ranks_per_node=10,
    )
    return dataclasses.replace(whole, **changes)  # pyright: ignore[reportArgumentType] - a test's own


def test_populations_are_packed_so_that_ranks_stay_busy() -> None:
    # 16 children for each of 20 ranks are 8 populations of 40 children: all six seeds in one job.
    assert submission.plan(request()).runs == (tuple(f"nav-seed{seed}" for seed in range(6)),)
    by_two = submission.plan(request(populations_per_job=2))
    assert by_two.runs == tuple((f"nav-seed{seed}", f"nav-seed{seed + 1}") for seed in (0, 2, 4))
    assert [task.arguments for task in by_two.job.tasks] == [("--seeds", "0-1"), ("--seeds", "2-3"), ("--seeds", "4-5")]


def test_memory_follows_from_the_windows_and_the_ranks() -> None:
    one = submission.plan(request(populations_per_job=1))
    assert one.window_mib == 11  # a table of 10 MiB, and less than one for the population
    assert one.job.memory_mib == 11 + 10 * 512
    assert submission.plan(request(rank_mib=100)).job.memory_mib == submission.plan(request()).window_mib + 10 * 100
    large = request(sweep=Sweep((Path("nav.toml"),), ("ga.num_parents=40", "policy.hidden=[256]"), seeds=(0, 1)))
    num_params = 2 * 256 + 256 + 256 * 2 + 2 + 2
    assert submission.plan(large).window_mib == pytest.approx(10 + 2 * 2 * 40 * num_params * 4 / 2**20, abs=1)


def test_core_hours_are_those_of_all_jobs() -> None:
    assert submission.plan(request(populations_per_job=2)).core_hours == 3 * 2 * 10 * 2


def test_more_memory_than_a_node_has_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        submission.plan(request(site=Site(source="here.env", memory_mib=4000)))
    assert "memory per node: expected at most 4000 MiB on here.env, got 5131 (11 shared + 10 ranks x 512)" in str(
        caught.value
    )


def test_the_site_says_how_many_ranks_a_node_has() -> None:
    plan = submission.plan(request(ranks_per_node=None, site=Site(cores_per_node=7)))
    assert plan.job.ranks_per_node == 7
    with pytest.raises(ConfigError, match="--ranks-per-node: expected with a site of unknown cores, got none"):
        submission.plan(request(ranks_per_node=None))


def test_populations_of_a_job_need_the_same_table(folder: Path) -> None:
    (folder / "other.toml").write_text(NAV.replace("2621440", "3000000"))
    sweep = Sweep((Path("nav.toml"), Path("other.toml")))
    with pytest.raises(ConfigError, match="noise: expected the same table"):
        submission.plan(request(sweep=sweep))
    assert len(submission.plan(request(sweep=sweep, populations_per_job=1)).runs) == 2


def test_two_runs_of_one_name_are_refused(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "nav.toml").write_text(NAV)
    with pytest.raises(ConfigError, match="expected different run names, got 'nav-seed1' twice"):
        submission.plan(request(sweep=Sweep((Path("nav.toml"), Path("sub/nav.toml")))))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("12:00:00", 43200),
        ("1-12", 129600),
        ("1-0:30", 88200),
        ("0-0:0:5", 5),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


def test_a_limit_that_ends_before_the_signal_is_refused() -> None:
    with pytest.raises(ConfigError, match="--time '3': expected more than 180 s, got 180; the job would have to"):
        submission.plan(request(time="3"))
    assert submission.plan(request(time="2", site=Site(signal_seconds=30))).job.time == "2"


@pytest.mark.parametrize("text", ["", "0", "12h", "1:2:3:4", "-1", "UNLIMITED", "1-"])
def test_other_time_limits_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a limit like 12:00:00"):
        seconds_of(text)


SUBMIT = ["submit", "nav.toml", "--seeds", "0-3", "--ranks-per-node", "4", "--populations-per-job", "2", "--time", "30"]


def test_a_dry_run_writes_the_script_to_stdout_and_nothing_else(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*SUBMIT, "--account", "us", "--dry-run"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("#!/bin/bash\n# gamaml submit nav.toml --seeds 0-3")
    assert "#SBATCH --account=us\n" in output.out
    assert "nav: 4 runs in an array of 2 jobs, 2 interleaved in each\n" in output.err
    assert "at most 4.0 core-hours" in output.err
    assert sorted(path.name for path in folder.iterdir()) == ["nav.toml"]


def test_submitting_says_what_it_takes_before_sbatch_sees_the_script(
    folder: Path, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    program("sbatch", 'echo "$@" > called; echo "77;here"')
    assert cli.main(SUBMIT) == 0
    assert (folder / "called").read_text() == "--parsable runs/nav.sbatch\n"
    output = capsys.readouterr().out.splitlines()
    assert output[0] == "nav: 4 runs in an array of 2 jobs, 2 interleaved in each"
    assert output[-1] == "submitted as job 77; see how it goes with: gamaml status runs"
    assert 'case "$SLURM_ARRAY_TASK_ID" in' in (folder / "runs" / "nav.sbatch").read_text()
    note = json.loads((folder / "runs" / "nav-77.job.json").read_text())
    assert note == {"jobs": {"77_0": ["nav-seed0", "nav-seed1"], "77_1": ["nav-seed2", "nav-seed3"]}}


def test_slurms_refusal_is_passed_on_in_one_line(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    program(
        "sbatch",
        "echo 'sbatch: error: invalid partition specified: x' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2; exit 1",
    )
    assert cli.main(SUBMIT) == 1
    assert capsys.readouterr().err == (
        "gamaml: error: sbatch: expected runs/nav.sbatch to be accepted, got: invalid partition specified: x. Batch "
        "job submission failed: Invalid partition name specified; correct the option or the site file, and submit "
        "again\n"
    )


def test_without_slurm_submitting_is_refused_in_words(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(SUBMIT) == 1
    assert "sbatch: expected SLURM's command on PATH, got none" in capsys.readouterr().err


def test_sites_are_found_here_and_in_the_users_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, partition in ((folder / "jobscripts" / "sites", "p1"), (folder / "config" / "gamaml" / "sites", "p2")):
        place.mkdir(parents=True)
        (place / f"{partition}.env").write_text(f"SITE_PARTITION={partition}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    for name in ("p1", "p2", "config/gamaml/sites/p2.env"):
        assert cli.main([*SUBMIT, "--site", name, "--dry-run"]) == 0
        assert f"#SBATCH --partition={name[:2] if len(name) == 2 else 'p2'}\n" in capsys.readouterr().out
    assert cli.main([*SUBMIT, "--site", "p3", "--dry-run"]) == 2
    assert "known: p1, p2" in capsys.readouterr().err


MISTAKES = {
    "no time": (["submit", "nav.toml"], "the following arguments are required: --time"),
    "bad time": ([*SUBMIT[:-1], "soon"], "--time 'soon': expected a limit like"),
    "no nodes": ([*SUBMIT, "--nodes", "0"], "--nodes 0: expected at least 1"),
    "no such config": (
        ["submit", "x.toml", "--time", "10", "--ranks-per-node", "1"],
        "expected a TOML file, got no such file",
    ),
    "name with folder": (
        [*SUBMIT, "--name", "a/b"],
        "--name 'a/b': expected a file name without a folder or a leading dot",
    ),
    "envs of a task": ([*SUBMIT, "--envs", "Amidar"], "--envs 'Amidar': expected configs with a section [env]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line_and_exit_2(mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = MISTAKES[mistake]
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
