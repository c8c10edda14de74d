"""Python's garbage collector while a rank starts."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Generator[None]:
    """Leave the collector off for a while; it serves as a decorator too.

    Importing and tracing make hundreds of thousands of objects that stay, which the collector would visit again and
    again: 0.2 CPU-seconds of a start.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
