"""How a job ends: by a signal, by an error of one rank, by the wrong launcher, by the caller."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import find_mpi
from harness import Layout, Mpi, mpi_job, run_mpi
from runs import PROGRAMS, SINGLE, digest, journalled, run, settings, started, words

from gamaml import runlog
from gamaml.runlog import read_current
from gamaml.runlog.history import read_past

THREE, UNEVEN = Layout((3,)), Layout((2, 1))
LIMIT_SECONDS = 10.0
"""What a stop, and the end after an error, may take."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1], ids=lambda number: number.name)
@pytest.mark.parametrize("target", ["launcher", "last rank"])
def test_signal_checkpoints_and_resume_evaluates_only_what_is_missing(
    mpi: Mpi, tmp_path: Path, number: signal.Signals, target: str
) -> None:
    slow = settings(["task.seconds=0.3", "stop.generations=1", "ga.population_size=12", "ga.elite.candidates=0"])
    with started(mpi, UNEVEN, "sphere.toml", tmp_path, *slow) as job:
        job.wait_until(lambda: len(list(tmp_path.glob("run.run/current-*"))) == 2)
        time.sleep(0.7)
        signalled = time.monotonic()
        if target == "launcher":
            job.process.send_signal(number)
        else:
            os.kill(job.ranks()[2], number)
        finished = job.wait(30)
        assert time.monotonic() - signalled < LIMIT_SECONDS
    assert finished.returncode == 75
    partial = read_past(tmp_path / "run.run" / "journal").history.children
    saved = {int(record["index"]): float(record["seconds"]) for record in partial}
    assert 0 < len(saved) < 12
    run(mpi, THREE, "sphere.toml", tmp_path, "--resume", *slow)
    records = runlog.load(tmp_path / "run.h5").records[0]
    assert {index: float(records["seconds"][index]) for index in saved} == saved


def test_signal_in_a_block_of_short_evaluations_keeps_those_that_were_finished(mpi: Mpi, tmp_path: Path) -> None:
    with started(mpi, SINGLE, "sphere.toml", tmp_path, *settings(["task.seconds=0", "task.sleep_at=6"])) as job:
        job.wait_until(lambda: [said.index for said in read_current(tmp_path / "run.run")] == [5])
        job.process.send_signal(signal.SIGTERM)
        assert job.wait(30).returncode == 75
    assert read_past(tmp_path / "run.run" / "journal").history.children["index"].tolist() == [0, 1, 2, 3, 4]


def test_signal_ends_ranks_that_are_deaf_in_one_long_call(mpi: Mpi, tmp_path: Path) -> None:
    deaf = settings(["task.seconds=0", "task.deaf_seconds=60"])
    with started(mpi, UNEVEN, "sphere.toml", tmp_path, *deaf) as job:
        job.wait_until(lambda: len(list(tmp_path.glob("run.run/current-*"))) == 2)
        time.sleep(1.0)
        signalled = time.monotonic()
        os.kill(job.ranks()[0], signal.SIGTERM)
        finished = job.wait(30)
        assert time.monotonic() - signalled < LIMIT_SECONDS
    assert finished.returncode == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT], ids=lambda number: number.name)
def test_signal_before_mpi_has_started_asks_for_another_start(mpi: Mpi, tmp_path: Path, number: signal.Signals) -> None:
    started_folder, out = tmp_path / "started", tmp_path / "out"
    started_folder.mkdir()
    with mpi_job(
        words("sphere.toml", out, "--set", "task.name=slow_import:Sphere"),
        ranks=2,
        mpi=mpi,
        cwd=PROGRAMS,
        env={"STARTED": str(started_folder)},
    ) as job:
        job.wait_until(lambda: len(list(started_folder.iterdir())) == 2)
        job.process.send_signal(number)
        assert job.wait().returncode == 75  # what takes its time is the start, which goes on until MPI is there
    assert not out.exists()


