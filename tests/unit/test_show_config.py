"""`gamaml config`: what it writes loads, says the truth, and is what the examples show."""

from __future__ import annotations

import importlib.util
import json
import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gamaml import cli, problems
from gamaml import config as cfg
from gamaml.commands.show_config import config_for, reference_page
from gamaml.config.commented_toml import Choice, commented_toml
from gamaml.config.json_schema import schema
from gamaml.config.options import Entry, sections
from gamaml.config.reference import reference
from gamaml.config.toml_values import toml
from gamaml.errors import ConfigError
from gamaml.problems.registry import READY_MADE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ENTRIES = [entry for section in sections(cfg.Config) for entry in section.entries]

LIBRARIES = {"CartPole-v1": "gymnasium", "Pendulum-v1": "gymnasium", "Ant-v5": "mujoco", "HalfCheetah-v5": "mujoco"}
LIBRARIES |= {"ALE/SpaceInvaders-v5": "ale_py", "roboschool:RoboschoolAnt-v1": "json"}
EXAMPLE_OF = {
    **{"ant_direction": "ant_direction", "bandit": "bandit", "cheetah_direction": "cheetah_direction"},
    **{"navigation": "navigation", "sinusoid": "sinusoid", "roboschool_ant_direction": "roboschool_ant_direction"},
    **{"CartPole-v1": "cartpole", "Ant-v5": "ant", "ALE/SpaceInvaders-v5": "space_invaders_small"},
    "roboschool:RoboschoolAnt-v1": "roboschool_ant",
}


def written_for(name: str) -> str:
    if importlib.util.find_spec(LIBRARIES.get(name, "json")) is None:
        pytest.skip(f"needs {LIBRARIES[name]}")
    return config_for(name)


def loaded(text: str) -> cfg.Config:
    return cfg.from_mapping(tomllib.loads(text))


def without_defaults(text: str) -> str:
    """Return a written config without the lines whose value is the default that the comment above states."""
    kept: list[str] = []
    stated = None
    has_env = "[env]\n\n" in text and re.search(r"^id = ", text, re.MULTILINE) is not None
    for line in text.splitlines():
        default = re.search(r"; default (.+?)(?:, or (.+) with env\.id and no inner\.rounds)?\.$", line)
        if default is not None:
            stated = default[2] if has_env and default[2] else default[1]
        elif not line.startswith("#"):
            if line.partition(" = ")[2] != stated:
                kept.append(line)
            stated = None
    return "\n".join(kept)


@pytest.mark.parametrize("name", [*READY_MADE, *LIBRARIES])
def test_a_written_config_loads_and_states_the_defaults_that_the_reader_takes(name: str) -> None:
    text = written_for(name)
    config = loaded(text)
    assert config.subject == name
    short = without_defaults(text)
    assert len(short) < len(text) / 5
    assert loaded(short) == config


@pytest.mark.parametrize("name", [*READY_MADE, *LIBRARIES])
def test_a_written_config_has_every_section_and_every_name_once(name: str) -> None:
    text = written_for(name)
    for section in sections(cfg.Config):
        if section.path:
            assert len(re.findall(rf"^#?\[{re.escape(section.path)}\]$", text, re.MULTILINE)) == 1
    parts = re.split(r"^#?\[.+\]$", text, flags=re.MULTILINE)
    for part, section in zip(parts, sections(cfg.Config), strict=True):
        names = re.findall(r"^#?(\w+) =", part, re.MULTILINE)
        assert [entry.name for entry in section.entries if not entry.option.takes_rest] == [
            name for name in names if section.path != "task" or name == "name"
        ]
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize(("name", "example"), EXAMPLE_OF.items(), ids=list(EXAMPLE_OF))
def test_the_settings_are_those_of_the_example(name: str, example: str) -> None:
    shown = cfg.load(EXAMPLES / f"{example}.toml")
    written = loaded(written_for(name))
    arguments = written.task.settings
    assert {**arguments, **shown.task.settings} == arguments
    assert cfg.to_mapping(written) | {"task": None} == cfg.to_mapping(shown) | {"task": None}


