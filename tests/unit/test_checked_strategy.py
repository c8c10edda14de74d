"""Answers of a strategy of the user's that do not fit: each is one line that names the member."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles import AT_START

from gamaml.config import ESConfig
from gamaml.errors import ConfigError, StrategyError
from gamaml.evolution import Outcome, Progress, Sizes, Space, State, new_entries
from gamaml.evolution.checked_strategy import CheckedStrategy
from gamaml.evolution.entries import Entries
from gamaml.evolution.evolution_strategy import EvolutionStrategy
from gamaml.evolution.records import record_dtype
from gamaml.types import Records

SPACE = Space(num_params=3, num_offsets=50)
SOUND = EvolutionStrategy(ESConfig(population_size=4, episodes=2))


class Own:
    """ES, but for the members that a test replaces."""

    def __init__(self, **replaced: Any) -> None:
        self._replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self._replaced.get(name, getattr(SOUND, name))


def checked(**replaced: Any) -> CheckedStrategy:
    own: Any = Own(**replaced)
    return CheckedStrategy(own, "m:Own")


def records(number: int) -> Records:
    return np.zeros(number, record_dtype(0))


def entries(number: int) -> Entries:
    return new_entries(number, SOUND.sizes.entry_dtype)


def changed(column: str, value: int) -> Any:
    def children(state: State) -> Any:
        found = SOUND.children(state)
        found[column] = value
        return found

    return children


def outcome(**changes: Any) -> Any:
    def following(state: State, found: Records, again: Records, progress: Progress) -> Any:
        return dataclasses.replace(SOUND.next(state, found, again, progress), **changes)

    return following


def test_sound_answers_pass_as_they_are() -> None:
    strategy = checked()
    state = strategy.start(1, SPACE)
    assert strategy.children(state).tobytes() == SOUND.children(state).tobytes()
    assert len(strategy.contenders(state, None)) == 1
    found = strategy.next(state, records(4), records(2), AT_START)
    assert found.state.entries.tobytes() == SOUND.next(state, records(4), records(2), AT_START).state.entries.tobytes()
    vectors = np.zeros((3, 3), np.float32)
    assert strategy.incumbent(found.state, vectors).shape == (3,)
    assert strategy.describe() == SOUND.describe()
    assert strategy.decode == SOUND.decode


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"start": lambda seed, space: None}, r"start\(seed, space\) to give a gamaml.evolution.State, got NoneType"),
        ({"children": lambda state: entries(9)}, r"children\(state\) to give population_size=4 entries, got 9"),
        (
            {"children": lambda state: np.zeros(4)},
            r"children\(state\) to give a one-dimensional array of .*got float64",
        ),
        ({"children": lambda state: [1, 2]}, r"children\(state\) to give a one-dimensional array of .*, got list"),
        ({"children": changed("offset", 50)}, r"children\(state\) to give a column 'offset' of numbers from -1 to 49"),
        ({"children": changed("base", 3)}, r"children\(state\) to give a column 'base' of numbers from -1 to 2, got 3"),
        ({"children": changed("task", -1)}, r"children\(state\) to give a column 'task' of numbers from 0 on, got -1"),
        ({"contenders": lambda state, found: entries(2)}, r"contenders\(.*\) to give at most 1 entries, got 2"),
        (
            {"next": lambda *anything: None},
            r"next\(.*\) to give a gamaml.evolution.Outcome, got NoneType",
        ),
        ({"next": outcome(state=None)}, r"next\(.*\) to give a gamaml.evolution.State, got NoneType"),
        ({"next": outcome(state=State(1, SPACE, 0, entries(1)))}, r"next\(.*\) to give a state of generation 1"),
        ({"next": outcome(state=State(1, SPACE, 1, entries(3)))}, r"next\(.*\) to give a state of 1 to 2 entries"),
        ({"next": outcome(fitness="hi")}, r"next\(.*\) to give a number as fitness, got 'hi'"),
        ({"next": outcome(contender=1)}, r"next\(.*\) to give a contender below 1, or None, got 1"),
        ({"incumbent": lambda state, vectors: vectors}, r"incumbent\(.*\) to give float32\[3\], got float32\[3, 3\]"),
        ({"describe": lambda: "ES"}, r"describe\(\) to give a dict of strings by strings, got 'ES'"),
    ],
)
def test_an_answer_that_does_not_fit_is_one_line(replaced: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=rf"^strategy='m:Own': expected {message}"):
        strategy = checked(**replaced)
        state = strategy.start(1, SPACE)
        strategy.children(state)
        strategy.contenders(state, records(4))
        following = strategy.next(state, records(4), records(2), AT_START).state
        strategy.incumbent(following, np.zeros((3, 3), np.float32))
        strategy.describe()


def test_the_next_children_are_checked_before_anybody_works_on_them() -> None:
    def children(state: State) -> Any:
        return SOUND.children(state)[: 4 - state.generation]

    strategy = checked(children=children)
    with pytest.raises(StrategyError, match=r"children\(state\) to give population_size=4 entries, got 3"):
        strategy.next(strategy.start(1, SPACE), records(4), records(2), AT_START)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population_size": 0}, "Sizes.population_size=0: expected an integer of at least 1"),
        ({"num_vectors": 1.5}, "Sizes.num_vectors=1.5: expected an integer of at least 1"),
        ({"num_contenders": -1}, "Sizes.num_contenders=-1: expected an integer of at least 0"),
        ({"update_by": "rows"}, "Sizes.update_by='rows': expected one of"),
        ({"derivative": 3}, "Sizes.derivative=3: expected one of"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Sizes(**{"population_size": 1, "num_vectors": 1, "num_entries": 1, **changes})


def test_a_strategy_without_sizes_is_refused() -> None:
    with pytest.raises(StrategyError, match="expected sizes to give a gamaml.evolution.Sizes, got NoneType"):
        checked(sizes=None)


def test_an_outcome_may_have_no_contender_and_a_fitness_that_is_not_finite() -> None:
    strategy = checked(next=outcome(contender=None, fitness=float("nan")))
    assert isinstance(strategy.next(strategy.start(1, SPACE), records(4), records(2), AT_START), Outcome)


def test_a_class_of_the_script_is_named_by_its_file(tmp_path: Path) -> None:
    from gamaml.config.user_code import find

    with pytest.raises(ConfigError, match="^x: expected the name of a module, got '__main__', which no later command"):
        find("__main__:Mine", "x", "class", callable)
    with pytest.raises(ConfigError, match="^x: expected an importable module '', got none"):
        find(":Mine", "x", "class", callable)
