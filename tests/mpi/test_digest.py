"""One answer everywhere: the same science on every layout and MPI, alone or interleaved, killed or not."""

import dataclasses
import itertools
import os
import platform
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from harness import Layout, Mpi, run_mpi
from programs.toys import Sphere, SphereInBatches
from runs import PROGRAMS, SINGLE, digest, journalled, run, settings, started, words

from gamaml import runlog
from gamaml.engine.repetition import replay
from gamaml.evolution.records import NOT_SCIENCE
from gamaml.runlog.journal import FrameType, read_frames

UNEVEN = Layout((3, 2))
COMMIT_NBYTES = 1000
"""Less than a commit of the sphere takes in the journal, more than a start does."""


ENVIRONMENTS = {
    "CartPole-v1": ("gymnasium", "gymnasium", []),
    "Ant-v5": ("mujoco", "mujoco", ["env.normalise_steps=50"]),
    "ALE/Frostbite-v5": ("ale_py", "atari", ["policy.network='nature'"]),
}
"""Id -> the module that it needs, the extra that brings it, and settings."""

SLOW = ("--set", "task.seconds=0.01")
"""Leaves time to be killed in."""


LARGE = ("--set", "task.num_params=40_000")
"""Three parts of an update, and so many parameters that they are stored at the end only."""

RANDOM = ("--set", "strategy=random")
CSA = ("--set", "multifactorial.step_control=csa", "--set", "multifactorial.ranking=pair")
MAML = {
    "waves": list[str](),
    "poles": ["strategy=maml", "maml.first_order=true", "inner.genes=[]", "stop.generations=250"],
}
"""Config -> what makes it one of gradient MAML: a task in JAX, and one on the host."""

RECOMBINED = (*SLOW, "--set", "ga.recombine=3")


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, mpich: Mpi) -> dict[str, str]:
    """Digests of the runs on one rank, by config."""
    sys.path.append(str(PROGRAMS))  # to find SNES again when its run is read
    out = tmp_path_factory.mktemp("reference")
    digests: dict[str, str] = {}
    for name, arguments in {
        "navigation": ["navigation.toml"],
        "poles": ["poles.toml"],
        "sphere": ["sphere.toml"],
        "slow sphere": ["sphere.toml", *SLOW],
        "recombined": ["sphere.toml", *RECOMBINED],
        "es": ["es.toml", *SLOW],
        "large es": ["es.toml", *LARGE],
        "multifactorial": ["multifactorial.toml", *SLOW],
        "large csa": ["multifactorial.toml", *LARGE, *CSA],
        "random": ["sphere.toml", *RANDOM],
        "snes": ["snes.toml", *SLOW],
    }.items():
        run(mpich, SINGLE, arguments[0], out / name, *arguments[1:])
        digests[name] = digest(out / name)
    return digests


def test_every_layout_gives_the_digest_of_one_rank(
    mpi: Mpi, layout: Layout, tmp_path: Path, reference: dict[str, str]
) -> None:
    run(mpi, layout, "sphere.toml", tmp_path)
    assert digest(tmp_path) == reference["sphere"]


