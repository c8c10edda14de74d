"""Strategies of the user's own: SNES from the examples, and what is said about a class that does not fit."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles import AT_START
from run_examples import example_header, write_example

from gamaml import cli
from gamaml import config as cfg
from gamaml.commands import run_table
from gamaml.errors import ConfigError, SelectionError
from gamaml.evolution import Part, Sources, Space, chosen_strategy
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.records import record_dtype
from gamaml.evolution.strategy import MEMBERS, Strategy
from gamaml.runlog import load
from gamaml.types import Float32Array, Records

EXAMPLES = Path(__file__).parents[2] / "examples"
SPACE = Space(num_params=2, num_offsets=99)
SNES = "custom_strategy:SNES"


class Toy:
    num_params = 2
    scale: Float32Array | None = None

    def initial(self, noise: Float32Array) -> Float32Array:
        return noise


class Blocks:
    """Noise that is (1, 0) at offset 0 and (0, 2) at offset 1."""

    def block(self, offset: int, num_params: int) -> Float32Array:
        return np.array([[1, 0], [0, 2]][offset], np.float32)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the examples and a folder of the test importable; returns the folder, which is also the present one."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(strategy: str = SNES, **custom: Any) -> cfg.Config:
    mapping = {"strategy": strategy, "task": {"name": "sinusoid"}, "stop": {"generations": 1}}
    return cfg.from_mapping({**mapping, **({"custom": custom} if custom else {})})


def snes(**settings: Any) -> Strategy:
    return chosen_strategy.make(config(**settings))


def records(*fitness: float) -> Records:
    array = np.zeros(len(fitness), record_dtype(0))
    array["fitness"] = fitness
    return array


def test_settings_come_from_the_section_custom() -> None:
    assert snes(population_size=6).sizes.population_size == 6
    assert snes().sizes.population_size == 32
    assert "std 0.5" in snes(std=0.5).describe()["SNES"]


def test_utilities_of_snes_are_those_of_the_paper() -> None:
    chosen = snes(population_size=4)
    state = chosen.start(1, SPACE)
    outcome = chosen.next(state, records(1, 9, math.nan, 5), records(*[2.0] * 8), AT_START)
    # Wierstra et al. 2014, section 3.1: max(0, log(4/2 + 1) - log(rank)), normalised, less 1/4.
    raw = np.maximum(0, np.log(3) - np.log([3, 1, 4, 2]))
    assert outcome.state.entries["factor"].tolist() == pytest.approx(raw / raw.sum() - 0.25)
    assert outcome.state.entries["offset"].tolist() == chosen.children(state)["offset"].tolist()
    assert (outcome.fitness, outcome.contender) == (2.0, 0)


def test_snes_moves_mean_and_std_along_the_natural_gradient() -> None:
    chosen = snes(population_size=2, std=0.5)
    state = chosen.start(1, SPACE)
    entries = chosen.children(state)
    entries["offset"], entries["factor"] = [0, 1], [0.5, -0.5]
    before, after = np.array([[1, 2], [0.5, 0.25]], np.float32), np.empty((2, 2), np.float32)
    chosen.update(state.followed_by(entries), Sources.whole(Blocks(), Toy(), before), Part(range(2), after))
    # Sums of utility * noise: (0.5, -1); of utility * (noise^2 - 1): 0.5 * (0, -1) - 0.5 * (-1, 3) = (0.5, -2).
    rate = (3 + math.log(2)) / (5 * math.sqrt(2))
    np.testing.assert_allclose(after[0], [1 + 0.5 * 0.5, 2 - 0.25], rtol=1e-6)
    np.testing.assert_allclose(after[1], [0.5 * math.exp(rate / 2 * 0.5), 0.25 * math.exp(-rate)], rtol=1e-6)


def test_a_child_of_snes_has_a_std_per_parameter_and_a_contender_is_the_mean() -> None:
    chosen = snes(population_size=2)
    sources = Sources.whole(Blocks(), Toy(), np.array([[1, 2], [0.5, 0.25]], np.float32))
    child = chosen.children(chosen.start(1, SPACE))[:1]
    child["offset"], out = 1, np.empty(2, np.float32)
    chosen.decode(child[0], sources, out)
    assert out.tolist() == [1, 2.5]
    chosen.decode(chosen.contenders(chosen.start(1, SPACE), None)[0], sources, out)
    assert out.tolist() == [1, 2]


def test_the_first_vectors_of_snes_are_a_root_and_its_std() -> None:
    chosen, noise, out = snes(std=0.5), LazyNoise(100, seed=3), np.empty((2, 2), np.float32)
    state = chosen.start(1, SPACE)
    chosen.update(state, Sources.whole(noise, Toy(), out), Part(range(2), out))
    assert out.tolist() == [noise.block(int(state.entries["offset"][0]), 2).tolist(), [0.5, 0.5]]
    assert chosen.incumbent(state, out) is not None


def test_a_generation_of_failures_is_an_error_in_words() -> None:
    with pytest.raises(SelectionError, match="^generation 0: expected at least one child with a finite fitness"):
        snes(population_size=2).next(snes().start(1, SPACE), records(math.nan, math.inf), records(1), AT_START)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_class_without_a_member_is_refused_by_name(importable: Path, member: str) -> None:
    module = f"lacks_{member}"
    others = "\n".join(f"    {name} = None" for name in MEMBERS if name != member)
    (importable / f"{module}.py").write_text(f"class Mine:\n{others}\n")
    with pytest.raises(ConfigError, match=f"^strategy='{module}:Mine': expected a class with .* without {member};"):
        chosen_strategy.make(config(f"{module}:Mine"))


@pytest.mark.parametrize(
    ("strategy", "custom", "message"),
    [
        (
            SNES,
            {"populationsize": 3},
            "custom.populationsize: unknown setting of strategy .* did you mean 'population_size'",
        ),
        (SNES, {"std": "wide"}, "custom.std: expected a number, got 'wide'"),
        ("custom_strategy:Snes", {}, "strategy='custom_strategy:Snes': expected a class 'Snes' .* did you mean 'SNES'"),
        ("nowhere:SNES", {}, "strategy='nowhere:SNES': expected an importable module 'nowhere', got none"),
    ],
)
def test_mistakes_are_one_line(strategy: str, custom: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        chosen_strategy.make(config(strategy, **custom))


def test_a_section_custom_without_a_strategy_of_ones_own_is_refused() -> None:
    with pytest.raises(ConfigError, match='^custom: expected only with a strategy of your own, "my_module:MyStrategy"'):
        config("ga", std=1.0)


def test_the_command_refuses_a_strategy_before_anything_starts(
    importable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = 'strategy = "custom_strategy:SNES"\n[custom]\nstdd = 1\n[task]\nname = "sinusoid"\n[stop]\ngenerations = 1\n'
    (importable / "c.toml").write_text(text)
    assert cli.main(["run", "c.toml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gamaml: error: custom.stdd: unknown setting of strategy 'custom_strategy:SNES'")
    assert error.count("\n") == 1
    assert not (importable / "runs").exists()


def test_a_run_is_read_without_the_class_and_its_parameters_are_refused_in_words(
    importable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (importable / "mine.py").write_text("from custom_strategy import SNES as Mine\n")
    run_config = config("mine:Mine", population_size=6)
    write_example(importable / "run.h5", 2, header=example_header(run_config))
    digest = load(importable / "run.h5").digest()
    (importable / "mine.py").unlink()
    monkeypatch.delitem(sys.modules, "mine")
    monkeypatch.setattr(chosen_strategy, "_make", chosen_strategy._make.__wrapped__)
    run = load(importable / "run.h5")
    assert (run.digest(), run.contenders.shape, run.entries.shape) == (digest, (2, 1), (2, 6))
    assert "  SNES         population 6, std 0.1 at first" in run_table.text(run).splitlines()
    with pytest.raises(ConfigError, match="^strategy='mine:Mine': expected an importable module 'mine', got none"):
        run.incumbent_parameters()


def test_the_example_is_at_most_60_lines_without_blanks() -> None:
    lines = (EXAMPLES / "custom_strategy.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 60
