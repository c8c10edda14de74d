"""The sizes and actions of Gymnasium-style environments."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gamaml.envs.spaces import spaces_of
from gamaml.errors import ConfigError


def env(observation: Any, action: Any) -> Any:
    return SimpleNamespace(reset=None, step=None, observation_space=observation, action_space=action)


def test_a_discrete_space_has_one_output_per_action() -> None:
    spaces = spaces_of(env(SimpleNamespace(shape=(2, 3)), SimpleNamespace(n=4)), "task")
    assert (spaces.observation_size, spaces.num_outputs) == (6, 4)
    assert spaces.act(np.array([0, 0, 5, 1], np.float32)) == 2


def test_a_discrete_space_may_start_at_another_number() -> None:
    spaces = spaces_of(env(SimpleNamespace(shape=(1,)), SimpleNamespace(n=2, start=5)), "task")
    assert spaces.act(np.array([0, 1], np.float32)) == 6


def test_a_continuous_action_has_the_shape_and_bounds_of_its_space() -> None:
    box = SimpleNamespace(shape=(2, 1), low=-np.ones((2, 1)), high=np.full((2, 1), np.inf))
    spaces = spaces_of(env(SimpleNamespace(shape=(1,)), box), "task")
    action = spaces.act(np.array([-3, 7], np.float32))
    assert spaces.num_outputs == 2
    assert action.tolist() == [[-1.0], [7.0]]
    assert action.dtype == np.float32


def test_an_action_space_of_another_kind_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        spaces_of(env(SimpleNamespace(shape=(1,)), SimpleNamespace(spaces=())), "task 'm:T'")
    assert str(caught.value).startswith("task 'm:T': expected action_space with n (discrete) or shape, low and high")
    assert "\n" not in str(caught.value)
