"""Meta-tasks: the ready-made ones, and how a name or a user's class becomes a Problem."""

from gamaml.tasks.make import make_problem
from gamaml.tasks.registry import available

__all__ = ["available", "make_problem"]
