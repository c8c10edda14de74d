"""A strategy of the user's whose answers are checked where they arrive, so that each mistake is one line."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from gamaml.errors import StrategyError
from gamaml.evolution.entries import ROOT, UNCHANGED, Entries
from gamaml.evolution.strategy import Outcome, Progress, Sizes, Space, State, Strategy
from gamaml.types import Float32Array, Records


class CheckedStrategy:
    """The strategy itself, with checks of all that it returns; `decode` and `update`, which return nothing, pass.

    Args:
        own: the user's strategy.
        name: as the config names it, for errors.

    Attributes:
        sizes: the strategy's, asked for once.

    Raises:
        StrategyError: by every member, in one line, if an answer does not fit.
    """

    def __init__(self, own: Strategy, name: str) -> None:
        self._own, self._name = own, name
        self.sizes: Sizes = self._instance("sizes", own.sizes, Sizes)
        self.decode, self.update = own.decode, own.update

    def start(self, seed: int, space: Space) -> State:
        """Return the state before generation 0."""
        state: State = self._instance("start(seed, space)", self._own.start(seed, space), State)
        self._check_state("start(seed, space)", state, generation=0)
        return state

    def children(self, state: State) -> Entries:
        """Return the generation's children."""
        children = self._own.children(state)
        self._check_entries("children(state)", children, state.space)
        self._expect("children(state)", len(children) == self.sizes.population_size, self._population, len(children))
        for name in ("task", "episode"):
            lowest = int(children[name].min())
            self._expect("children(state)", lowest >= 0, f"a column {name!r} of numbers from 0 on", lowest)
        return children

    def contenders(self, state: State, records: Records | None) -> Entries:
        """Return the candidates that are re-evaluated."""
        contenders = self._own.contenders(state, records)
        self._check_entries("contenders(state, records)", contenders, state.space)
        most = self.sizes.num_contenders
        self._expect("contenders(state, records)", len(contenders) <= most, f"at most {most} entries", len(contenders))
        return contenders

    def next(self, state: State, records: Records, reevaluations: Records, progress: Progress) -> Outcome:
        """Return the state that follows, whose children are checked before anybody works on them."""
        member = "next(state, records, reevaluations, progress)"
        found = self._own.next(state, records, reevaluations, progress)
        outcome: Outcome = self._instance(member, found, Outcome)
        following: State = self._instance(member, outcome.state, State)
        self._check_state(member, following, generation=state.generation + 1)
        for name in ("fitness", "std"):
            value: Any = getattr(outcome, name)
            self._expect(member, isinstance(value, float | int | np.floating), f"a number as {name}", repr(value))
        contender = cast(Any, outcome.contender)
        number = len(reevaluations) // self.sizes.num_episodes
        self._expect(member, contender in (None, *range(number)), f"a contender below {number}, or None", contender)
        self.children(following)
        return outcome

    def incumbent(self, state: State, vectors: Float32Array) -> Float32Array:
        """Return the parameters that a run would hand out now."""
        params: Any = self._own.incumbent(state, vectors)
        shape = (state.space.num_params,)
        got = f"{getattr(params, 'dtype', type(params).__name__)}{list(getattr(params, 'shape', ()))}"
        self._expect("incumbent(state, vectors)", got == f"float32{list(shape)}", f"float32{list(shape)}", got)
        return params

    def describe(self) -> dict[str, str]:
        """Return name and settings in words."""
        lines: Any = self._own.describe()
        pairs = cast(dict[Any, Any], lines).items() if isinstance(lines, dict) else [(None, None)]
        fits = all(isinstance(text, str) for pair in pairs for text in pair)
        self._expect("describe()", fits, "a dict of strings by strings", f"{lines!r}")
        return dict(pairs)

    @property
    def _population(self) -> str:
        return f"population_size={self.sizes.population_size} entries"

    def _check_state(self, member: str, state: State, generation: int) -> None:
        self._expect(member, state.generation == generation, f"a state of generation {generation}", state.generation)
        self._check_entries(member, state.entries, state.space)
        most, least = self.sizes.num_entries, min(generation, 1)
        got = len(state.entries)
        self._expect(member, least <= got <= most, f"a state of {least} to {most} entries (Sizes.num_entries)", got)

    def _check_entries(self, member: str, entries: Any, space: Space) -> None:  # the user's answer
        dtype = self.sizes.entry_dtype
        got = getattr(entries, "dtype", type(entries).__name__)
        shape = getattr(entries, "shape", ())
        self._expect(
            member, got == dtype and len(shape) == 1, f"a one-dimensional array of {dtype}", f"{got} of {shape}"
        )
        # The state's bases are rows of the vectors before; all have the same number of rows.
        for name, lowest, stop in (("base", ROOT, self.sizes.num_vectors), ("offset", UNCHANGED, space.num_offsets)):
            wrong = entries[name][(entries[name] < lowest) | (entries[name] >= stop)]
            expected = f"a column {name!r} of numbers from {lowest} to {stop - 1}"
            self._expect(member, len(wrong) == 0, expected, wrong[0] if len(wrong) else "")

    def _instance(self, member: str, value: Any, kind: type) -> Any:  # the user's answer, of that kind
        self._expect(member, isinstance(value, kind), f"a gamaml.evolution.{kind.__name__}", type(value).__name__)
        return value

    def _expect(self, member: str, fits: bool, expected: str, got: object) -> None:
        if not fits:
            raise StrategyError(
                f"strategy={self._name!r}: expected {member} to give {expected}, got {got}; correct it "
                "(docs/strategies.md)"
            )
