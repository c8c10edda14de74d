from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gamaml
from gamaml import api, cli
from gamaml.engine.info import TrainResult
from gamaml.errors import ConfigError, EvaluationError, LaunchError, RunFileError

MINIMAL = 'seed = 4\n[task]\nname = "navigation"\n[stop]\ngenerations = 3\n'
RESULT = TrainResult(
    path=Path("runs/nav-seed4.h5"),
    num_generations=3,
    total_steps=600,
    incumbent_fitness=-1.5,
    parameters=None,
    interrupted=False,
    exhausted=False,
)

Stub = Callable[[object], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nav.toml").write_text(MINIMAL)
    return tmp_path


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Replace `train` by what returns or raises what it is told; gives the calls."""

    def replace(outcome: object) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def train(configs: Any, **arguments: Any) -> Any:
            calls.append({"configs": configs, **arguments})
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(api, "train", train)
        return calls

    return replace


def result(**changes: Any) -> TrainResult:
    return TrainResult(**{**RESULT.__dict__, **changes})


def test_run_hands_config_name_and_flags_to_train(stub: Stub) -> None:
    calls = stub([RESULT])
    assert cli.main(["run", "nav.toml", "--set", "seed=9", "--out", "here", "--resume", "--accept-versions"]) == 0
    (call,) = calls
    assert [config.seed for config in call["configs"]] == [9]
    assert call["names"] == ["nav-seed9"]
    assert call["out"] == Path("here")
    assert (call["resume"], call["overwrite"], call["accept_versions"]) == (True, False, True)


def test_a_name_replaces_the_default_one(stub: Stub) -> None:
    calls = stub([RESULT])
    assert cli.main(["run", "nav.toml", "--name", "mine", "--overwrite"]) == 0
    assert calls[0]["names"] == ["mine"]
    assert calls[0]["overwrite"] is True


def test_every_config_runs_with_every_seed(stub: Stub, folder: Path) -> None:
    calls = stub([RESULT])
    (folder / "other.toml").write_text(MINIMAL)
    assert cli.main(["run", "nav.toml", "other.toml", "--seeds", "0-1,7", "--set", "stop.generations=9"]) == 0
    names = [f"{stem}-seed{seed}" for stem in ("nav", "other") for seed in (0, 1, 7)]
    assert calls[0]["names"] == names
    assert [config.seed for config in calls[0]["configs"]] == [0, 1, 7, 0, 1, 7]
    assert {config.stop.generations for config in calls[0]["configs"]} == {9}


def test_every_config_runs_in_every_environment(stub: Stub, folder: Path) -> None:
    calls = stub([RESULT])
    (folder / "cart.toml").write_text('[env]\nid = "CartPole-v1"\n[inner]\nrounds = 0\n[stop]\ngenerations = 1\n')
    assert cli.main(["run", "cart.toml", "--envs", "CartPole,Acrobot", "--seeds", "3"]) == 0
    assert calls[0]["names"] == ["cart-cartpole-seed3", "cart-acrobot-seed3"]
    assert [config.env.id for config in calls[0]["configs"]] == ["CartPole-v1", "Acrobot-v1"]


def test_configs_keep_their_own_seeds_unless_told_otherwise(stub: Stub, folder: Path) -> None:
    calls = stub([RESULT])
    (folder / "other.toml").write_text(MINIMAL.replace("seed = 4", "seed = 5"))
    assert cli.main(["run", "nav.toml", "other.toml"]) == 0
    assert calls[0]["names"] == ["nav-seed4", "other-seed5"]


def test_a_finished_run_exits_0_and_says_where_it_is(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub([RESULT])
    assert cli.main(["run", "nav.toml"]) == 0
    said = capsys.readouterr().out
    assert said == "runs/nav-seed4.h5: done after 3 generations, 600 steps, incumbent fitness -1.5\n"


def test_an_interrupted_run_exits_75_and_says_how_to_go_on(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub([result(interrupted=True)])
    assert cli.main(["run", "nav.toml"]) == 75
    said = capsys.readouterr().out
    assert said == "runs/nav-seed4.h5: interrupted after 3 generations, 600 steps; continue with --resume\n"


def test_a_second_restart_without_a_new_record_exits_1(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub([result(interrupted=True, exhausted=True)])
    assert cli.main(["run", "nav.toml"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("gamaml: error: runs/nav-seed4.h5: expected new records between two restarts, got none")


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigError("wrong"), 2), (RunFileError("wrong"), 1), (LaunchError("wrong"), 1), (EvaluationError("wrong"), 1)],
)
def test_our_errors_are_one_line(error: Exception, code: int, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub(error)
    assert cli.main(["run", "nav.toml"]) == code
    assert capsys.readouterr().err == "gamaml: error: wrong\n"


def test_an_error_in_a_task_shows_the_tasks_own_traceback(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    error = EvaluationError("child 3 raised")
    error.__cause__ = ZeroDivisionError("in the task")
    stub(error)
    assert cli.main(["run", "nav.toml"]) == 1
    assert capsys.readouterr().err == "ZeroDivisionError: in the task\ngamaml: error: child 3 raised\n"


def test_an_unexpected_exception_passes_through(stub: Stub) -> None:
    stub(ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["run", "nav.toml"])


def test_ctrl_c_exits_like_sigterm(stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub(KeyboardInterrupt())
    assert cli.main(["run", "nav.toml"]) == 75
    assert capsys.readouterr().err == "gamaml: interrupted\n"


def test_other_ranks_leave_the_talking_to_rank_0(
    stub: Stub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("time.sleep", waited.append)
    monkeypatch.setenv("PMI_RANK", "1")
    assert cli.main(["run", "absent.toml"]) == 2
    stub([RESULT])
    assert cli.main(["run", "nav.toml"]) == 0
    assert capsys.readouterr() == ("", "")
    # A launcher that ends the job at the first failure must leave rank 0 the time to say why.
    assert waited == [2.0]


BAD_ARGUMENTS = {
    "no_command": ([], "the following arguments are required: COMMAND; see gamaml --help"),
    "no_config": (["run"], "the following arguments are required: CONFIG.toml; see gamaml run --help"),
    "unknown_option": (["run", "nav.toml", "--foo"], "unrecognized arguments: --foo; see gamaml --help"),
    "abbreviation": (["run", "nav.toml", "--over"], "unrecognized arguments: --over; see gamaml --help"),
    "both_ways": (
        ["run", "nav.toml", "--resume", "--overwrite"],
        "argument --overwrite: not allowed with argument --resume; see gamaml run --help",
    ),
    "accept_versions_alone": (
        ["run", "nav.toml", "--accept-versions"],
        "--accept-versions: expected together with --resume, got it alone; add --resume",
    ),
    "name_with_a_folder": (
        ["run", "nav.toml", "--name", "a/b"],
        "--name 'a/b': expected a file name without a folder or a leading dot, got 'a/b'; choose another, "
        "and use --out for the folder",
    ),
    "empty_name": (
        ["run", "nav.toml", "--name", ""],
        "--name '': expected a file name without a folder or a leading dot, got ''; choose another, "
        "and use --out for the folder",
    ),
    "name_for_two": (
        ["run", "nav.toml", "--seeds", "1,2", "--name", "a"],
        "--name 'a': expected with one population, got 2; leave it out",
    ),
    "picture_for_two": (
        ["run", "nav.toml", "--seeds", "1,2", "--plot", "a.png"],
        "--plot 'a.png': expected no file name with 2 populations, got one; write --plot alone, which draws "
        "DIR/NAME.png for each",
    ),
    "config_twice": (
        ["run", "nav.toml", "nav.toml"],
        "names: expected different run names, got 'nav-seed4' twice; give other seeds, names or configs",
    ),
    "seeds_are_no_numbers": (
        ["run", "nav.toml", "--seeds", "1-x"],
        "--seeds '1-x': expected seeds like 0-9 or 1,4,10-12, got '1-x'; correct it",
    ),
    "no_seeds": (
        ["run", "nav.toml", "--seeds", ""],
        "--seeds '': expected seeds like 0-9 or 1,4,10-12, got ''; correct it",
    ),
    "seeds_turned_round": (
        ["run", "nav.toml", "--seeds", "9-0"],
        "--seeds '9-0': expected the lower seed first, got '9-0'; turn it round",
    ),
    "seed_twice": (
        ["run", "nav.toml", "--seeds", "0-3,2"],
        "--seeds '0-3,2': expected each seed once, got 2 twice; leave one out",
    ),
    "out_is_a_file": (
        ["run", "nav.toml", "--out", "nav.toml/deeper"],
        "--out 'nav.toml/deeper': expected a folder, got a file '{folder}/nav.toml'; choose another",
    ),
    "inspect_of_nothing": (
        ["inspect", "absent.h5"],
        "run file 'absent.h5': expected a file NAME.h5, got none there; check the path",
    ),
    "replay_of_nothing": (
        ["replay", "absent.h5", "--incumbent"],
        "run file 'absent.h5': expected a file NAME.h5, got none there; check the path",
    ),
    "adapt_of_nothing": (
        ["adapt", "absent.h5"],
        "run file 'absent.h5': expected a file NAME.h5, got none there; check the path",
    ),
    "rounds_are_no_numbers": (
        ["adapt", "nav.toml", "--rounds", "0-x"],
        "--rounds '0-x': expected rounds like 0-9 or 1,4,10-12, got '0-x'; correct it",
    ),
    "picture_of_no_kind": (
        ["inspect", "nav.toml", "--plot", "curve.pdf"],
        "--plot 'curve.pdf': expected a name that ends in .png, got 'curve.pdf'; rename it",
    ),
    "picture_nowhere": (
        ["inspect", "nav.toml", "--plot", "absent/curve.png"],
        "--plot 'absent/curve.png': expected an existing folder, got none; create it first",
    ),
    "picture_of_a_run_nowhere": (
        ["run", "nav.toml", "--plot", "absent/curve.png"],
        "--plot 'absent/curve.png': expected an existing folder, got none; create it first",
    ),
    "replay_of_nobody": (
        ["replay", "nav.toml"],
        "one of the arguments --index --contender --incumbent is required; see gamaml replay --help",
    ),
    "replay_of_no_generation": (
        ["replay", "nav.toml", "--index", "3"],
        "--generation: expected with --index and --contender, got none; add e.g. --generation 12",
    ),
    "index_is_no_number": (
        ["replay", "nav.toml", "--index", "x"],
        "argument --index: invalid int value: 'x'; see gamaml replay --help",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS.values(), ids=list(BAD_ARGUMENTS))
def test_bad_arguments_are_one_line_and_exit_2(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr() == ("", f"gamaml: error: {message.format(folder=folder)}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["nav.toml"]


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"gamaml {gamaml.__version__}\n"


def test_tasks_lists_the_ready_made_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tasks"]) == 0
    out = capsys.readouterr().out
    assert "navigation" in out
    assert "sinusoid" in out


@pytest.mark.parametrize("command", [[], ["run"], ["inspect"], ["replay"], ["adapt"], ["export"], ["tasks"]])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^0$"):
        cli.main([*command, "--help"])
    assert "gamaml" in capsys.readouterr().out
