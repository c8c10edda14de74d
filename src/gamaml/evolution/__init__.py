"""Strategies and their common parts: entries, decoding, ranks, records, random streams and the noise table.

This package exports the tools for writing a strategy of your own (docs/strategies.md).
"""

from gamaml.evolution.centre import children_around, drawn_offsets, root_state
from gamaml.evolution.decode import Sources, mean, mutate
from gamaml.evolution.entries import ROOT, UNCHANGED, new_entries, without_children
from gamaml.evolution.ranks import best_first, centred_ranks
from gamaml.evolution.strategy import Outcome, Part, Progress, Sizes, Space, State, Strategy

__all__ = [
    "ROOT",
    "UNCHANGED",
    "Outcome",
    "Part",
    "Progress",
    "Sizes",
    "Sources",
    "Space",
    "State",
    "Strategy",
    "best_first",
    "centred_ranks",
    "children_around",
    "drawn_offsets",
    "mean",
    "mutate",
    "new_entries",
    "root_state",
    "without_children",
]
