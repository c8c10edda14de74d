"""Episodes as a video: every frame of a wrapped environment goes into a file."""

from __future__ import annotations

import contextlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.errors import ConfigError, check_file_name

SUFFIXES = (".mp4", ".gif")

_DEFAULT_FPS = 30.0
_GIF_FPS = 50.0
"""Viewers slow down a GIF with more frames a second than this."""


class Film:
    """The frames of all episodes that its environments play, one after another, in a video.

    It never disturbs an episode: an error while frames are taken ends the film, and `close` reports it.

    Args:
        path: the video's path, ending in one of `SUFFIXES`.

    Attributes:
        num_frames: written so far.

    Raises:
        ConfigError: another suffix, no such folder, or imageio is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_file_name("video", path, SUFFIXES)
        self.path = path
        self.num_frames = 0
        self._imageio = _library(path)
        self._writer: Any = None
        self._keep_every, self._seen = 1, 0
        self._error: Exception | None = None

    def take(self, env: Any) -> None:  # an environment
        """Add the present frame of an environment."""
        if self._error is not None:
            return
        try:
            frame = _checked(env.render(), env)
            if self._writer is None:
                self._writer = self._open(_fps(env))
            if self._seen % self._keep_every == 0:
                self._writer.append_data(frame)
                self.num_frames += 1
            self._seen += 1
        except Exception as error:
            self._error = error

    def close(self) -> None:
        """Finish the video.

        Raises:
            ConfigError: the environment does not render, or the file could not be written.
        """
        if self._writer is not None:
            with contextlib.suppress(Exception) if self._error else contextlib.nullcontext():
                self._writer.close()
        if self._error is not None:
            if isinstance(self._error, ConfigError):
                raise self._error
            kind = type(self._error).__name__
            raise ConfigError(
                f"video {str(self.path)!r}: expected frames, got {kind}: {self._error}; "
                "docs/environments.md lists the needs of rendering"
            ) from self._error
        if self._writer is None:
            raise ConfigError(
                f"video {str(self.path)!r}: expected an episode, got none; the environment failed before it began"
            )

    def _open(self, fps: float) -> Any:  # an imageio writer
        if self.path.suffix == ".gif":
            while fps / self._keep_every > _GIF_FPS:
                self._keep_every += 1
            return self._imageio.get_writer(self.path, duration=1000 * self._keep_every / fps, loop=0)
        # No rescaling to multiples of 16, which imageio asks for by default; `_checked` makes the sides even.
        return self._imageio.get_writer(self.path, fps=fps, macro_block_size=2, ffmpeg_log_level="error")


class FilmedEnv:
    """An environment that is filmed after every reset and step, and otherwise passes everything on.

    Args:
        env: the environment.
        film: takes its frames.
    """

    def __init__(self, env: Any, film: Film) -> None:
        self.filmed = env
        self._film = film

    def reset(self, *, seed: int | None = None) -> Any:  # observation and info
        """Start an episode."""
        result = self.filmed.reset(seed=seed)
        self._film.take(self.filmed)
        return result

    def step(self, action: Any) -> Any:  # observation, reward, terminated, truncated, info
        """Advance the episode."""
        result = self.filmed.step(action)
        self._film.take(self.filmed)
        return result

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the environment, such as its spaces."""
        return getattr(self.filmed, name)


def _checked(frame: Any, env: Any) -> npt.NDArray[np.uint8]:
    """Return a frame with even sides, as H.264 requires."""
    shape = np.shape(frame)
    if len(shape) != 3 or shape[2] != 3:
        got = "None" if frame is None else f"{type(frame).__name__} of shape {shape}"
        raise ConfigError(
            f"environment {type(getattr(env, 'unwrapped', env)).__name__}: expected render() to give "
            f"uint8[height, width, 3], got {got}; make it with render_mode='rgb_array'"
        )
    picture = np.asarray(frame, np.uint8)
    return np.pad(picture, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")


def _fps(env: Any) -> float:  # of an environment
    metadata: dict[str, Any] = getattr(env, "metadata", None) or {}
    # The second name is that of gym before 0.26.
    return float(metadata.get("render_fps") or metadata.get("video.frames_per_second") or _DEFAULT_FPS)


def _library(path: Path) -> Any:  # a module
    try:
        if path.suffix == ".mp4":
            import_module("imageio_ffmpeg")
        return import_module("imageio.v2")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"video {str(path)!r}: expected a library to write it, got: {error}; pip install 'gamaml[video]'"
        ) from error
