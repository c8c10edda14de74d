"""Replay against runs that a loop in this file writes: the engine's semantics in one process, without MPI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from doubles import AT_START

from gamaml import cli, problems, runlog
from gamaml import config as cfg
from gamaml.commands.replay import text
from gamaml.config import Config
from gamaml.engine import repetition
from gamaml.engine.evaluation import Address, child_key, evaluate, reevaluation_key
from gamaml.engine.repetition import replay
from gamaml.evolution import chosen_strategy
from gamaml.evolution.decode import Sources
from gamaml.evolution.entries import Entries, without_children
from gamaml.evolution.genome import Genome
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import record_dtype
from gamaml.job.versions import library_versions, machine_description
from gamaml.runlog import Generation, Header, RunLog
from gamaml.types import EvaluationKey, Float32Array, Records

TASK = """
import numpy as np
from gamaml import Evaluation
from gamaml.evolution.streams import generator

class Toy:
    num_params, num_rounds, scalars, metric, scale = 5, 1, ("spread",), "return", None

    def initial(self, noise):
        return noise

    def evaluate(self, params, key):
        goal = generator(key.task).standard_normal(5)
        luck = generator(key.episode).standard_normal()
        before = -float(np.sum((params - goal) ** 2))
        return Evaluation(before + luck, np.array([before, before + luck], np.float32), 3, (float(np.std(params)),))

class Broken(Toy):
    def evaluate(self, params, key):
        raise ZeroDivisionError("the broken task")

class Careless(Toy):
    reproducible = False
    environment_versions = {"env.simulator": "1"}
    evaluations = 0

    def evaluate(self, params, key):
        Careless.evaluations += 1
        found = super().evaluate(params, key)
        return Evaluation(found.fitness + self.evaluations, found.returns, found.steps, found.scalars)

class Drifting(Toy):
    def evaluate(self, params, key):
        found = super().evaluate(params, key)
        return Evaluation(found.fitness + 1, found.returns, found.steps, found.scalars)
"""

MODULE = "toy_task_of_the_replay_tests"
CONFIG = {
    "seed": 3,
    "task": {"name": f"{MODULE}:Toy"},
    "ga": {"population_size": 6, "num_parents": 3, "elite": {"candidates": 3, "episodes": 2}},
    "inner": {"share_tasks": False},
    "stop": {"generations": 3},
    "noise": {"size": 1000},
}

RunMaker = Callable[..., Path]


class Loop:
    """Evolves in one process what any number of ranks evolves."""

    def __init__(self, config: Config, path: Path) -> None:
        self.config, self.path = config, path
        self.problem = problems.make_problem(config)
        self.noise = LazyNoise(size=config.noise.size, seed=config.noise.seed)
        self.strategy = chosen_strategy.make(config)
        self.state = self.strategy.start(config.seed, chosen_strategy.space_of(config, self.problem.num_params))
        self.vectors: Float32Array = np.empty((0, self.problem.num_params), np.float32)

    def header(self) -> Header:
        problem = self.problem
        return Header(
            name=self.path.stem,
            config=self.config,
            num_params=problem.num_params,
            num_rounds=problem.num_rounds,
            scalars=problem.scalars,
            metric=problem.metric,
            noise_digest="unused",
            sizes=self.strategy.sizes,
            description=self.strategy.describe(),
            versions=library_versions(),
            machine=machine_description(),
            reproducible=problem.reproducible,
        )

    def params(self, entry: np.void) -> Float32Array:
        out = np.empty(self.problem.num_params, np.float32)
        self.strategy.decode(entry, Sources.whole(self.noise, self.problem, self.vectors), out)
        return out

    def record(self, entry: np.void, key: EvaluationKey, item: int) -> Records:
        address = Address(self.path, self.config.seed, self.state.generation, item)
        params, items = self.params(entry)[np.newaxis], np.array([item], np.int32)
        found = evaluate(self.problem, params, [key], items=items, address=lambda _: address, rank=7, host="elsewhere")
        return found[0, ...]

    def generation(self) -> Generation:
        seed, state, sizes = self.config.seed, self.state, self.strategy.sizes
        dtype = record_dtype(self.problem.num_rounds, self.problem.scalars)
        records = np.zeros(sizes.population_size, dtype)
        for index, child in enumerate(self.strategy.children(state)):
            # Tasks are not shared: each child meets its own.
            key = child_key(seed, state.generation, task=index, episode=index)
            records[index] = self.record(child, key, index)
        contenders = self.strategy.contenders(state, records)
        again = np.zeros(len(contenders) * sizes.num_episodes, dtype)
        for item in range(len(again)):
            key = reevaluation_key(seed, state.generation, item % sizes.num_episodes)
            again[item] = self.record(contenders[item // sizes.num_episodes], key, item)
        outcome = self.strategy.next(state, records, again, AT_START)
        generation = Generation(
            generation=state.generation,
            records=records,
            contenders=contenders,
            reevaluations=again,
            entries=outcome.state.entries,
            contender=outcome.contender,
            std=outcome.std,
            incumbent_fitness=outcome.fitness,
            seconds=1.0,
        )
        self.state, self.vectors = outcome.state, np.stack([self.params(entry) for entry in outcome.state.entries])
        return generation


def without_std(entries: Entries) -> Entries:
    """Return parents as the candidates that they were, which do not hold the std of their children."""
    copy = entries.copy()
    copy["std"] = 0
    return copy


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunMaker:
    """Write runs/toy.h5 with two generations, as the config and its overrides say; returns its path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    (tmp_path / f"{MODULE}.py").write_text(TASK)
    (tmp_path / "runs").mkdir()

    def make(*overrides: str) -> Path:
        path = Path("runs/toy.h5")
        loop = Loop(cfg.from_mapping(CONFIG, overrides), path)
        with RunLog.open(path, loop.header()) as log:
            for _ in range(2):
                log.commit(loop.generation())
        return path

    return make