def test_abort_keeps_its_code_where_the_launcher_answers_late(mpi: Mpi, tmp_path: Path) -> None:
    with mpi_job(["python", PROGRAMS / "late_abort.py", tmp_path], ranks=2, mpi=mpi) as job:
        job.wait_until((tmp_path / "up").exists)
        launcher = job.mpiexec()
        os.kill(launcher, signal.SIGSTOP)
        (tmp_path / "go").touch()
        time.sleep(4)
        os.kill(launcher, signal.SIGCONT)
        assert job.wait().returncode == 75


def test_two_restarts_without_a_new_record_end_the_requeueing(mpich: Mpi, tmp_path: Path) -> None:
    slow, codes = settings(["task.seconds=100"]), []
    for start in range(3):
        with started(mpich, SINGLE, "sphere.toml", tmp_path, "--resume", *slow) as job:
            job.wait_until(lambda: len(list(tmp_path.glob("run.run/current-*"))) == 1)
            time.sleep(0.5)
            job.process.send_signal(signal.SIGUSR1)
            finished = job.wait(30)
        codes.append(finished.returncode)
        assert ("expected new records between two restarts" in finished.stderr) is (start == 2)
    assert codes == [75, 75, 1]


@pytest.mark.parametrize("nodes", [None, (2, 1)])
@pytest.mark.parametrize(
    ("way", "codes", "words_said"),
    [
        ("absent", {2}, "absent.toml': expected a TOML file, got no such file; check the path"),
        ("late", {2}, "absent.toml': expected a TOML file, got no such file; check the path"),
        ("value", {2}, "task 'one_fails:Picky': this node lacks a file"),
        # MPICH's launcher may give the code of the ranks that it killed instead of the one that was given to MPI_Abort.
        ("bug", {1, 9, 255}, "RuntimeError: this rank has a bug"),
    ],
)
def test_rank_that_fails_before_mpi_has_started_ends_the_job(
    mpi: Mpi, tmp_path: Path, way: str, codes: set[int], words_said: str, nodes: tuple[int, ...] | None
) -> None:
    program = ["python", PROGRAMS / "one_fails.py", way, tmp_path]
    finished = run_mpi(program, ranks=3, nodes=nodes, mpi=mpi, cwd=PROGRAMS, exit_code=None)
    assert finished.returncode in codes
    assert words_said in finished.stderr
    assert not list(tmp_path.iterdir())


def test_mistake_that_all_ranks_make_is_told_once(mpi: Mpi, tmp_path: Path) -> None:
    finished = run(mpi, THREE, "sphere.toml", tmp_path, "--set", "seed=-1", exit_code=2)
    lines = [line for line in finished.stderr.splitlines() if "gamaml" in line and not line.startswith("+ ")]
    assert lines == ["gamaml: error: seed=-1: expected at least 0; choose e.g. 1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize(
    ("way", "words_said"),
    [
        ("raise_at", "seed 3: ValueError: the environment broke; repeat it with"),
        ("exit_at", "seed 3: SystemExit: the environment gave up; repeat it with"),
    ],
)
def test_error_of_one_rank_ends_the_job_and_names_the_child(
    mpi: Mpi, tmp_path: Path, rank: int, way: str, words_said: str
) -> None:
    broken = settings([f"task.{way}=9", f"task.rank={rank}", "task.seconds=0.02"])
    finished = run(mpi, THREE, "sphere.toml", tmp_path, *broken, exit_code=None)
    assert finished.returncode not in (0, 75)
    line = next(line for line in finished.stderr.splitlines() if words_said in line)
    found = re.search(rf"rank {rank} on .*: run run, generation (\d+), (child|contender) ", line)
    assert found
    # Nobody else tried again what failed here, so its generation was never finished.
    assert runlog.load(tmp_path / "run.h5").num_generations <= int(found[1])
    assert f"gamaml replay {tmp_path}/run.h5 --generation " in line


def test_killed_rank_leaves_word_of_what_it_was_evaluating(mpi: Mpi, tmp_path: Path) -> None:
    fatal = settings(["task.kill_at=5", "task.rank=1", "task.seconds=0.05"])
    finished = run(mpi, THREE, "sphere.toml", tmp_path, *fatal, exit_code=None, timeout=30)
    assert finished.returncode not in (0, 75)
    told = run_mpi(["gamaml", "inspect", tmp_path / "run.h5"], ranks=1, mpi=mpi, cwd=PROGRAMS).stdout
    assert "rank 1" in told
    assert "gamaml replay" in told


