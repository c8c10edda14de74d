"""The decision of a population's driver, as a table."""

from __future__ import annotations

import itertools

import pytest

from gamaml.engine.decisions import Action, Facts, Phase, next_action

TABLE = [
    # phase, facts that hold, action
    (Phase.CHILDREN, "", Action.WAIT),
    (Phase.CHILDREN, "closing failed finished", Action.WAIT),
    (Phase.CHILDREN, "ready wanted", Action.GIVE_WORK),
    (Phase.CHILDREN, "ready", Action.GIVE_WORK),
    (Phase.CHILDREN, "ready arrived", Action.MERGE),
    (Phase.CHILDREN, "ready arrived closing failed", Action.MERGE),
    (Phase.CHILDREN, "ready closing", Action.SAVE),
    (Phase.CHILDREN, "ready finished", Action.FINISH),
    (Phase.CHILDREN, "ready finished closing", Action.FINISH),
    (Phase.CHILDREN, "ready failed", Action.BREAK_OFF),
    (Phase.REEVALUATIONS, "ready wanted", Action.GIVE_WORK),
    (Phase.REEVALUATIONS, "ready closing", Action.SAVE),
    (Phase.REEVALUATIONS, "ready arrived", Action.MERGE),
    (Phase.SELECTION, "ready wanted", Action.SELECT),
    (Phase.SELECTION, "ready wanted closing", Action.SELECT),
    (Phase.SELECTION, "ready", Action.WAIT),
    (Phase.SELECTION, "ready closing", Action.SAVE),
    (Phase.SELECTION, "wanted closing", Action.WAIT),
    (Phase.SELECTION, "ready wanted failed", Action.BREAK_OFF),
    (Phase.SELECTION, "ready wanted finished", Action.FINISH),
    (Phase.SAVING, "closing", Action.WAIT),
    (Phase.SAVING, "ready closing", Action.BREAK_OFF),
    (Phase.SAVING, "ready closing failed", Action.BREAK_OFF),
]


@pytest.mark.parametrize(("phase", "facts", "expected"), TABLE)
def test_next_action_follows_the_table(phase: Phase, facts: str, expected: Action) -> None:
    assert next_action(phase, Facts(**dict.fromkeys(facts.split(), True))) is expected


def every_facts() -> list[Facts]:
    names = list(Facts.__dataclass_fields__)
    return [
        Facts(**dict(zip(names, values, strict=True))) for values in itertools.product([False, True], repeat=len(names))
    ]


@pytest.mark.parametrize("facts", every_facts(), ids=str)
def test_whatever_the_facts(facts: Facts) -> None:
    assert next_action(Phase.ENDED, facts) is Action.WAIT, "the last command was given"
    for phase in Phase:
        action = next_action(phase, facts)
        assert facts.ready or action is Action.WAIT, "a command is being carried out, or a commit is in flight"
        if action in (Action.GIVE_WORK, Action.SELECT, Action.SAVE):
            assert not facts.failed, "nothing can be saved any more"
        if action is Action.GIVE_WORK:
            assert not facts.closing, "the job stops"
        if facts.ready and facts.closing and phase is not Phase.ENDED:
            assert action is not Action.WAIT, "a job that stops must come to its end"
