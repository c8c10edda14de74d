"""The launcher and the MPIs behave as mpi/README.md says, and the harness leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from harness import (
    LAUNCH,
    SHARED_MEMORY,
    Layout,
    Mpi,
    abandoned_segments,
    memory_limit,
    mpi_job,
    run_mpi,
    small_shared_memory,
)

PROGRAMS = Path(__file__).parent / "programs"


def ending(name: str) -> list[str | Path]:
    return ["python", "-m", "mpi4py", PROGRAMS / "endings.py", name]


def test_windows_atomics_and_collectives_work_on_every_layout(mpi: Mpi, layout: Layout) -> None:
    finished = run_mpi(PROGRAMS / "semantics.py", ranks=layout.ranks, nodes=layout.nodes, mpi=mpi)
    report = json.loads(finished.stdout)
    assert report["node_sizes"] == list(layout.node_sizes)
    assert report["atomics_exact"]
    assert report["collectives_apart"]
    assert report["thread_level"]
    if mpi.name == "openmpi" and layout.nodes:
        assert len(set(report["hosts"])) == len(layout.nodes)


@pytest.mark.parametrize("nodes", [None, (2, 1)])
@pytest.mark.parametrize("name", ["abort", "exit"])
def test_exit_code_of_the_job_is_the_one_a_rank_chose(mpi: Mpi, name: str, nodes: tuple[int, ...] | None) -> None:
    run_mpi(ending(name), ranks=3, nodes=nodes, mpi=mpi, exit_code=75)


def test_exception_on_one_rank_ends_the_job_and_shows_its_traceback(mpi: Mpi) -> None:
    finished = run_mpi(ending("raise"), ranks=3, mpi=mpi, exit_code=1)
    assert "RuntimeError: this rank has a bug" in finished.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("nodes", [None, (1, 1)])
def test_signalled_job_gets_time_to_finish(mpi: Mpi, number: signal.Signals, nodes: tuple[int, ...] | None) -> None:
    with mpi_job(ending("serve"), ranks=2, nodes=nodes, mpi=mpi) as job:
        job.wait_for("ready")
        job.process.send_signal(number)
        finished = job.wait(20)
    assert finished.returncode == 75
    assert "finished" in finished.stdout


def test_killed_rank_ends_the_job(mpi: Mpi) -> None:
    with mpi_job(ending("serve"), ranks=3, mpi=mpi) as job:
        job.wait_for("ready")
        ranks = job.ranks()
        assert sorted(ranks) == [0, 1, 2]
        os.kill(ranks[1], signal.SIGKILL)
        assert job.wait(20).returncode not in (0, 75)


def test_nothing_is_left_after_mpiexec_is_killed(mpi: Mpi) -> None:
    before = abandoned_segments()
    with mpi_job(ending("serve"), ranks=2, mpi=mpi) as job:
        job.wait_for("ready")
        os.kill(job.mpiexec(), signal.SIGKILL)
        job.process.wait(20)
    assert job.processes() == {}
    assert abandoned_segments() <= before


def test_timeout_kills_every_process_and_shows_both_outputs(mpi: Mpi) -> None:
    with mpi_job(ending("serve"), ranks=2, mpi=mpi) as job:
        job.wait_for("ready")
        with pytest.raises(
            pytest.fail.Exception, match=r"still running after 0.1 s\n-- stdout\nready\n\n-- stderr\n\+"
        ):
            job.wait(0.1)
        assert job.processes() == {}


def test_unexpected_exit_code_fails_with_both_outputs(mpi: Mpi) -> None:
    with pytest.raises(pytest.fail.Exception, match="ended with 75 instead of 0"):
        run_mpi(ending("exit"), ranks=1, mpi=mpi)


def test_small_shared_memory_is_seen_by_the_ranks_only(mpi: Mpi) -> None:
    before = os.statvfs(SHARED_MEMORY)
    script = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize)"
    finished = run_mpi(["python", "-c", script], ranks=2, mpi=mpi, prefix=small_shared_memory(64 << 20))
    assert finished.stdout.split() == [str(64 << 20)] * 2
    assert os.statvfs(SHARED_MEMORY).f_blocks == before.f_blocks


def test_memory_limit_kills_what_exceeds_it() -> None:
    script = "print('started', flush=True); block = b'x' * (256 << 20); print(len(block))"
    with memory_limit(128 << 20) as prefix:
        finished = subprocess.run(
            [*prefix, sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
        )
    assert finished.stdout == "started\n"
    assert finished.returncode != 0


def launch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, LAUNCH, *arguments], capture_output=True, text=True, timeout=60)


def test_print_shows_the_command_and_starts_nothing(mpi: Mpi, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    shown = launch("--ranks-per-node", "3,2", "--emulate", "--env", mpi.environment, "--print", "--", "touch", ran)
    assert shown.returncode == 0
    if mpi.name == "intelmpi":
        assert f" -host emulated1 -n 3 touch {ran} : -host emulated2 -n 2 touch {ran}\n" in shown.stdout
    else:
        assert f" emulated1:3,emulated2:2 -n 5 touch {ran}\n" in shown.stdout
    assert not ran.exists()


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in that says how it is called, and what it is sent."""
    path = tmp_path / "srun"
    path.write_text(
        "#!/bin/bash\ntrap 'echo checkpointed; exit 75' USR1\n"
        'echo "$@"; [[ ${!#} != serve ]] || while :; do sleep 0.05; done\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return path


@pytest.mark.parametrize(
    ("pmi", "variables"), [("pmi2", "MPIR_CVAR_CH4_NETMOD=ofi "), ("pmix", "OMPI_MCA_osc='^ucx' ")]
)
def test_srun_gets_its_profile_and_the_layout(srun: Path, pmi: str, variables: str) -> None:
    options = ["--mpi", f"srun-{pmi}", "--env", "/nowhere"]
    shown = launch(*options, "--nodes", "2", "--ranks-per-node", "4", "--print", "gamaml", "preflight")
    fixed = f"--mpi={pmi} --kill-on-bad-exit=1"
    assert shown.stdout == f"{variables}{srun} {fixed} --nodes=2 --ntasks-per-node=4 -n 8 gamaml preflight\n"
    ran = launch(*options, "-n", "3", "true")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{fixed} -n 3 true\n"
    assert ran.stderr == f"+ {variables}{srun} {fixed} -n 3 true\n"


def test_srun_is_asked_by_usr1_since_it_kills_after_other_signals(srun: Path) -> None:
    command = [sys.executable, LAUNCH, "--mpi", "srun-pmi2", "-n", "1", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith("serve\n")
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "checkpointed\n"
    assert process.returncode == 75


def test_srun_is_refused_where_it_cannot_serve(srun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = launch("--mpi", "srun-pmi2", "--ranks-per-node", "1,1", "--emulate", "true")
    assert refused.returncode == 2
    assert refused.stderr.startswith("mpi/launch: --emulate: expected an mpiexec, got srun-pmi2; leave --mpi out")
    monkeypatch.setenv("PATH", "/nowhere")
    refused = launch("--mpi", "srun-pmi2", "-n", "1", "true")
    assert refused.returncode == 2
    assert refused.stderr.startswith("mpi/launch: --mpi srun-pmi2: expected srun on PATH, got none; use the mpiexec")


def test_nodes_that_are_not_emulated_are_those_of_a_batch_job(mpi: Mpi, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--nodes", "2", "--ranks-per-node", "3", "--env", mpi.environment, "--print", "true"]
    for name in ("SLURM_JOB_ID", "PBS_NODEFILE", "LSB_JOBID", "PE_HOSTFILE"):
        monkeypatch.delenv(name, raising=False)
    refused = launch(*words)
    assert refused.returncode == 2
    assert "--nodes 2: expected a batch job whose nodes mpiexec can use, got none" in refused.stderr
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    flags = "--map-by ppr:3:node:oversubscribe" if mpi.name == "openmpi" else "-ppn 3"
    assert f"{flags} -n 6 true" in launch(*words).stdout


def test_one_number_of_ranks_serves_all_emulated_nodes(mpi: Mpi) -> None:
    shown = launch("--nodes", "2", "--ranks-per-node", "3", "--emulate", "--env", mpi.environment, "--print", "true")
    if mpi.name == "intelmpi":
        assert " -host emulated1 -n 3 true : -host emulated2 -n 3 true\n" in shown.stdout
    else:
        assert " emulated1:3,emulated2:3 -n 6 true\n" in shown.stdout


def test_variable_that_is_set_already_wins_over_the_profile(mpi: Mpi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_MCA_osc", "sm")
    shown = launch("-n", "1", "--env", mpi.environment, "--print", "true")
    assert "OMPI_MCA_osc" not in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "3", "--ranks-per-node", "2,2", "true"], "-n 3: expected the sum over the nodes, 4; leave -n out"),
        (
            ["--ranks-per-node", "2,x", "true"],
            "--ranks-per-node: expected a rank count, or several like 3,2; got '2,x'",
        ),
        (
            ["--ranks-per-node", "2,0", "true"],
            "--ranks-per-node: expected a rank count, or several like 3,2; got '2,0'",
        ),
        (["--nodes", "3,2", "--ranks-per-node", "1", "true"], "--nodes: expected a number of nodes; got '3,2'"),
        (["--nodes", "2", "true"], "--nodes 2: expected the ranks of a node, got none; add --ranks-per-node R"),
        (["--emulate", "-n", "2", "true"], "--emulate: expected the ranks of a node, got none; add --ranks-per-node R"),
        (
            ["--nodes", "3", "--ranks-per-node", "2,2", "--emulate", "true"],
            "--nodes 3: expected as many as in --ranks-per-node 2,2, 2; leave --nodes out",
        ),
        (["--ranks-per-node", "3,2", "true"], "--ranks-per-node 3,2: expected one rank count, got several; only"),
        (["-n", "0", "true"], "-n: expected a positive number of ranks, got 0; give -n or --ranks-per-node"),
        (["true"], "-n: expected a positive number of ranks, got None; give -n or --ranks-per-node"),
        (["-n", "2"], "program: expected a program to start, got none"),
        (
            ["-n", "2", "--env", "/nowhere", "true"],
            "/nowhere/bin/mpiexec: expected the mpiexec of an environment",
        ),
    ],
)
def test_mistake_in_the_arguments_is_one_line_and_exit_code_2(arguments: list[str], message: str) -> None:
    refused = launch(*arguments)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"mpi/launch: {message}")
    assert refused.stderr.count("\n") == 1


def test_environment_of_another_mpi_is_refused(mpi: Mpi) -> None:
    other = "openmpi" if mpi.name == "mpich" else "mpich"
    refused = launch("-n", "1", "--env", mpi.environment, "--mpi", other, "true")
    assert refused.returncode == 2
    assert f"expected {other}, got {mpi.name}; name the right environment with --env" in refused.stderr