def test_shared_memory_of_a_running_job_has_no_name_that_a_kill_could_leave(mpich: Mpi, tmp_path: Path) -> None:
    with started(mpich, UNEVEN, "sphere.toml", tmp_path, *settings(["task.seconds=0.3"])) as job:
        job.wait_until(lambda: len(list(tmp_path.glob("run.run/current-*"))) == 2)
        maps = [Path(f"/proc/{pid}/maps").read_text() for pid in job.ranks().values()]
    attached = re.findall(r"/dev/shm/mpich_shm_\w+.*", "\n".join(maps))
    assert len(set(attached)) == len(UNEVEN.node_sizes)
    assert all(name.endswith(" (deleted)") for name in attached)


def test_ranks_do_not_outlive_a_killed_launcher(mpi: Mpi, tmp_path: Path, mpich: Mpi) -> None:
    slow = settings(["task.seconds=0.3", "ga.population_size=8", "ga.elite.candidates=2", "ga.elite.episodes=1"])
    with started(mpi, THREE, "sphere.toml", tmp_path, *slow) as job:
        job.wait_until(lambda: len(list(tmp_path.glob("run.run/current-*"))) == 1)
        ranks = job.ranks().values()
        os.kill(job.mpiexec(), signal.SIGKILL)
        deadline = time.monotonic() + LIMIT_SECONDS
        while any(pid in job.processes() for pid in ranks):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    run(mpich, SINGLE, "sphere.toml", tmp_path, "--resume", "--set", "stop.generations=1", *slow)


# Said by gamaml where the ranks start as worlds of their own; MPICH under Open MPI's launcher refuses to start at all.
@pytest.mark.parametrize(
    ("launcher", "library", "words_said"),
    [
        ("mpich", "openmpi", "the launcher started 3 ranks, but MPI sees 3 separate worlds of one rank"),
        ("openmpi", "mpich", "PMI version PMIx"),
    ],
)
def test_ranks_of_a_foreign_launcher_are_told_so(launcher: str, library: str, words_said: str, tmp_path: Path) -> None:
    foreign, own = find_mpi(launcher), find_mpi(library)
    arguments = [own.environment / "bin" / "gamaml", *words("sphere.toml", tmp_path)[1:]]
    finished = run_mpi(arguments, ranks=3, mpi=foreign, cwd=PROGRAMS, exit_code=None)
    assert finished.returncode != 0
    assert words_said in finished.stdout + finished.stderr
    assert not list(tmp_path.iterdir())


def test_existing_run_is_refused_on_every_rank_and_left_alone(mpi: Mpi, tmp_path: Path) -> None:
    quick = settings(["stop.generations=1", "task.seconds=0"])
    run(mpi, SINGLE, "sphere.toml", tmp_path, *quick)
    before, size = digest(tmp_path), journalled(tmp_path)
    finished = run(mpi, THREE, "sphere.toml", tmp_path, *quick, exit_code=1)
    assert "--resume" in finished.stderr
    assert (digest(tmp_path), journalled(tmp_path)) == (before, size)
    run(mpi, THREE, "sphere.toml", tmp_path, *quick, "--resume")
    assert digest(tmp_path) == before


@pytest.mark.parametrize("way", ["break", "raise", "exit", "held"])
def test_leaving_the_loop_on_rank_0_ends_all_ranks(mpi: Mpi, tmp_path: Path, way: str) -> None:
    code = {"break": 0, "raise": 1, "exit": 3, "held": 4}[way]
    program = ["python", PROGRAMS / "leaving.py", way, tmp_path]
    finished = run_mpi(program, ranks=3, nodes=(2, 1), mpi=mpi, timeout=30, exit_code=code)
    assert [line for line in finished.stdout.splitlines() if line.startswith("body")] == ["body 0", "body 1", "body 2"]
    assert runlog.load(tmp_path / "sphere-seed1.h5").num_generations == 3