@pytest.mark.parametrize("name", [name for name in READY_MADE if not name.startswith("roboschool")])
def test_the_noise_table_holds_the_parameters_many_times(name: str) -> None:
    if name.startswith(("ant", "cheetah")) and importlib.util.find_spec("mujoco") is None:
        pytest.skip("needs mujoco")
    config = loaded(config_for(name))
    assert problems.make_problem(config).num_params * 1024 <= config.noise.size


def test_cartpole_stops_where_gymnasium_counts_it_as_solved() -> None:
    config = loaded(written_for("CartPole-v1"))
    assert config.stop.fitness == 475
    assert (config.inner.rounds, config.inner.episodes, config.inner.num_tasks) == (0, 1, 1)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write a module of the user's; give its name."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    source = """
        class Task:
            shapes = {"w": (2, 1)}

            def __init__(self, shots: int = 5, slope: object = None):
                pass

            def sample(self, key):
                return key

            def loss(self, params, task, key):
                return 0.0

        class Demanding(Task):
            def __init__(self, shots: int, depth: int = 2):
                pass

        class Empty:
            pass
    """
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_task_of_the_users_is_shown_with_its_arguments(module: str) -> None:
    text = config_for(f"{module}:Task")
    config = loaded(text)
    assert config.task == cfg.TaskConfig(f"{module}:Task", {"shots": 5})
    assert "\n#slope =\n" in text
    assert config.noise.size == 2**22
    assert problems.make_problem(config).num_params > 0


def test_an_argument_without_a_default_is_left_to_the_user(module: str) -> None:
    text = config_for(f"{module}:Demanding")
    assert "\n#shots =\n" in text
    assert loaded(text).task.settings == {"depth": 2}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("navigatoin", "config 'navigatoin': expected a ready-made task, a class \"my_module:MyTask\", or "),
        ("{module}:Tsk", "task.name='{module}:Tsk': expected a class 'Tsk' in module '{module}', got none; did you "),
        ("{module}:Empty", "task '{module}:Empty': expected a task, got Empty, which for the kind "),
        ("no_such:Task", "task.name='no_such:Task': expected an importable module 'no_such', got none; "),
        ("CartPol-v1", "env.id='CartPol-v1': unknown environment; did you mean 'CartPole-v1'"),
    ],
)
def test_what_is_neither_task_nor_environment_is_refused_in_one_line(
    name: str, message: str, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name.endswith("-v1"):
        pytest.importorskip("gymnasium")
    assert cli.main(["config", name.format(module=module)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"gamaml: error: {message.format(module=module)}")


@pytest.mark.parametrize("arguments", [[], ["navigation", "--schema"], ["--schema", "--reference"]])
def test_one_thing_is_written_at_a_time(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", *arguments]) == 2
    assert capsys.readouterr().err.endswith("see gamaml config --help\n")


def test_the_command_writes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "navigation"]) == 0
    assert capsys.readouterr().out == config_for("navigation")
    assert cli.main(["config", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(schema()))
    assert cli.main(["config", "--reference"]) == 0
    assert capsys.readouterr().out == reference_page()


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "config.md").read_text()
    assert page == reference_page(), "write it anew: gamaml config --reference > docs/config.md"


def test_the_reference_page_has_every_name_with_what_may_change() -> None:
    page = reference({"toy": ("a toy", {"size": 3, "hard": True})})
    for entry in ENTRIES:
        assert entry.option.takes_rest or f"- `{entry.name}` (" in page
    assert "- `toy`: a toy; `size = 3`, `hard = true`." in page
    assert page.count("may change on resume") == sum(entry.option.may_change for entry in ENTRIES)
    assert max(map(len, page.splitlines())) <= 120


def test_a_section_of_another_strategy_is_commented_out() -> None:
    choices = {"task.name": Choice("navigation"), "stop.generations": Choice(1)}
    text = commented_toml([], choices)
    assert "\n#[es]\n" in text and "\n#beta1 = 0.9\n" in text
    chosen = commented_toml([], {**choices, "strategy": Choice("es", "a reason."), "es.std": Choice(0.3)})
    assert "\n# Here: a reason.\nstrategy = " in chosen and "\n#[maml]\n" in chosen
    assert loaded(chosen).es == cfg.ESConfig(std=0.3)
    own = commented_toml([], {**choices, "strategy": Choice("my_module:MyStrategy")})
    assert "\n#[custom]\n" in text and "\n[custom]\n" in own and "\n#[es]\n" in own


@pytest.mark.parametrize(
    "value", [True, 3, -12_345, 1e-05, 0.1, 'a "b" \\ ü', [1, 2], [], {"a b": [1.5], "c": {"d": False}}, {}]
)
def test_values_in_toml_are_read_back(value: Any) -> None:
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def mistakes(value: Any, rules: dict[str, Any], path: str = "") -> list[str]:
    """Return where a value breaks a schema, by the few keywords that ours has."""
    kinds: dict[str, Any] = {"integer": int, "number": (int, float), "boolean": bool, "string": str}
    kind = {**kinds, "object": dict, "array": list}.get(rules.get("type", ""), object)
    if not isinstance(value, kind) or (isinstance(value, bool) and rules.get("type") in ("integer", "number")):
        return [f"{path}: no {rules['type']}"]
    found = [f"{path}: lacks {name}" for name in rules.get("required", ()) if name not in value]
    if "enum" in rules and value not in rules["enum"]:
        found.append(f"{path}: no choice")
    broken = {
        "minimum": lambda bound: value < bound,
        "exclusiveMinimum": lambda bound: value <= bound,
        "maximum": lambda bound: value > bound,
        "exclusiveMaximum": lambda bound: value >= bound,
        "pattern": lambda pattern: re.search(pattern, str(value)) is None,
    }
    found += [f"{path}: breaks {name}" for name in broken if name in rules and broken[name](rules[name])]
    if "anyOf" in rules and all(mistakes(value, option, path) for option in rules["anyOf"]):
        found.append(f"{path}: none of anyOf")
    for index, item in enumerate(value if isinstance(value, list) else []):
        found += mistakes(item, rules.get("items", {}), f"{path}[{index}]")
    for name, item in (value if isinstance(value, dict) else {}).items():
        if name in rules.get("properties", {}):
            found += mistakes(item, rules["properties"][name], f"{path}.{name}")
        elif rules.get("additionalProperties", True) is False:
            found.append(f"{path}.{name}: unknown")
    return found


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_the_schema_accepts_the_examples(path: Path) -> None:
    assert mistakes(tomllib.loads(path.read_text()), schema()) == []


def test_the_schema_accepts_what_the_command_writes() -> None:
    assert mistakes(tomllib.loads(config_for("navigation")), schema()) == []


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        ({"stop": None}, ": lacks stop"),
        ({"task": None}, ": none of anyOf"),
        ({"task": None, "env": {"max_steps": 3}}, ": none of anyOf"),
        ({"seed": -1}, ".seed: breaks minimum"),
        ({"mutation_std": 0.1}, ".mutation_std: unknown"),
        ({"inner": {"rounds": 1.5}}, ".inner.rounds: no integer"),
        ({"inner": {"genes": ["discont"]}}, ".inner.genes[0]: no choice"),
        ({"inner": {"learner": "mine"}}, ".inner.learner: none of anyOf"),
        ({"policy": {"hidden": [0]}}, ".policy.hidden[0]: breaks minimum"),
        ({"ga": {"elite": {"size": 3}}}, ".ga.elite.size: unknown"),
        ({"es": {"beta1": 1.0}}, ".es.beta1: breaks exclusiveMaximum"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(change: dict[str, Any], mistake: str) -> None:
    good = {"task": {"name": "navigation", "horizon": 3}, "stop": {"generations": 1}, "strategy": "es"}
    assert mistakes(good, schema()) == []
    mapping = {name: value for name, value in {**good, **change}.items() if value is not None}
    assert mistakes(mapping, schema()) == [mistake]
    with pytest.raises(ConfigError):
        cfg.from_mapping(mapping)


def test_the_schema_lets_a_learner_of_ones_own_pass() -> None:
    mapping = {"task": {"name": "m:T"}, "stop": {"generations": 1}, "inner": {"learner": "my_module:my_loss"}}
    assert mistakes(mapping, schema()) == []
    assert cfg.from_mapping(mapping).inner.learner == "my_module:my_loss"


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.path for entry in ENTRIES])
def test_the_schema_explains_every_name(entry: Entry) -> None:
    rules: Any = schema()
    *above, name = entry.path.split(".")
    for section in above:
        rules = rules["properties"][section]
    assert entry.option.takes_rest or rules["properties"][name]["description"] == entry.option.meaning
