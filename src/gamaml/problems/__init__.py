"""From a config to a Problem: the registry of tasks, the kinds of task, and the problems that evaluate them."""

from gamaml.problems.complete_problem import CompleteProblem, complete
from gamaml.problems.factory import make_problem
from gamaml.problems.registry import available

__all__ = ["CompleteProblem", "available", "complete", "make_problem"]
