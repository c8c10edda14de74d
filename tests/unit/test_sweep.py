from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from gamaml import config as cfg
from gamaml.commands.arguments import parse_seeds
from gamaml.commands.sweep import (
    Sweep,
    pack,
    parse_envs,
    populations_per_job,
    with_env,
)
from gamaml.commands.text import spans
from gamaml.config import ESConfig
from gamaml.errors import ConfigError

ENV = '[env]\nid = "ALE/Frostbite-v5"\n[inner]\nrounds = 0\n[stop]\ngenerations = 1\n'
TASK = '[task]\nname = "navigation"\n[stop]\ngenerations = 1\n'


@pytest.fixture
def atari(tmp_path: Path) -> Path:
    path = tmp_path / "atari.toml"
    path.write_text(ENV)
    return path


def env_config(env_id: str) -> cfg.Config:
    return cfg.from_mapping({"env": {"id": env_id}, "inner": {"rounds": 0}, "stop": {"generations": 1}})


def test_a_sweep_is_configs_by_environments_by_seeds(atari: Path) -> None:
    populations = Sweep((atari,), envs=("Amidar", "ALE/Assault-v4"), seeds=(0, 3)).populations()
    assert [(name, config.env.id, config.seed) for name, config in populations] == [
        ("atari-amidar-seed0", "ALE/Amidar-v5", 0),
        ("atari-amidar-seed3", "ALE/Amidar-v5", 3),
        ("atari-assault-seed0", "ALE/Assault-v4", 0),
        ("atari-assault-seed3", "ALE/Assault-v4", 3),
    ]


def test_without_seeds_and_environments_a_config_keeps_its_own(atari: Path) -> None:
    populations = Sweep((atari,), overrides=("seed=7", "ga.population_size=60")).populations()
    assert [(name, config.seed, config.ga.population_size) for name, config in populations] == [("atari-seed7", 7, 60)]


@pytest.mark.parametrize(
    ("own", "env", "becomes"),
    [
        ("ALE/Frostbite-v5", "Amidar", "ALE/Amidar-v5"),
        ("ALE/Frostbite-v5", "ALE/Amidar-v4", "ALE/Amidar-v4"),
        ("CartPole-v1", "Acrobot", "Acrobot-v1"),
        ("CartPole-v1", "Ant-v5", "Ant-v5"),
        ("gym:CartPole-v1", "Acrobot", "gym:Acrobot-v1"),
        ("my_module:Walk", "Run", "my_module:Run"),
    ],
)
def test_an_environment_is_an_id_or_the_part_that_differs(own: str, env: str, becomes: str) -> None:
    assert with_env(env_config(own), env).env.id == becomes


def test_environments_need_a_config_with_one() -> None:
    config = cfg.from_mapping({"task": {"name": "navigation"}, "stop": {"generations": 1}})
    with pytest.raises(ConfigError, match=r"--envs 'Amidar': expected configs with a section \[env\], got task 'navig"):
        with_env(config, "Amidar")


def test_environments_are_read_from_a_list() -> None:
    assert parse_envs("Amidar, Assault") == ("Amidar", "Assault")
    with pytest.raises(ConfigError, match="expected each environment once, got 'A' twice"):
        parse_envs("A,B,A")
    with pytest.raises(ConfigError, match="got an empty one"):
        parse_envs("A,,B")


@pytest.mark.parametrize("text", ["0", "0-9", "1,4,10-12", "5-6,1", "3,1,2"])
def test_seeds_are_written_as_they_are_read(text: str) -> None:
    assert parse_seeds(spans(parse_seeds(text))) == parse_seeds(text)


def test_enough_populations_interleave_to_keep_the_ranks_busy() -> None:
    big, small = env_config("CartPole-v1"), env_config("CartPole-v1")
    small = dataclasses.replace(small, ga=dataclasses.replace(small.ga, population_size=1000))
    # The simulation's case: 1000 children on 256 ranks want four populations, here rounded up to five.
    assert populations_per_job([small], 256) == 5
    assert populations_per_job([small], 1) == 1
    assert populations_per_job([big, small], 256) == 21  # the default population is 200
    searched = dataclasses.replace(big, strategy="es", es=ESConfig(population_size=1000))
    assert populations_per_job([searched], 256) == 5


def sizes(jobs: list[Sweep]) -> list[int]:
    return [max(1, len(job.envs)) * len(job.paths) * max(1, len(job.seeds)) for job in jobs]


def test_seeds_are_divided_evenly_when_one_job_cannot_take_them() -> None:
    jobs = pack(Sweep((Path("a.toml"),), envs=("A", "B"), seeds=tuple(range(10))), 4)
    assert [(job.envs, spans(job.seeds)) for job in jobs] == [
        (("A",), "0-2"),
        (("A",), "3-5"),
        (("A",), "6-9"),
        (("B",), "0-2"),
        (("B",), "3-5"),
        (("B",), "6-9"),
    ]


def test_environments_share_a_job_when_it_can_take_more_than_the_seeds() -> None:
    jobs = pack(Sweep((Path("a.toml"),), envs=("A", "B", "C", "D", "E"), seeds=(1, 2)), 4)
    assert [job.envs for job in jobs] == [("A",), ("B", "C"), ("D", "E")]
    assert sizes(jobs) == [2, 4, 4]


def test_configs_share_a_job_likewise() -> None:
    paths = tuple(Path(f"{name}.toml") for name in "abc")
    assert [job.paths for job in pack(Sweep(paths), 2)] == [paths[:1], paths[1:]]


@pytest.mark.parametrize("per_job", [1, 2, 3, 7, 10, 11, 50, 200])
def test_no_population_is_lost_and_no_job_too_large(per_job: int, atari: Path) -> None:
    whole = Sweep((atari,), envs=tuple("ABCDEFGHIJK"), seeds=tuple(range(10)))
    jobs = pack(whole, per_job)
    assert max(sizes(jobs)) <= per_job
    names = [name for job in jobs for name, _ in job.populations()]
    assert names == sorted(names, key=[name for name, _ in whole.populations()].index)
    assert len(names) == 110


def test_a_jobs_arguments_are_those_of_gamaml_run() -> None:
    one = Sweep((Path("a.toml"),), overrides=("x.y=1", "z=2"), envs=("A", "B"), seeds=(0, 1))
    assert one.arguments() == ("--set", "x.y=1", "--set", "z=2", "--envs", "A,B", "--seeds", "0-1")
    assert Sweep((Path("a.toml"),)).arguments() == ()


@pytest.mark.parametrize(("text", "seeds"), [("7", [7]), ("0-3", [0, 1, 2, 3]), ("5, 1-2", [5, 1, 2]), ("3-3", [3])])
def test_seeds_are_numbers_and_ranges_in_their_order(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds
