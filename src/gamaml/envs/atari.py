"""Atari 2600 games as Mnih et al. 2015 and Such et al. 2017 played them, on the Arcade Learning Environment (ale-py).

An observation holds the frames of the last four steps: grey, the maximum of a step's last two, shrunk to 84 x 84. The
emulator is driven frame by frame, since ale-py's own `AtariVectorEnv` with one environment is slower: seeding it loads
the cartridge anew at every reset (90 ms instead of 5), and its observations come from another thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.errors import ConfigError, did_you_mean
from gamaml.evolution import streams
from gamaml.types import Float32Array

_SIZE = 84
_CONSOLE_FPS = 60
_WORD = 2**32
UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pixels:
    """A space of observations: uint8 arrays of this shape."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Actions:
    """A space of actions: action i, from 0 to n - 1, is the button `meanings[i]`."""

    n: int
    meanings: tuple[str, ...]


class Atari:
    """One game with Gymnasium's interface, and the raw score as reward.

    An episode is a function of its seed and the actions, whatever was played before. The seed decides how many frames
    the console runs untouched at the start, and where actions stick.

    Args:
        game: as in "ALE/Frostbite-v5", the part in the middle: "Frostbite", "MsPacman".
        noop_max: an episode starts after 0 to `noop_max` frames without a button pressed, all numbers equally likely.
        frame_skip: frames per step, in which the action is repeated.
        frame_stack: frames per observation, oldest first; before the start they are black.
        sticky_actions: chance, at each frame, that the console sees the previous action instead (Machado et al. 2018,
            arXiv 1709.06009, section 5.2, recommend 0.25; Such et al. have none).
        full_action_space: all 18 actions instead of those that the game uses.
        terminal_on_life_loss: whether an episode ends when a life is lost.
        max_frames: frames after which an episode is truncated; 108,000 are 30 minutes.

    Raises:
        ConfigError: no such game, a setting out of its range, or ale-py is not installed.
    """

    def __init__(
        self,
        game: str,
        *,
        noop_max: int = 30,
        frame_skip: int = 4,
        frame_stack: int = 4,
        sticky_actions: float = 0.0,
        full_action_space: bool = False,
        terminal_on_life_loss: bool = False,
        max_frames: int = 108_000,
    ) -> None:
        _at_least("noop_max", noop_max, 0)
        _at_least("frame_skip", frame_skip, 1)
        _at_least("frame_stack", frame_stack, 1)
        _at_least("max_frames", max_frames, 1)
        if not 0 <= sticky_actions < 1:
            raise ConfigError(f"sticky_actions={sticky_actions}: expected 0 <= chance < 1; choose e.g. 0.25, or 0")
        self.metadata = {"render_fps": _CONSOLE_FPS / frame_skip}
        self._ale: Any = _console(game)
        self._after_loading: Any = self._ale.cloneState(include_rng=True)
        actions = self._ale.getLegalActionSet() if full_action_space else self._ale.getMinimalActionSet()
        self._buttons: list[int] = [action.value for action in actions]
        self.action_space = Actions(len(actions), tuple(action.name for action in actions))
        self.observation_space = Pixels((frame_stack, _SIZE, _SIZE))
        self._noop_max, self._frame_skip = noop_max, frame_skip
        self._sticky_actions, self._terminal_on_life_loss = sticky_actions, terminal_on_life_loss
        self._max_frames = max_frames
        height, width = self._ale.getScreenDims()
        self._screen = np.zeros((height, width), np.uint8)
        self._previous_screen = np.zeros((height, width), np.uint8)
        self._shrink = _Shrink(height, width)
        self._frames = np.zeros(self.observation_space.shape, np.uint8)
        self._random = streams.generator(np.zeros(2, np.uint32))
        self._pressed = 0
        self._lives = 0
        self._frame = 0

    def reset(self, *, seed: int | None = None) -> tuple[UInt8Array, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: a number from 0 on; None continues the random numbers of the previous one.

        Returns:
            The observation, uint8[frame_stack, 84, 84], and the number of lives.
        """
        if seed is not None:
            self._random = streams.generator(np.array(divmod(seed, _WORD), np.uint32))
        ale = self._ale
        # The console draws its power-on state at random; restoring the state makes it draw the same one every time.
        ale.restoreState(self._after_loading)
        ale.reset_game()
        for _ in range(int(self._random.integers(self._noop_max + 1))):
            ale.act(0)
            if ale.game_over():
                ale.reset_game()
        self._pressed, self._frame, self._lives = 0, 0, ale.lives()
        ale.getScreenGrayscale(self._screen)
        self._frames = np.zeros(self.observation_space.shape, np.uint8)
        self._shrink(self._screen, self._frames[-1])
        return self._frames, {"lives": self._lives}

    def step(self, action: int) -> tuple[UInt8Array, float, bool, bool, dict[str, Any]]:
        """Play one step.

        Args:
            action: 0 to `action_space.n` - 1.

        Returns:
            The observation, a new uint8[frame_stack, 84, 84]; the points scored; whether the game is over; whether
            the episode is cut by `max_frames`; the number of lives.
        """
        ale, score = self._ale, 0
        button, last = self._buttons[action], self._frame_skip - 1
        terminated, index = False, 0
        for index in range(self._frame_skip):
            if not self._sticky_actions or self._random.random() >= self._sticky_actions:
                self._pressed = button
            score += ale.act(self._pressed)
            self._frame += 1
            terminated = ale.game_over() or (self._terminal_on_life_loss and ale.lives() < self._lives)
            if index == last - 1:
                ale.getScreenGrayscale(self._previous_screen)
            if terminated or self._frame == self._max_frames:
                break
        ale.getScreenGrayscale(self._screen)
        if index == last > 0:
            np.maximum(self._screen, self._previous_screen, out=self._screen)
        self._lives = ale.lives()
        frames = np.empty_like(self._frames)
        frames[:-1] = self._frames[1:]
        self._shrink(self._screen, frames[-1])
        self._frames = frames
        truncated = self._frame == self._max_frames and not terminated
        return frames, float(score), terminated, truncated, {"lives": self._lives}

    def render(self) -> UInt8Array:
        """Return the screen in colour, uint8[height, width, 3]: the last frame of the last step."""
        return self._ale.getScreenRGB()

    def close(self) -> None:
        """Free the console."""
        self._ale = self._after_loading = None


def games() -> dict[str, Path]:
    """Return the name of every game that one player can play in ale-py -> the file of its cartridge.

    Raises:
        ConfigError: ale-py is not installed.
    """
    ale_py, roms = _libraries()
    files = {rom.title().replace("_", ""): Path(roms.get_rom_path(rom)) for rom in sorted(roms.get_all_rom_ids())}
    # The emulator ends the process when it loads one of the others, which need two players.
    return {name: file for name, file in files.items() if ale_py.ALEInterface.isSupportedROM(file) is not None}


def _console(game: str) -> Any:  # an ale_py.ALEInterface with the game loaded
    known = games()
    if game not in known:
        raise ConfigError(f"game={game!r}: unknown Atari game; {did_you_mean(game, known)}")
    ale_py, _ = _libraries()
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # else it greets on stderr
    ale = ale_py.ALEInterface()
    # One frame per act, no sticking and no limit: this class counts frames, and draws from the episode's seed.
    ale.setInt("frame_skip", 1)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("max_num_frames_per_episode", 0)
    ale.setBool("color_averaging", False)
    ale.setInt("random_seed", 0)
    ale.loadROM(known[game])
    return ale


def _libraries() -> tuple[Any, Any]:  # ale_py and ale_py.roms, which need not be installed
    try:
        return import_module("ale_py"), import_module("ale_py.roms")
    except ModuleNotFoundError as error:
        if error.name != "ale_py":
            raise
    raise ConfigError("Atari games: expected ale-py, got none; install it: pip install 'gamaml[atari]'")


class _Shrink:
    """The mean over areas, from a screen to 84 x 84 pixels, rounded to the nearest, halves up.

    The shares of pixels in areas are whole numbers, and so are the sums, below 2**24: float32 holds them exactly, and
    the result is the same on every machine.

    Args:
        height: rows of the screen.
        width: its columns.
    """

    def __init__(self, height: int, width: int) -> None:
        rows, columns = _shares(height), _shares(width)
        self._rows, self._columns = rows, np.ascontiguousarray(columns.T)
        num_blocks, block = _SIZE // rows.shape[0], rows.shape[1]
        self._screen = np.empty((num_blocks, block, width), np.float32)
        self._low = np.empty((num_blocks, rows.shape[0], width), np.float32)
        self._runs = self._low.reshape(-1, columns.shape[1])
        self._sums = np.empty((self._runs.shape[0], columns.shape[0]), np.float32)
        self._pixels = self._sums.reshape(_SIZE, _SIZE)
        self._total = np.float32(rows.shape[1] * columns.shape[1])
        self._half = np.float32(rows.shape[1] * columns.shape[1] / 2)

    def __call__(self, screen: UInt8Array, out: UInt8Array) -> None:
        """Shrink `screen`, uint8[height, width], into `out`, uint8[84, 84]."""
        np.copyto(self._screen, screen.reshape(self._screen.shape))
        np.matmul(self._rows, self._screen, out=self._low)
        np.matmul(self._runs, self._columns, out=self._sums)
        np.add(self._sums, self._half, out=self._sums)
        np.divide(self._sums, self._total, out=self._sums)
        np.copyto(out, self._pixels, casting="unsafe")


def _shares(source: int) -> Float32Array:
    """Return how much of each source pixel belongs to each target pixel, along one axis.

    The pattern repeats, 42 times from 210 pixels to 84; only its period is returned.

    Returns:
        float32[84 / periods, source / periods], whole numbers; each row sums to its number of columns.
    """
    periods = math.gcd(source, _SIZE)
    targets, sources = _SIZE // periods, source // periods
    starts = np.maximum.outer(np.arange(targets) * sources, np.arange(sources) * targets)
    ends = np.minimum.outer(np.arange(1, targets + 1) * sources, np.arange(1, sources + 1) * targets)
    return np.maximum(ends - starts, 0).astype(np.float32)


def _at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise ConfigError(f"{name}={value}: expected at least {minimum}; choose e.g. {minimum}")
