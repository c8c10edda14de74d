"""Atari episodes against the Arcade Learning Environment stepped by hand."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from gamaml.envs import atari
from gamaml.envs.atari import Atari, games
from gamaml.envs.spaces import spaces_of
from gamaml.errors import ConfigError

ale_py: Any = import_module("ale_py") if find_spec("ale_py") else None
needs_ale = pytest.mark.skipif(ale_py is None, reason="needs ale-py: pip install 'gamaml[atari]'")
STEPS = 120


def console(rom: str) -> Any:  # an ALEInterface just loaded, stepped frame by frame
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("random_seed", 0)
    ale.loadROM(import_module("ale_py.roms").get_rom_path(rom))
    ale.reset_game()
    return ale


def shrunk(screen: Any) -> Any:  # the mean over areas of whole numbers, rounded, written down another way
    height, width = screen.shape
    rows = np.repeat(screen.astype(np.int64), 84, axis=0).reshape(84, height, width).sum(axis=1)
    sums = np.repeat(rows, 84, axis=1).reshape(84, 84, width).sum(axis=2)
    return (2 * sums + height * width) // (2 * height * width)


def actions_of(env: Atari, kind: str, number: int = STEPS) -> list[int]:
    if kind == "constant":
        return [1] * number
    return np.random.default_rng(3).integers(env.action_space.n, size=number).tolist()


def episode(env: Atari, seed: int, actions: list[int]) -> str:
    """Return a digest of all that an episode gives."""
    digest = hashlib.sha256()
    observation, info = env.reset(seed=seed)
    digest.update(observation.tobytes() + repr(info).encode())
    for action in actions:
        observation, *rest = env.step(action)
        digest.update(observation.tobytes() + repr(rest).encode())
        if rest[1] or rest[2]:
            break
    return digest.hexdigest()


@needs_ale
@pytest.mark.parametrize("kind", ["random", "constant"])
@pytest.mark.parametrize(
    ("game", "rom"), [("Frostbite", "frostbite"), ("Breakout", "breakout"), ("AirRaid", "air_raid")]
)
def test_a_step_is_four_frames_of_which_the_last_two_are_seen(game: str, rom: str, kind: str) -> None:
    env, ale = Atari(game, noop_max=0), console(rom)
    buttons, frames = ale.getMinimalActionSet(), [np.zeros((84, 84))] * 3
    observation, _ = env.reset(seed=1)
    frames.append(shrunk(ale.getScreenGrayscale()))
    for action in actions_of(env, kind, 60):
        np.testing.assert_array_equal(observation, np.stack(frames[-4:]))
        screens, score = [], 0
        for _ in range(4):
            score += ale.act(buttons[action])
            screens.append(ale.getScreenGrayscale())
        observation, *rest = env.step(action)
        assert rest == [score, ale.game_over(), False, {"lives": ale.lives()}]
        frames.append(shrunk(np.maximum(screens[2], screens[3])))


@needs_ale
def test_the_score_of_a_whole_game_is_that_of_the_console_and_its_end_too() -> None:
    env, ale = Atari("Frostbite", noop_max=0), console("frostbite")
    buttons, scored, played, terminated = ale.getMinimalActionSet(), 0, 0.0, False
    env.reset(seed=0)
    for action in actions_of(env, "random", 3000):
        for _ in range(4):
            scored += ale.act(buttons[action])
        _, reward, terminated, _, _ = env.step(action)
        played += reward
        assert terminated == ale.game_over()
        if terminated:
            break
    assert terminated and played == scored > 0


@needs_ale
@pytest.mark.parametrize("game", ["Frostbite", "Qbert"])
def test_episodes_are_those_of_ale_pys_own_vector_environment(game: str) -> None:
    settings = {"noop_max": 0, "use_fire_reset": False, "reward_clipping": False, "num_threads": 1}
    other = import_module("ale_py._ale_py").ALEVectorInterface(rom_path=games()[game], num_envs=1, **settings)
    env = Atari(game, noop_max=0)
    for seed in (1, 2):
        observation, theirs = env.reset(seed=seed)[0], other.reset([0], [seed])[0][0]
        for action in actions_of(env, "random"):
            # They round a tie between two greys as the error of a float sum decides.
            differences = np.abs(observation.astype(int) - theirs)
            assert differences.max() <= 1 and np.mean(differences) < 0.01
            other.send([action], [1.0])
            (theirs,), *rest, info = other.recv()
            observation, reward, terminated, truncated, mine = env.step(action)
            assert (reward, terminated, truncated) == tuple(value[0] for value in rest)
            assert mine["lives"] == info["lives"][0]
            if terminated:
                break


@needs_ale
def test_no_ops_at_the_start_follow_from_the_seed_and_take_all_their_values() -> None:
    env = Atari("Frostbite", noop_max=3)
    ale = env._ale  # pyright: ignore[reportPrivateUsage]
    found: list[list[int]] = []
    for _ in range(2):
        found.append([])
        for seed in range(40):
            env.reset(seed=seed)
            found[-1].append(ale.getEpisodeFrameNumber())
    assert set(found[0]) == {0, 1, 2, 3}
    assert found[0] == found[1]


@needs_ale
@pytest.mark.parametrize("sticky", [0.0, 0.25])
@pytest.mark.parametrize("game", ["Frostbite", "Breakout", "Qbert"])
def test_an_episode_follows_from_seed_and_actions_whatever_was_played_before(game: str, sticky: float) -> None:
    env = Atari(game, sticky_actions=sticky)
    actions = actions_of(env, "random")
    first = episode(env, 7, actions)
    other = episode(env, 8, actions)
    assert episode(env, 7, actions) == first != other
    assert episode(Atari(game, sticky_actions=sticky), 7, actions) == first


@needs_ale
def test_an_episode_is_the_same_in_a_fresh_process_and_beside_another_game() -> None:
    env, other = Atari("Venture", sticky_actions=0.25), Atari("Breakout")
    actions = actions_of(env, "random")
    found = episode(env, 11, actions)
    other.reset(seed=1)
    env.reset(seed=11)
    mixed, single = hashlib.sha256(), hashlib.sha256()
    for action in actions[:40]:
        mixed.update(env.step(action)[0].tobytes())
        other.step(0)
    env.reset(seed=11)
    for action in actions[:40]:
        single.update(env.step(action)[0].tobytes())
    assert mixed.digest() == single.digest()
    script = (
        "import test_atari\nfrom gamaml.envs.atari import Atari\n"
        f"print(test_atari.episode(Atari('Venture', sticky_actions=0.25), 11, {actions}))"
    )
    folder = str(__file__).rpartition("/")[0]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {folder!r})\n{script}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == found


@needs_ale
def test_sticky_actions_repeat_the_action_before_as_often_as_asked() -> None:
    env = Atari("Frostbite", sticky_actions=0.25, frame_skip=1)
    pressed: list[int] = []
    ale = env._ale  # pyright: ignore[reportPrivateUsage]

    class Recorder:
        def act(self, button: int) -> int:
            pressed.append(button)
            return ale.act(button)

        def __getattr__(self, name: str) -> Any:
            return getattr(ale, name)

    env.reset(seed=0)
    env._ale = Recorder()  # pyright: ignore[reportPrivateUsage]
    asked = [2 + step % 3 for step in range(2000)]
    for action in asked:
        env.step(action)
    previous = [0, *pressed[:-1]]
    stuck = sum(button == before for button, before in zip(pressed, previous, strict=True))
    assert all(button in (action, before) for button, action, before in zip(pressed, asked, previous, strict=True))
    # The action before is the one asked now in a share of the stuck cases; 0.25 within four standard errors of 2,000.
    assert stuck / len(pressed) == pytest.approx(0.25, abs=0.06)


@needs_ale
def test_an_episode_is_cut_at_max_frames() -> None:
    env = Atari("Frostbite", max_frames=10)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


@needs_ale
def test_a_lost_life_ends_an_episode_only_if_asked() -> None:
    ends: dict[bool, list[int]] = {}
    for asked in (False, True):
        env = Atari("Breakout", terminal_on_life_loss=asked)
        lives, terminated = [env.reset(seed=0)[1]["lives"]], False
        while not terminated:
            *_, terminated, _, info = env.step(1 if len(lives) % 2 else 0)
            lives.append(info["lives"])
        ends[asked] = sorted(set(lives))
    assert ends == {False: [0, 1, 2, 3, 4, 5], True: [4, 5]}


@needs_ale
def test_the_screen_is_that_of_the_same_episode() -> None:
    env, ale = Atari("Frostbite", noop_max=0), console("frostbite")
    env.reset(seed=0)
    np.testing.assert_array_equal(env.render(), ale.getScreenRGB())
    for action in (1, 2, 3):
        env.step(action)
        for _ in range(4):
            ale.act(ale.getMinimalActionSet()[action])
    screen = env.render()
    np.testing.assert_array_equal(screen, ale.getScreenRGB())
    assert (screen.shape, screen.dtype) == ((210, 160, 3), np.uint8)
    env.close()


@needs_ale
def test_an_observation_is_not_changed_by_later_steps() -> None:
    env = Atari("Frostbite")
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(1)[0]
    env.reset(seed=1)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second[:-1], first[1:])


@needs_ale
def test_spaces_are_understood_and_the_action_sets_differ() -> None:
    minimal, full = Atari("Breakout"), Atari("Breakout", full_action_space=True, frame_stack=2)
    assert (spaces_of(minimal, "task").num_outputs, spaces_of(full, "task").num_outputs) == (4, 18)
    assert spaces_of(full, "task").observation_size == 2 * 84 * 84
    assert minimal.action_space.meanings == ("NOOP", "FIRE", "RIGHT", "LEFT")


@needs_ale
def test_an_unknown_game_is_refused_with_the_nearest_name() -> None:
    assert len(games()) > 100 and games()["MsPacman"].name == "ms_pacman.bin"
    with pytest.raises(ConfigError, match=r"^game='Frostbit': unknown Atari game; did you mean 'Frostbite'\?"):
        Atari("Frostbit")


@needs_ale
def test_a_game_for_two_is_refused_instead_of_ending_the_process() -> None:
    with pytest.raises(ConfigError, match=r"^game='Combat': unknown Atari game"):
        Atari("Combat")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frame_skip": 0}, "frame_skip=0: expected at least 1"),
        ({"noop_max": -1}, "noop_max=-1: expected at least 0"),
        ({"sticky_actions": 1.0}, "sticky_actions=1.0: expected 0 <= chance < 1"),
    ],
)
def test_a_setting_out_of_range_is_refused(settings: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Atari("Frostbite", **settings)


def test_a_missing_ale_py_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(atari, "import_module", missing)
    with pytest.raises(ConfigError, match=r"expected ale-py, got none; install it: pip install 'gamaml\[atari\]'$"):
        Atari("Frostbite")