def test_every_child_and_every_re_evaluation_has_the_logged_bits(make_run: RunMaker) -> None:
    run = runlog.load(make_run())
    for generation in range(2):
        for index in range(6):
            assert replay(run, generation=generation, index=index).differences == ()
        for contender in range(3):
            for episode in range(2):
                result = replay(run, generation=generation, contender=contender, episode=episode)
                assert result.logged is not None
                assert result.logged["index"] == 2 * contender + episode
                assert result.differences == ()


def test_children_of_several_parents_have_the_logged_bits(make_run: RunMaker) -> None:
    run = runlog.load(make_run("ga.recombine=2"))
    genome = run.genome(1, 0)
    assert isinstance(genome, Genome)
    assert (genome.num_mutations, len(genome.steps)) == (1, 3)
    assert all(replay(run, generation=1, index=index).differences == () for index in range(6))
    assert all(replay(run, generation=1, contender=contender).differences == () for contender in range(3))


def test_the_mean_of_the_parents_is_that_of_their_parameters(make_run: RunMaker) -> None:
    run = runlog.load(make_run("ga.recombine=2"))
    children = [entry.tobytes() for entry in without_children(run.strategy.children(run.state(1)))]
    elite, others = run.incumbent_parameters(), without_std(run.entries[1][1:])
    rows = [elite, *(run.parameters(1, children.index(parent.tobytes())) for parent in others)]
    np.testing.assert_allclose(run.parents_mean(), np.mean(rows, axis=0), rtol=1e-6)


def test_the_elite_is_found_among_the_contenders(make_run: RunMaker) -> None:
    run = runlog.load(make_run())
    result = replay(run, episode=1)
    assert result.address.generation == 1
    assert run.contenders[1, result.address.index] == without_std(run.entries[1])[0]
    assert run.summary["contender"][1] == result.address.index
    assert result.differences == ()


def test_without_re_evaluations_the_elite_is_the_best_child(make_run: RunMaker) -> None:
    run = runlog.load(make_run("ga.elite.candidates=0"))
    result = replay(run, generation=0)
    assert result.address.index == int(np.argmax(run.records[0]["fitness"]))
    assert result.address.episode is None
    assert result.differences == ()


def test_a_child_of_the_open_generation_has_nothing_to_be_compared_with(make_run: RunMaker) -> None:
    result = replay(runlog.load(make_run()), generation=2, index=4)
    assert result.logged is None
    assert text(result).endswith("the run file holds no record of this evaluation: nothing to compare with")


def test_the_open_generation_is_what_the_run_would_have_gone_on_with(make_run: RunMaker) -> None:
    path = make_run()
    loop = Loop(cfg.from_mapping(CONFIG), path)
    third = [loop.generation() for _ in range(3)][2]
    run = runlog.load(path)
    for index in range(6):
        assert replay(run, generation=2, index=index).record["fitness"] == third.records["fitness"][index]
    for contender in range(3):
        again = replay(run, generation=2, contender=contender, episode=1)
        assert again.record["fitness"] == third.reevaluations["fitness"][2 * contender + 1]


def test_a_contender_of_generation_0_is_found_before_anything_was_committed(make_run: RunMaker) -> None:
    path = make_run()
    loop = Loop(cfg.from_mapping(CONFIG), Path("runs/empty.h5"))
    RunLog.open(loop.path, loop.header()).close()
    result = replay(runlog.load(loop.path), generation=0, contender=2)
    assert result.record["fitness"] == runlog.load(path).reevaluations[0, 4]["fitness"]


