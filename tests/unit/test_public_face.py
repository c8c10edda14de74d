"""What `import gamaml` offers."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import gamaml
from gamaml import errors, runlog, types


def test_every_error_is_exported() -> None:
    found = {
        name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert found <= set(gamaml.__all__)
    assert "GamamlError" in found


def test_every_protocol_is_exported() -> None:
    found = {name for name, value in vars(types).items() if getattr(value, "_is_protocol", False)} - {"Protocol"}
    assert found == {"BatchProblem", "HostTask", "Problem", "RLTask", "SupervisedTask"}
    assert found <= set(gamaml.__all__)


def test_run_is_the_class_that_load_returns() -> None:
    assert gamaml.Run is runlog.Run
    assert "Run" in dir(gamaml)


@pytest.mark.parametrize("name", gamaml.__all__)
def test_every_exported_name_says_what_it_is(name: str) -> None:
    value = getattr(gamaml, name)
    assert not isinstance(value, ModuleType)
    assert value.__doc__ and not value.__doc__.startswith(f"{name}(")  # a dataclass without one shows its fields


@pytest.mark.parametrize("name", [name for name in gamaml.__all__ if inspect.isfunction(getattr(gamaml, name))])
def test_every_exported_function_describes_its_arguments(name: str) -> None:
    function = getattr(gamaml, name)
    for argument in inspect.signature(function).parameters:
        assert f"        {argument}: " in function.__doc__, argument


def test_all_lists_what_is_imported_in_order() -> None:
    imported = {
        name for name, value in vars(gamaml).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert imported - {"TYPE_CHECKING", "Run"} == set(gamaml.__all__) - {"Run"}
    assert gamaml.__all__ == sorted(gamaml.__all__)


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'gamaml' has no attribute 'trian'"):
        gamaml.trian  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue] - the mistake under test
