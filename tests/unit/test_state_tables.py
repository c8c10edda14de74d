"""The state machines of docs/architecture.md: its tables decide as the functions do, for every state and all facts."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gamaml.engine import decisions
from gamaml.evolution.streams import Purpose
from gamaml.parallel import relay
from gamaml.parallel.shutdown import Stage, Stop, stage
from gamaml.runlog.journal import FrameType

TEXT = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()
JUST_BEFORE_OR_AFTER = 1e-6


def rows(*head: str) -> list[list[str]]:
    """Return the cells of the table with these column names."""
    _, _, rest = TEXT.partition(f"| {' | '.join(head)} |\n")
    lines = rest.split("\n\n")[0].splitlines()[1:]
    assert lines, f"no table {head}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(*head: str) -> list[str]:
    """Return the names in the first column of a table, in their order."""
    return [name for row in rows(*head) for name in re.findall(r"`(\w+)`", row[0])]


def fits(condition: str, facts: Any) -> bool:  # either of the Facts
    found = re.findall(r"(not )?`(\w+)`", condition)
    assert found or condition == "any"
    return all(getattr(facts, name) is not bool(negated) for negated, name in found)


def decision(table: list[list[str]], state: enum.Enum, facts: Any) -> str:  # either of the Facts
    """Return the last cell of the first row that fits."""
    return next(
        then for where, condition, then in table if where in ("any", f"`{state.name}`") and fits(condition, facts)
    )


def all_facts(kind: type[Any]) -> Iterator[Any]:  # either of the Facts
    for values in itertools.product((False, True), repeat=len(dataclasses.fields(kind))):
        yield kind(*values)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (("phase", "means"), decisions.Phase),
        (("action", "leads to"), decisions.Action),
        (("state", "means"), relay.State),
        (("stop", "because"), Stop),
        (("purpose", "randomness of"), Purpose),
        (("frame", "holds", "written"), FrameType),
    ],
)
def test_a_table_lists_every_member_once(head: tuple[str, ...], kind: type[enum.Enum]) -> None:
    assert sorted(names(*head)) == sorted(kind.__members__)


def test_the_driver_decides_as_its_table_says() -> None:
    table = rows("in phase", "if", "action")
    for phase in decisions.Phase:
        for facts in all_facts(decisions.Facts):
            expected = f"`{decisions.next_action(phase, facts).name}`"
            assert decision(table, phase, facts) == expected, (phase, facts)


def test_the_relay_decides_as_its_table_says() -> None:
    table = rows("in state", "if", "next")
    for state in relay.State:
        for facts in all_facts(relay.Facts):
            following = relay.next_state(state, facts)
            expected = "the same" if following is state else f"`{following.name}`"
            assert decision(table, state, facts) == expected, (state, facts)


@pytest.mark.parametrize(("place", "is_root"), [(2, True), (3, False)])
def test_a_stop_reaches_its_stages_at_the_times_of_its_table(place: int, is_root: bool) -> None:
    table = rows("stage", "if the stop is", "after, on rank 0", "after, elsewhere", "happens")
    limits = [(Stage[row[0].strip("`")], row[1].strip("`"), float(row[place].removesuffix(" s"))) for row in table]
    assert {found for found, _, _ in limits} == set(Stage)
    for stop in Stop:
        for moment in {seconds for _, _, seconds in limits}:
            for seconds in (max(0.0, moment - JUST_BEFORE_OR_AFTER), moment + JUST_BEFORE_OR_AFTER):
                expected = next(
                    found for found, name, after in limits if name in (stop.name, "any") and seconds >= after
                )
                assert stage(stop, seconds, is_root=is_root) is expected, (stop, seconds)