@pytest.mark.parametrize("layout", [Layout((2,)), UNEVEN], ids=str)
@pytest.mark.parametrize("name", ["navigation", "poles"])
def test_meta_learning_in_jax_and_on_the_host_gives_the_digest_of_one_rank(
    mpi: Mpi, layout: Layout, tmp_path: Path, reference: dict[str, str], name: str
) -> None:
    run(mpi, layout, f"{name}.toml", tmp_path)
    assert digest(tmp_path) == reference[name]


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_environments_give_the_digest_of_one_rank(mpich: Mpi, tmp_path: Path, env_id: str) -> None:
    module, extra, more = ENVIRONMENTS[env_id]
    if subprocess.run([mpich.python, "-c", f"import {module}"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"needs {module} in {mpich.environment}: pip install 'gamaml[{extra}]'")
    digests: set[str] = set()
    for layout in (SINGLE, Layout((3,)), Layout((2, 1))):
        out = tmp_path / str(layout)
        run(mpich, layout, "environment.toml", out, *settings([f"env.id='{env_id}'", *more]))
        digests.add(digest(out))
    assert len(digests) == 1


def test_the_run_file_tells_of_the_environments_interpreter_and_that_it_does_not_repeat_itself(
    mpi: Mpi, tmp_path: Path
) -> None:
    careless = ["env.id='toy_env:Careless'", f"env.python='{sys.executable}'"]
    run_mpi(
        words("environment.toml", tmp_path, *settings([*careless, "stop.generations=1"])),
        ranks=2,
        mpi=mpi,
        cwd=Path(__file__).parents[1] / "unit",
    )
    header = runlog.load(tmp_path / "run.h5").header
    assert not header.reproducible
    assert {name: header.versions[name] for name in ("env.python", "env.numpy")} == {
        "env.python": platform.python_version(),
        "env.numpy": np.__version__,
    }


@pytest.mark.parametrize("layout", [SINGLE, UNEVEN], ids=str)
def test_children_in_blocks_and_in_batches_are_those_one_by_one(
    mpi: Mpi, layout: Layout, tmp_path: Path, reference: dict[str, str]
) -> None:
    # Without sleeping an evaluation is short enough for blocks; 24 children and 12 re-evaluations leave ragged batches.
    for name in ("Sphere", "SphereInBatches"):
        fast = ["task.seconds=0", f"task.name='toys:{name}'"]
        run(mpi, layout, "sphere.toml", tmp_path / name, *settings(fast))
    one_by_one, in_batches = (runlog.load(tmp_path / name / "run.h5") for name in ("Sphere", "SphereInBatches"))
    for name in set(one_by_one.records.dtype.names or ()) - set(NOT_SCIENCE):
        assert one_by_one.records[name].tobytes() == in_batches.records[name].tobytes(), name
        assert one_by_one.reevaluations[name].tobytes() == in_batches.reevaluations[name].tobytes(), name
    replayed = replay(in_batches, generation=3, index=7, problem=SphereInBatches())
    assert replayed.differences == ()


@pytest.mark.parametrize("layout", [Layout((3,)), UNEVEN], ids=str)
def test_children_of_several_parents_are_the_same_everywhere(
    mpi: Mpi, layout: Layout, tmp_path: Path, reference: dict[str, str]
) -> None:
    run(mpi, layout, "sphere.toml", tmp_path, *RECOMBINED)
    assert digest(tmp_path) == reference["recombined"] != reference["slow sphere"]
    loaded = runlog.load(tmp_path / "run.h5")
    assert replay(loaded, generation=7, index=5, problem=Sphere()).differences == ()
    assert replay(loaded, generation=11, contender=1, episode=2, problem=Sphere()).differences == ()


@pytest.mark.parametrize(
    ("layout", "how"),
    [
        (Layout((3,)), "large es"),
        (UNEVEN, "large es"),
        (UNEVEN, "random"),
        (Layout((3,)), "large csa"),
        (UNEVEN, "large csa"),
        (UNEVEN, "multifactorial"),
        (Layout((3,)), "snes"),
        (Layout((2, 1)), "snes"),
    ],
)
def test_every_strategy_gives_the_digest_of_one_rank(
    mpi: Mpi, layout: Layout, tmp_path: Path, reference: dict[str, str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PROGRAMS)  # to find SNES again when the run is read
    config, more = {
        "large es": ("es.toml", LARGE),
        "large csa": ("multifactorial.toml", LARGE + CSA),
        "multifactorial": ("multifactorial.toml", SLOW),
        "random": ("sphere.toml", RANDOM),
        "snes": ("snes.toml", SLOW),
    }[how]
    run(mpi, layout, config, tmp_path, *more)
    assert digest(tmp_path) == reference[how]
    loaded = runlog.load(tmp_path / "run.h5")
    problem = Sphere(num_params=loaded.header.num_params)
    assert replay(loaded, generation=7, index=5, problem=problem).differences == ()
    assert replay(loaded, generation=11, contender=0, episode=2, problem=problem).differences == ()


def test_the_stored_centre_of_es_has_the_bits_of_the_one_computed_again(mpi: Mpi, tmp_path: Path) -> None:
    run(mpi, UNEVEN, "es.toml", tmp_path, *LARGE)
    loaded = runlog.load(tmp_path / "run.h5")
    problem = Sphere(num_params=loaded.header.num_params)
    assert [snapshot.generation for snapshot in loaded.snapshots] == [12]
    again = dataclasses.replace(loaded, snapshots=[])
    stored = loaded.parameters(problem=problem)
    assert stored.tobytes() == loaded.snapshots[0].vectors[0].tobytes()
    assert again.parameters(problem=problem).tobytes() == stored.tobytes()
    run(mpi, UNEVEN, "es.toml", tmp_path / "small")
    small = runlog.load(tmp_path / "small" / "run.h5")
    assert [snapshot.generation for snapshot in small.snapshots] == list(range(1, 13))


@pytest.mark.parametrize("recombine", [1, 4])
def test_every_generation_takes_the_same_bytes(mpich: Mpi, tmp_path: Path, recombine: int) -> None:
    changes = ["stop.generations=40", f"ga.recombine={recombine}"]
    run(mpich, SINGLE, "sphere.toml", tmp_path, *settings(changes))
    frames = read_frames(tmp_path / "run.run" / "journal")
    sizes = [len(payload) for kind, payload, _ in frames if kind is FrameType.COMMIT]
    assert len(sizes) == 40
    # Generation 0 has no previous elite, but as many candidates as the others.
    assert len(set(sizes)) == 1


def test_another_seed_gives_another_digest(mpich: Mpi, tmp_path: Path, reference: dict[str, str]) -> None:
    run(mpich, SINGLE, "sphere.toml", tmp_path, "--set", "seed=4")
    assert digest(tmp_path) != reference["sphere"]


def test_interleaved_populations_equal_those_that_ran_alone(mpi: Mpi, mpich: Mpi, tmp_path: Path) -> None:
    configs, seeds = ("sphere", "navigation", "es"), (3, 4)
    words = ["gamaml", "run", *(PROGRAMS / f"{config}.toml" for config in configs), "--seeds", "3-4"]
    together = [*words, "--out", tmp_path / "together"]
    run_mpi(together, ranks=UNEVEN.ranks, nodes=UNEVEN.nodes, mpi=mpi, cwd=PROGRAMS, timeout=180)
    for config, seed in itertools.product(configs, seeds):
        alone = tmp_path / f"{config}{seed}"
        run(mpich, SINGLE, f"{config}.toml", alone, "--set", f"seed={seed}")
        assert runlog.load(tmp_path / "together" / f"{config}-seed{seed}.h5").digest() == digest(alone)


def test_slow_node_gets_less_of_the_work_and_changes_nothing(mpi: Mpi, tmp_path: Path) -> None:
    slow = ["task.seconds=0.01", "task.slowness=4", "task.rank=2"]
    run(mpi, Layout((2, 1)), "sphere.toml", tmp_path, *settings(slow))
    records = runlog.load(tmp_path / "run.h5").records
    # By ranks alone it would be 8 of 24 children in every generation.
    assert int(np.sum(records["rank"][-4:] == 2)) < 4 * 8
    run(mpi, SINGLE, "sphere.toml", tmp_path / "even", *settings(["task.seconds=0"]))
    even = runlog.load(tmp_path / "even" / "run.h5").records
    for name in set(records.dtype.names or ()) - set(NOT_SCIENCE):
        assert records[name].tobytes() == even[name].tobytes(), name


def test_part_of_the_ranks_is_as_good_as_all_of_them(mpi: Mpi, tmp_path: Path) -> None:
    run_mpi(["python", PROGRAMS / "communicators.py", tmp_path], ranks=UNEVEN.ranks, nodes=UNEVEN.nodes, mpi=mpi)
    digests = [
        [runlog.load(path).digest() for path in sorted((tmp_path / who).glob("*.h5"))] for who in ("all", "halves")
    ]
    assert len(set(digests[0])) == 2
    assert digests[0] == digests[1]


@pytest.mark.parametrize(
    ("victim", "how"),
    [
        ("rank", "slow sphere"),
        ("everything", "slow sphere"),
        ("rank", "recombined"),
        ("everything", "es"),
        ("everything", "multifactorial"),
        ("rank", "multifactorial"),
        ("rank", "snes"),
    ],
)
def test_run_killed_three_times_equals_the_uninterrupted_one(
    mpi: Mpi, tmp_path: Path, reference: dict[str, str], victim: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PROGRAMS)  # to find SNES again when the run is read
    config, settings = f"{how if how in ('es', 'snes', 'multifactorial') else 'sphere'}.toml", SLOW
    if how == "recombined":
        settings = RECOMBINED
    chance = random.Random(f"{mpi.name} {victim}")
    for _ in range(3):
        before = journalled(tmp_path)
        with started(mpi, UNEVEN, config, tmp_path, "--resume", *settings) as job:
            # A run killed in its first generation again and again would never end, so one commit is awaited.
            job.wait_until(lambda start=before: journalled(tmp_path) > start + COMMIT_NBYTES)
            time.sleep(chance.uniform(0.0, 0.2))
            if victim == "rank":
                os.kill(chance.choice(list(job.ranks().values())), signal.SIGKILL)
                assert job.wait(30).returncode not in (0, 75)
    assert not runlog.load(tmp_path / "run.h5").finished
    run(mpi, UNEVEN, config, tmp_path, "--resume", *settings)
    assert digest(tmp_path) == reference[how]


@pytest.mark.parametrize("name", ["waves", "poles"])
def test_gradient_maml_killed_and_interrupted_equals_the_uninterrupted_run(
    mpich: Mpi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.syspath_prepend(PROGRAMS)  # to find the task again when the updates are repeated
    more = settings(MAML[name])
    run(mpich, SINGLE, f"{name}.toml", tmp_path / "whole", *more)
    whole, out = runlog.load(tmp_path / "whole" / "run.h5"), tmp_path / "parts"
    for how in (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM):
        before = journalled(out)
        with started(mpich, SINGLE, f"{name}.toml", out, "--resume", *more) as job:
            job.wait_until(lambda start=before: journalled(out) > start + 2 * COMMIT_NBYTES)
            os.kill(next(iter(job.ranks().values())), how)
            job.wait(30)
        assert not runlog.load(out / "run.h5").finished
    run(mpich, SINGLE, f"{name}.toml", out, "--resume", *more)
    parts = runlog.load(out / "run.h5")
    assert parts.digest() == whole.digest()
    assert parts.incumbent_parameters().tobytes() == whole.incumbent_parameters().tobytes()
    assert parts.snapshots[-1].generation == 250
    for generation in (3, 120, 249):
        assert replay(parts, generation=generation).differences == ()


def test_gradient_maml_stores_what_took_long(mpich: Mpi, tmp_path: Path) -> None:
    program = (
        "import dataclasses; from gamaml import cli; from gamaml.evolution.gradient_maml import GradientMAML; "
        "own = GradientMAML.sizes.fget; "
        "GradientMAML.sizes = property(lambda self: dataclasses.replace(own(self), snapshot_seconds=0.0)); cli.main()"
    )
    arguments = words("waves.toml", tmp_path, *settings(["stop.generations=6"]))
    run_mpi([mpich.python, "-c", program, *arguments[1:]], ranks=1, mpi=mpich, cwd=PROGRAMS)
    assert [snapshot.generation for snapshot in runlog.load(tmp_path / "run.h5").snapshots] == [1, 2, 3, 4, 5, 6]


def test_gradient_maml_on_several_ranks_is_refused_in_one_line(mpi: Mpi, tmp_path: Path) -> None:
    refused = run(mpi, Layout((2,)), "waves.toml", tmp_path, exit_code=2)
    assert "strategy='maml': expected one rank, since its updates follow one from the other, got 2; " in refused.stderr
    assert not (tmp_path / "run.h5").exists()
