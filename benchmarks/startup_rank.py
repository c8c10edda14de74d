"""The rank that startup.py measures: `gamaml run CONFIG`, as far as the first evaluation.

    python benchmarks/startup_rank.py CONFIG FOLDER

It runs the command in this process, prints one JSON object, part -> CPU-seconds of the process, when the first
evaluation begins, and ends there. It imports next to nothing that the command would not import.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


class Account:
    """CPU-seconds by part, each without the parts inside it."""

    def __init__(self) -> None:
        self.parts = {"interpreter": time.process_time(), "imports": 0.0, "trace": 0.0, "compile": 0.0}
        self._inside = 0.0

    def charge(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time charged to a part; within itself it counts once."""
        running = False

        def charged(*args: Any, **kwargs: Any) -> Any:
            nonlocal running
            if running:
                return function(*args, **kwargs)
            running, outside, self._inside, start = True, self._inside, 0.0, time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                running, taken = False, time.process_time() - start
                self.parts[part] += taken - self._inside
                self._inside = outside + taken

        return charged

    def end(self, *_: object) -> None:
        """Print the account and end the process; it takes the place of an evaluation, which lies inside no part."""
        total = time.process_time()
        self.parts["rest"] = total - sum(self.parts.values())
        print(json.dumps({"total": total, **self.parts}), flush=True)
        os._exit(0)


def main() -> None:
    account = Account()
    builtins.__import__ = account.charge("imports", builtins.__import__)
    from gamaml import cli
    from gamaml.problems.jax_problem import JaxProblem

    original = JaxProblem.warm_up

    def warm_up(problem: JaxProblem) -> None:
        import jax

        jax.stages.Lowered.compile = account.charge("compile", jax.stages.Lowered.compile)
        account.charge("trace", original)(problem)

    # A type checker takes plain assignments for mistakes.
    for name, method in (("warm_up", warm_up), ("evaluate", account.end), ("evaluate_batch", account.end)):
        setattr(JaxProblem, name, method)
    config, folder = sys.argv[1:]
    sys.exit(cli.main(["run", config, "--out", folder]))


if __name__ == "__main__":
    main()