def test_equal_records_exit_0_and_show_both(make_run: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run()
    assert cli.main(["replay", str(path), "--generation", "1", "--index", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    record = runlog.load(path).records[1, 2]
    assert lines[0] == "run toy, generation 1, child 2, seed 3"
    assert lines[1].split() == ["field", "replayed", "logged"]
    assert ["fitness", *2 * [str(record["fitness"])]] in [line.split() for line in lines]
    assert ["scalar_spread", *2 * [str(record["scalar_spread"])]] in [line.split() for line in lines]
    assert not any(line.split()[0] in ("seconds", "rank") for line in lines[1:-1])
    assert lines[-1] == "equal: every scientific field has the same bits"


def test_different_records_exit_1_and_name_the_fields(
    make_run: RunMaker, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_run()
    (tmp_path / f"{MODULE}.py").write_text(
        TASK.replace("class Toy:", "class Old:").replace("(Toy)", "(Old)") + ("\nToy = Drifting\n")
    )
    monkeypatch.delitem(sys.modules, MODULE)
    assert cli.main(["replay", str(path), "--generation", "1", "--index", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "different: fitness",
        "libraries and CPU are the same as in the run: the task is not a pure function, or it was edited",
    ]


def test_a_difference_of_what_does_not_repeat_itself_is_no_surprise(make_run: RunMaker) -> None:
    run = runlog.load(make_run(f"task.name='{MODULE}:Careless'"))
    assert not run.header.reproducible
    result = replay(run, generation=1, index=2)
    assert result.differences == ("fitness",)
    assert "the run is marked as not reproducible: its environment gives other numbers" in text(result)


def test_a_difference_is_explained_by_what_changed_since_the_run(
    make_run: RunMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runlog.load(make_run())
    problem = problems.make_problem(run.config)
    monkeypatch.setattr(repetition, "library_versions", lambda more: {"numpy": "0.1", "new": "1"})
    run.records[0, 1]["returns"] = 0
    result = replay(run, generation=0, index=1, problem=problem)
    assert result.differences == ("returns",)
    was = library_versions()["numpy"]
    assert text(result).endswith(
        f"different: returns\nsince the run, this changed: numpy: {was} -> 0.1; replay with the run's versions"
    )


def test_a_child_that_raised_raises_again_with_its_traceback(
    make_run: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run()
    loop = Loop(cfg.from_mapping(CONFIG, [f"task.name={MODULE}:Broken"]), Path("runs/broken.h5"))
    RunLog.open(loop.path, loop.header()).close()
    assert cli.main(["replay", "runs/broken.h5", "--generation", "0", "--index", "5"]) == 1
    error = capsys.readouterr().err
    assert f"{MODULE}.py" in error
    assert "ZeroDivisionError: the broken task" in error
    last = error.splitlines()[-1]
    assert last.startswith("gamaml: error: rank 0 on ")
    assert last.endswith("repeat it with: gamaml replay runs/broken.h5 --generation 0 --index 5")


NOBODY = {
    "generation_too_high": (
        ["--generation", "3", "--index", "0"],
        "generation=3: expected 0 to 2 (the last of them is the open one), got 3; choose another",
    ),
    "generation_negative": (["--generation", "-1", "--index", "0"], "generation=-1: expected 0 to 2 "),
    "index_too_high": (["--generation", "1", "--index", "6"], "index=6: expected 0 to 5, got 6; choose another"),
    "contender_too_high": (
        ["--generation", "1", "--contender", "3"],
        "contender=3: expected 0 to 2 (the most that strategy 'ga' re-evaluates), got 3; choose another",
    ),
    "episode_too_high": (
        ["--incumbent", "--episode", "2"],
        "episode=2: expected 0 to 1 (re-evaluations of each), got 2; choose another",
    ),
    "episode_of_a_child": (
        ["--generation", "1", "--index", "0", "--episode", "0"],
        "episode=0: expected with a re-evaluated contender, got child 0; leave it out",
    ),
    "elite_of_the_open_generation": (
        ["--generation", "2", "--incumbent"],
        "generation=2: expected 0 to 1 (an incumbent needs a finished generation), got 2; choose another",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), NOBODY.values(), ids=list(NOBODY))
def test_an_evaluation_that_does_not_exist_is_refused(
    arguments: list[str], message: str, make_run: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_run()
    assert cli.main(["replay", str(path), *arguments]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith(f"gamaml: error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [["replay", "--incumbent"], ["inspect"], ["inspect", "--digest"], ["inspect", "--plot", "curve.png"]],
    ids=["replay", "inspect", "digest", "plot"],
)
def test_reading_a_run_starts_neither_mpi_nor_jax(arguments: list[str], make_run: RunMaker, tmp_path: Path) -> None:
    path = make_run()
    for forbidden in ("mpi4py", "jax"):
        (tmp_path / "fake" / forbidden).mkdir(parents=True)
        (tmp_path / "fake" / forbidden / "__init__.py").write_text("import os\nos.abort()\n")
    command, *options = arguments
    done = subprocess.run(
        [sys.executable, "-m", "gamaml", command, str(path), *options],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "fake")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_digest_is_printed_alone(make_run: RunMaker, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_run()
    assert cli.main(["inspect", str(path), "--digest"]) == 0
    assert capsys.readouterr().out == f"{runlog.load(path).digest()}\n"
