from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gamaml import cli
from gamaml import config as cfg
from gamaml.config import Config, EliteConfig, EnvConfig, GAConfig, InnerConfig, NoiseConfig, StopConfig, TaskConfig
from gamaml.config.options import Section, sections
from gamaml.errors import ConfigError

MINIMAL = '[task]\nname = "navigation"\n[stop]\ngenerations = 3\n'
TASK = '[task]\nname = "navigation"\n'
STOP = "[stop]\ngenerations = 3\n"

GA_NAMES = (
    "elite, gene_scale, mutation_scale, mutation_std, mutation_std_final, mutation_std_generations, "
    "num_parents, population_size, recombine"
)
SECTIONS = "custom, env, es, ga, inner, maml, multifactorial, noise, policy, seed, stop, strategy, task"

MALFORMED = {
    "no_task": (
        STOP,
        'task.name, env.id: expected one of them, got neither; write e.g. name = "navigation" below [task], or '
        'id = "CartPole-v1" below [env]',
    ),
    "no_stop": (TASK, "stop: expected at least one criterion, got none; add e.g. generations = 30 below [stop]"),
    "empty_stop": (
        TASK + "[stop]\n",
        "stop: expected at least one criterion, got none; add e.g. generations = 30 below [stop]",
    ),
    "task_without_name": (
        STOP + "[task]\nhorizon = 10\n",
        'task.name: expected a task, got none; write e.g. name = "navigation" below [task]',
    ),
    "task_name_is_a_number": (
        STOP + "[task]\nname = 3\n",
        "task.name: expected a string in quotes, got 3; change its type",
    ),
    "task_is_no_section": (
        'task = "navigation"\n' + STOP,
        "task: expected a section [task], got 'navigation'; write its keys below [task]",
    ),
    "task_setting_is_a_date": (
        TASK + "start = 2026-01-01\n" + STOP,
        "task.start: expected a number, a string, true or false, a list or a section, got a date; write it as a string",
    ),
    "unknown_section": (
        MINIMAL + "[gaa]\n",
        f"gaa: unknown section or name; did you mean 'ga'? known: {SECTIONS}",
    ),
    "unknown_name": (
        MINIMAL + "[ga]\nmutation_sdt = 0.1\n",
        f"ga.mutation_sdt: unknown name; did you mean 'mutation_std'? known: {GA_NAMES}",
    ),
    "unknown_name_in_subsection": (
        MINIMAL + "[ga.elite]\nnumber = 3\n",
        "ga.elite.number: unknown name; known: candidates, episodes",
    ),
    "name_of_another_section": (
        MINIMAL + "[inner]\nmutation_std = 0.1\n",
        "inner.mutation_std: unknown name; did you mean ga.mutation_std?",
    ),
    "name_of_a_section_at_the_top": (
        "mutation_std = 0.1\n" + MINIMAL,
        "mutation_std: unknown section or name; did you mean ga.mutation_std?",
    ),
    "name_of_three_sections": (
        MINIMAL + "[policy]\nstep_size = 0.1\n",
        "policy.step_size: unknown name; did you mean inner.step_size or es.step_size or maml.step_size?",
    ),
    "name_of_the_top_in_a_section": (
        MINIMAL + '[ga]\nstrategy = "es"\n',
        "ga.strategy: unknown name; did you mean strategy?",
    ),
    "section_in_the_wrong_place": (
        MINIMAL + "[elite]\ncandidates = 3\n",
        "elite: unknown section or name; did you mean ga.elite?",
    ),
    "string_for_integer": (
        'seed = "1"\n' + MINIMAL,
        "seed: expected an integer, got '1'; change its type",
    ),
    "float_for_integer": (
        MINIMAL + "[ga]\npopulation_size = 10.0\n",
        "ga.population_size: expected an integer, got 10.0; change its type",
    ),
    "bool_for_integer": (
        MINIMAL + "[inner]\nrounds = true\n",
        "inner.rounds: expected an integer, got True; change its type",
    ),
    "bool_for_number": (
        MINIMAL + "[ga]\nmutation_std = true\n",
        "ga.mutation_std: expected a number, got True; change its type",
    ),
    "integer_for_bool": (
        MINIMAL + "[inner]\nshare_tasks = 1\n",
        "inner.share_tasks: expected true or false, got 1; change its type",
    ),
    "number_for_string": (
        MINIMAL + "[policy]\nactivation = 1\n",
        "policy.activation: expected a string in quotes, got 1; change its type",
    ),
    "number_for_list": (
        MINIMAL + "[policy]\nhidden = 32\n",
        "policy.hidden: expected a list such as [100, 100], got 32; put it in brackets",
    ),
    "string_in_list": (
        MINIMAL + '[policy]\nhidden = [32, "32"]\n',
        "policy.hidden[1]: expected an integer, got '32'; change its type",
    ),
    "zero_width": (
        MINIMAL + "[policy]\nhidden = [0]\n",
        "policy.hidden[0]=0: expected at least 1; choose another value",
    ),
    "convolutions_with_layers": (
        MINIMAL + '[policy]\nnetwork = "nature"\nhidden = [64]\n',
        "policy.hidden=(64,): expected only with other networks, since 'nature' has layers and initial weights "
        "of its own; leave it out",
    ),
    "convolutions_with_activation": (
        MINIMAL + '[policy]\nnetwork = "ga-dist"\nactivation = "tanh"\n',
        "policy.activation='tanh': expected only with other networks, since 'ga-dist' has layers and initial "
        "weights of its own; leave it out",
    ),
    "convolutions_with_output_scale": (
        MINIMAL + '[policy]\nnetwork = "nature"\noutput_scale = 1.0\n',
        "policy.output_scale=1.0: expected only with other networks, since 'nature' has layers and initial "
        "weights of its own; leave it out",
    ),
    "unknown_activation": (
        MINIMAL + '[policy]\nactivation = "tan"\n',
        "policy.activation='tan': unknown; did you mean 'tanh'? known: relu, tanh",
    ),
    "negative_seed": ("seed = -1\n" + MINIMAL, "seed=-1: expected at least 0; choose e.g. 1"),
    "negative_rounds": (
        MINIMAL + "[inner]\nrounds = -1\n",
        "inner.rounds=-1: expected at least 0; choose e.g. 1",
    ),
    "no_batch": (
        MINIMAL + "[inner]\nbatch_size = 0\n",
        "inner.batch_size=0: expected at least 1; choose e.g. 1",
    ),
    "negative_std": (
        MINIMAL + "[policy]\nstd = -1\n",
        "policy.std=-1.0: expected at least 0; choose e.g. 0.5",
    ),
    "logarithm_of_no_std": (
        MINIMAL + "[policy]\nstd = 0\n",
        "policy.std=0.0: expected a number above 0, since its logarithm is evolved; add std_gene = false",
    ),
    "policy_gradient_without_std": (
        MINIMAL + "[policy]\nstd = 0\nstd_gene = false\n[inner]\nrounds = 2\n",
        "policy.std=0.0: expected a number above 0 with inner.rounds=2, since policy gradients need random actions; "
        "choose e.g. 0.5",
    ),
    "discount_above_one": (
        MINIMAL + "[inner]\ndiscount = 1.5\n",
        "inner.discount=1.5: expected a number above 0 and at most 1; choose e.g. 0.99",
    ),
    "discount_nan": (
        MINIMAL + "[inner]\ndiscount = nan\n",
        "inner.discount=nan: expected a number above 0 and at most 1; choose e.g. 0.99",
    ),
    "infinite_step_size": (
        MINIMAL + "[inner]\nstep_size = inf\n",
        "inner.step_size=inf: expected a finite number above 0; choose e.g. 0.1",
    ),
    "unknown_step_size_gene": (
        MINIMAL + '[inner]\nstep_size_gene = "layers"\n',
        "inner.step_size_gene='layers': unknown; did you mean 'layer'? known: global, layer, none, parameter, round",
    ),
    "more_parents_than_children": (
        MINIMAL + "[ga]\npopulation_size = 32\nnum_parents = 40\n[ga.elite]\ncandidates = 0\n",
        "ga.num_parents=40 exceeds ga.population_size=32; choose at most 32",
    ),
    "more_candidates_than_children": (
        MINIMAL + "[ga]\npopulation_size = 5\nnum_parents = 2\n[ga.elite]\ncandidates = 6\n",
        "ga.elite.candidates=6 exceeds ga.population_size=5; choose at most 5",
    ),
    "one_elite_candidate": (
        MINIMAL + "[ga.elite]\ncandidates = 1\n",
        "ga.elite.candidates=1: expected 0 or at least 2, since 1 would re-evaluate the old elite alone; "
        "choose 0 (no elite) or 2",
    ),
    "no_elite_episodes": (
        MINIMAL + "[ga.elite]\nepisodes = 0\n",
        "ga.elite.episodes=0: expected at least 1; choose e.g. 30",
    ),
    "no_mutation": (
        MINIMAL + "[ga]\nmutation_std = 0\n",
        "ga.mutation_std=0.0: expected a finite number above 0; choose e.g. 0.05",
    ),
    "unknown_mutation_scale": (
        MINIMAL + '[ga]\nmutation_scale = "fanin"\n',
        "ga.mutation_scale='fanin': unknown; did you mean 'fan_in'? known: fan_in, uniform",
    ),
    "empty_noise": (
        MINIMAL + "[noise]\nsize = 0\n",
        "noise.size=0: expected at least 1 and at most 4294967296; choose e.g. 268435456",
    ),
    "too_much_noise": (
        MINIMAL + "[noise]\nsize = 4294967297\n",
        "noise.size=4294967297: expected at least 1 and at most 4294967296; choose e.g. 268435456",
    ),
    "no_generations": (
        TASK + "[stop]\ngenerations = 0\n",
        "stop.generations=0: expected at least 1; choose e.g. 100",
    ),
    "negative_seconds": (
        TASK + "[stop]\nseconds = -5\n",
        "stop.seconds=-5.0: expected a finite number above 0; choose e.g. 3600.0",
    ),
    "fitness_nan": (
        TASK + "[stop]\nfitness = nan\n",
        "stop.fitness=nan: expected a number; remove it or choose a target",
    ),
}