@pytest.mark.parametrize("layout", [Layout((1,)), Layout((2,)), UNEVEN], ids=str)
@pytest.mark.parametrize(
    ("way", "caught", "again"),
    [
        (
            "selection",
            r"SelectionError: generation 0: expected at least one child with a finite fitness, got none of 16; .*",
            "[(4, False)]",
        ),
        ("disk", r"RunFileError: .*/(first|second)\.h5: the disk is full", "[(4, False), (4, False)]"),
    ],
)
def test_error_that_is_nobodys_bug_is_caught_on_every_rank_which_then_trains_again(
    mpi: Mpi, tmp_path: Path, layout: Layout, way: str, caught: str, again: str
) -> None:
    program = ["python", PROGRAMS / "errors.py", way, tmp_path]
    finished = run_mpi(program, ranks=layout.ranks, nodes=layout.nodes, mpi=mpi, cwd=PROGRAMS)
    lines = finished.stdout.splitlines()
    assert len(lines) == layout.ranks
    assert len(set(lines)) == 1
    assert re.fullmatch(caught, lines[0].partition(" | ")[0])
    assert lines[0].partition(" | ")[2] == again
    if way == "disk":
        undisturbed = tmp_path / "undisturbed"
        run_mpi(["python", PROGRAMS / "errors.py", "none", undisturbed], ranks=1, mpi=mpi, cwd=PROGRAMS, exit_code=1)
        for name in ("first", "second"):
            assert runlog.load(tmp_path / f"{name}.h5").digest() == runlog.load(undisturbed / f"{name}.h5").digest()


def test_update_that_fails_is_an_error_to_the_caller_and_the_mended_run_equals_an_undisturbed_one(
    mpi: Mpi, tmp_path: Path
) -> None:
    program = ["python", PROGRAMS / "broken_update.py", tmp_path]
    finished = run_mpi(program, ranks=1, mpi=mpi, cwd=PROGRAMS)
    assert finished.stdout.splitlines() == ["caught: the update broke", "digests: 1"]


@pytest.mark.parametrize("layout", [Layout((2,)), UNEVEN], ids=str)
def test_run_without_a_finite_fitness_ends_with_one_line_and_can_be_looked_at(
    mpi: Mpi, tmp_path: Path, layout: Layout
) -> None:
    hopeless = settings(["task.name='toys:Hopeless'"])
    finished = run(mpi, layout, "sphere.toml", tmp_path, *hopeless, exit_code=1)
    lines = [line for line in finished.stderr.splitlines() if "gamaml" in line and not line.startswith("+ ")]
    assert len(lines) == 1
    assert lines[0].startswith("gamaml: error: generation 0: expected at least one child with a finite fitness, got ")
    assert len(read_past(tmp_path / "run.run" / "journal").history.children) == 24
    again = run(mpi, layout, "sphere.toml", tmp_path, "--resume", *hopeless, exit_code=1)
    assert lines[0] in again.stderr


@pytest.mark.parametrize("ranks", [1, 3])
def test_signal_after_the_last_selection_leaves_the_result_whole(mpi: Mpi, tmp_path: Path, ranks: int) -> None:
    finished = run_mpi(["python", PROGRAMS / "late_signal.py", tmp_path], ranks=ranks, mpi=mpi)
    assert finished.stdout == "True\n" * ranks


def test_train_returns_the_same_on_every_rank(mpi: Mpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = run_mpi(["python", PROGRAMS / "results.py", tmp_path], ranks=5, nodes=(3, 2), mpi=mpi)
    lines = finished.stdout.split()
    assert len(lines) == 5
    assert len(set(lines)) == 1
    monkeypatch.chdir(PROGRAMS)
    expected = runlog.load(tmp_path / "sphere-seed1.h5")
    assert lines[0] == f"{expected.num_generations}:{expected.incumbent_parameters().tobytes().hex()[:64]}"


def test_a_rank_ends_with_the_jobs_code_where_abort_only_asks_for_the_end(mpich: Mpi) -> None:
    # As under srun with PMI-2, where MPI_Abort returns.
    script = (
        "from gamaml.parallel.service import abort\n"
        "class World:\n    def Abort(self, code): pass\n"
        "abort(World(), 75, 'why')"
    )
    done = subprocess.run([mpich.python, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (75, "why\n")
