"""Python's garbage collector while a rank starts."""

from __future__ import annotations

import gc

import pytest

from gamaml.job.collection import collection_paused


def test_the_collector_is_off_inside_and_on_after_an_error() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="stop"), collection_paused():
        assert not gc.isenabled()
        raise ValueError("stop")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with collection_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