def run_cli(*arguments: str | Path) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refuse(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `gamaml run`, expect exit code 2 and one line, and nothing written; return the line."""
    before = sorted(folder.rglob("*"))
    assert run_cli("run", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert sorted(folder.rglob("*")) == before
    return err.strip()


@pytest.mark.parametrize(("text", "message"), MALFORMED.values(), ids=list(MALFORMED))
def test_malformed_config_is_refused_in_one_line_and_nothing_is_written(
    text: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.toml").write_text(text)
    assert refuse(folder, capsys, "bad.toml") == f"gamaml: error: {message}"


UNREADABLE = {
    "not_toml": (
        b"seed = \n",
        "expected valid TOML, got: Invalid value (at line 1, column 8); correct the file",
    ),
    "not_utf8": (b"seed = 1 # \xff\n", "expected UTF-8 text, got: 'utf-8' codec can't decode byte 0xff"),
    "huge_integer": (b"seed = " + b"9" * 5000, "expected valid TOML, got: Exceeds the limit (4300 digits)"),
    "endless_nesting": (b"seed = " + b"[" * 100_000, "expected valid TOML, got: "),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=list(UNREADABLE))
def test_a_file_that_is_no_toml_is_refused_in_one_line(
    content: bytes, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.toml").write_bytes(content)
    assert refuse(folder, capsys, "bad.toml").startswith(f"gamaml: error: config 'bad.toml': {message}")


def test_an_absent_config_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refuse(folder, capsys, "absent.toml")
    assert line == "gamaml: error: config 'absent.toml': expected a TOML file, got no such file; check the path"


def test_a_folder_is_no_config(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refuse(folder, capsys, ".")
    assert line == "gamaml: error: config '.': expected a readable file, got: Is a directory; check the path"


def test_a_line_break_in_a_name_does_not_break_the_message(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.toml").write_text('"se\\ned" = 1\n' + MINIMAL)
    assert refuse(folder, capsys, "bad.toml").startswith("gamaml: error: se ed: unknown section or name")


BAD_SETS = {
    "no_equals": (
        "seed",
        "--set 'seed': expected NAME=VALUE with a dotted name; write e.g. ga.mutation_std=0.01",
    ),
    "no_name": ("=1", "--set '=1': expected NAME=VALUE with a dotted name; write e.g. ga.mutation_std=0.01"),
    "empty_part": ("ga..x=1", "--set 'ga..x=1': expected NAME=VALUE with a dotted name; write e.g. "),
    "below_a_value": (
        "seed.x=1",
        "--set seed.x: expected seed to be a section, got a value; set seed itself",
    ),
    "unknown": ("ga.popsize=1", "ga.popsize: unknown name; did you mean 'population_size'? known: "),
    "nothing": ("seed=", "seed: expected an integer, got ''; change its type"),
    "python_bool": ("inner.share_tasks=True", "inner.share_tasks: expected true or false, got 'True'; "),
}


@pytest.mark.parametrize(("override", "message"), BAD_SETS.values(), ids=list(BAD_SETS))
def test_malformed_set_is_refused_in_one_line(
    override: str, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "good.toml").write_text("seed = 1\n" + MINIMAL)
    line = refuse(folder, capsys, "good.toml", "--set", override)
    assert line.startswith(f"gamaml: error: {message}")


def load(folder: Path, text: str, *overrides: str) -> Config:
    (folder / "config.toml").write_text(text)
    return cfg.load(folder / "config.toml", overrides)


def test_set_takes_every_kind_of_value(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        MINIMAL,
        "seed=7",
        "ga.mutation_std = 1e-3",
        "ga.elite={candidates=0}",
        "policy.hidden=[8, 4]",
        "policy.activation=tanh",
        'inner.step_size_gene="layer"',
        "inner.share_tasks=false",
        "task.horizon=50",
        "task.name=my_module:MyTask",
        "stop.fitness=-1",
    )
    assert config.seed == 7
    assert config.ga.mutation_std == 0.001
    assert config.ga.elite == EliteConfig(candidates=0)
    assert config.policy.hidden == (8, 4)
    assert config.policy.activation == "tanh"
    assert config.inner.step_size_gene == "layer"
    assert config.inner.share_tasks is False
    assert config.task == TaskConfig("my_module:MyTask", {"horizon": 50})
    assert config.stop == StopConfig(generations=3, fitness=-1.0)


def test_of_two_sets_the_later_one_wins(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, "seed=7", "seed=8").seed == 8


def test_set_does_not_change_the_mapping_it_is_given() -> None:
    mapping = {"task": {"name": "navigation"}, "stop": {"generations": 1}, "ga": {"num_parents": 3}}
    cfg.from_mapping(mapping, ["ga.num_parents=4"])
    assert mapping["ga"] == {"num_parents": 3}


def test_what_the_toml_leaves_out_has_the_papers_default(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL)
    assert config.ga == GAConfig()
    assert config.noise == NoiseConfig(size=268435456)


def test_a_config_survives_the_way_through_a_mapping_and_json(tmp_path: Path) -> None:
    text = (
        'seed = 3\n[task]\nname = "m:T"\nscale = [1, 2.5]\n[task.more]\ndeep = true\n'
        "[policy]\nhidden = [3]\n[ga]\nmutation_std_final = 0.01\n[stop]\ngenerations = 5\n"
    )
    config = load(tmp_path, text)
    assert cfg.from_mapping(cfg.to_mapping(config)) == config
    assert cfg.from_mapping(json.loads(cfg.to_json(config))) == config


def test_json_is_the_same_whatever_the_order_in_the_toml(tmp_path: Path) -> None:
    one = load(tmp_path, "[task]\nname = 'm:T'\na = 1\nb = 2\n" + STOP)
    other = load(tmp_path, STOP + "[task]\nb = 2\na = 1\nname = 'm:T'\n")
    assert cfg.to_json(one) == cfg.to_json(other)


def test_science_is_everything_but_the_stop_criteria(tmp_path: Path) -> None:
    config = load(tmp_path, MINIMAL, "task.horizon=50")
    science = cfg.science(config)
    assert science["task.horizon"] == 50
    assert science["ga.elite.candidates"] == 10
    assert science["seed"] == 1
    assert not any(name.startswith("stop") for name in science)
    later = dataclasses.replace(config, stop=StopConfig(generations=99, seconds=1.0))
    assert cfg.science(later) == science
    assert cfg.science(dataclasses.replace(config, seed=2)) != science


def test_a_section_built_in_python_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="^ga.num_parents=3 exceeds ga.population_size=2; choose at most 2$"):
        GAConfig(population_size=2, num_parents=3, elite=EliteConfig(candidates=0))


def test_a_setting_that_no_run_file_could_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^task\.rates\[1\]: expected a number, .* got a complex; "):
        Config(task=TaskConfig("m:T", {"rates": [1, 2j]}), stop=StopConfig(1))


def inner_of_env(**inner: object) -> InnerConfig:
    mapping = {"env": {"id": "CartPole-v1"}, "stop": {"generations": 1}}
    return cfg.from_mapping({**mapping, **({"inner": inner} if inner else {})}).inner


def test_an_environment_has_no_rounds_one_task_and_one_episode_by_default() -> None:
    assert inner_of_env() == InnerConfig(rounds=0, num_tasks=1, episodes=1)
    assert inner_of_env(step_size=0.5) == InnerConfig(rounds=0, num_tasks=1, episodes=1, step_size=0.5)


def test_what_is_given_for_an_environment_stays() -> None:
    assert inner_of_env(episodes=3) == InnerConfig(rounds=0, num_tasks=1, episodes=3)
    assert inner_of_env(num_tasks=4) == InnerConfig(rounds=0, num_tasks=4, episodes=1)


@pytest.mark.parametrize("rounds", [0, 2])
def test_with_rounds_given_an_environment_has_the_defaults_of_a_task(rounds: int) -> None:
    assert inner_of_env(rounds=rounds) == InnerConfig(rounds=rounds, num_tasks=8, episodes=20)


def test_an_override_counts_as_given(tmp_path: Path) -> None:
    text = STOP + '[env]\nid = "CartPole-v1"\n'
    assert load(tmp_path, text, "inner.rounds=1").inner == InnerConfig()
    assert load(tmp_path, MINIMAL, "inner.episodes=7").inner == InnerConfig(episodes=7)


def test_an_environment_named_in_python_has_the_same_defaults() -> None:
    env, stop = EnvConfig(id="CartPole-v1"), StopConfig(generations=1)
    config = Config(env=env, stop=stop)
    assert config.inner == InnerConfig(rounds=0, num_tasks=1, episodes=1)
    assert dataclasses.replace(config, seed=2).inner == config.inner
    assert Config(env=env, stop=stop, inner=InnerConfig()).inner == InnerConfig(rounds=1, num_tasks=8, episodes=20)


def test_limits_of_episodes_without_an_id_leave_a_task_its_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, MINIMAL, "env.max_steps=5").inner == InnerConfig()


def test_a_run_of_an_environment_that_names_everything_is_read_as_it_was() -> None:
    config = Config(env=EnvConfig(id="CartPole-v1"), stop=StopConfig(generations=1), inner=InnerConfig())
    assert cfg.from_mapping(json.loads(cfg.to_json(config))) == config


def test_what_may_change_on_resume_is_no_science(tmp_path: Path) -> None:
    text = STOP + '[env]\nid = "CartPole-v1"\n'
    changed = load(tmp_path, text, "env.python=python3", "env.max_seconds=3", "stop.fitness=1", "stop.seconds=9")
    assert cfg.science(changed) == cfg.science(load(tmp_path, text))
    assert cfg.science(load(tmp_path, text, "env.max_steps=3"))["env.max_steps"] == 3


@pytest.mark.parametrize("section", list(sections(Config)), ids=lambda section: section.path or "root")
def test_every_name_has_a_meaning_and_a_value_to_show(section: Section) -> None:
    for entry in section.entries:
        assert entry.option.meaning.endswith("."), entry.path
        assert entry.default not in (None, "") or entry.option.example is not None or entry.hint == Mapping[str, Any]


@pytest.mark.parametrize(
    ("schedule", "name", "length"),
    [
        ("[ga]\nmutation_std_final = 0.01\n", "ga.mutation_std_final=0.01", "ga.mutation_std_generations"),
        ("[es]\nstep_size_final = 0.01\n", "es.step_size_final=0.01", "es.decay_generations"),
    ],
)
def test_a_schedule_over_a_run_without_a_known_length_is_refused(
    tmp_path: Path, schedule: str, name: str, length: str
) -> None:
    head = ('strategy = "es"\n' if "[es]" in schedule else "") + '[task]\nname = "m:T"\n'
    message = f"^{name}: expected a schedule that ends with the run, got a .stop. without .*, or {length}$"
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, f"{head}{schedule}[stop]\nseconds = 5\nfitness = 3\n")
    assert load(tmp_path, f"{head}{schedule}[stop]\nenvironment_steps = 5\n").stop.environment_steps == 5
    assert load(tmp_path, f"{head}{schedule}[stop]\nseconds = 5\n", f"{length}=7").stop.seconds == 5
