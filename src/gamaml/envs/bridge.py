"""Environments in another Python interpreter, with other packages, behind Gymnasium's interface.

The environment runs in a process of its own, `server.py`, which answers one request at a time over a pair of plain
pipes. Client and server take turns and never work at once, so they share the core that the client is bound to.

The server's surroundings are fixed, so that the seed decides an episode:

* New heap memory reads as zeros (glibc's `malloc.perturb`), since some simulators read memory that they never wrote.
  roboschool's Bullet does while it loads a model, and the order of its contacts then depends on the old contents.
* Strings have the same hash in every process, and NumPy's and Python's global generators are seeded with the episode.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from gamaml.envs.server import (
    ARRAY,
    DONE,
    HEADER,
    IGNORED_SIGNALS,
    INFO,
    RENDER,
    RESET,
    SEED,
    START,
    STEP,
    STEP_HEAD,
    STEPPED,
)
from gamaml.errors import ConfigError, GamamlError, OverdueError

_SERVER = Path(__file__).with_name("server.py")
_TUNABLES = "glibc.malloc.perturb=255:glibc.malloc.tcache_count=0"
"""Fill allocated memory with 255 ^ 255 = 0, without the per-thread cache, which returns memory as it was freed."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CHUNK = 1 << 16
_TAIL_BYTES = 4096


class BridgeError(GamamlError):
    """An environment in another interpreter raised, died, or did not answer in time."""


class BridgeOverdueError(BridgeError, OverdueError):
    """An environment in another interpreter did not answer in time."""


@dataclass(frozen=True)
class Discrete:
    """The numbers start, start + 1, ..., start + n - 1."""

    n: int
    start: int
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.int64))


@dataclass(frozen=True, eq=False)
class Box:
    """Arrays of one shape and dtype.

    Attributes:
        shape: shape of the arrays.
        dtype: dtype of the arrays, as the environment declares it; observations keep their actual dtype.
        low, high: bounds, arrays of this shape and dtype; None for observations of another kind of space.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    low: npt.NDArray[Any] | None
    high: npt.NDArray[Any] | None


class BridgedEnv:
    """A Gymnasium-like environment in another interpreter.

    Args:
        python: the interpreter, a path or a name on PATH; Python 3.6 or newer with NumPy.
        env_id: an id for `make` of Gymnasium or gym there, or "module:callable". Modules are found as if that
            interpreter was started in the working directory; PYTHONPATH, meant for this interpreter, is not passed on.
        modules: imported first, for the environments that they register.
        kwargs: keyword arguments of `make` or the callable; JSON values.
        render: whether `render` will be called: newer environments need to know it when they are made.
        step_seconds: time limit of one step.
        start_seconds: time limit of the start, a reset and a picture.

    Attributes:
        library_versions: versions of the other Python, and of its libraries on which the environment's numbers depend.
        reproducible: whether the seed decides an episode, as far as the environment says.

    Raises:
        ConfigError: there is no such interpreter.
        BridgeError: the environment cannot be made there; with its traceback.
    """

    def __init__(
        self,
        python: str | os.PathLike[str],
        env_id: str,
        modules: Sequence[str] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        render: bool = False,
        step_seconds: float = 5.0,
        start_seconds: float = 60.0,
    ) -> None:
        self._subject = f"environment {env_id!r} in {os.fspath(python)}"
        self._step_seconds, self._start_seconds = step_seconds, start_seconds
        request: dict[str, Any] = {"id": env_id, "modules": list(modules), "kwargs": dict(kwargs or {})}
        try:
            json.dumps(request)
        except TypeError as error:
            raise ConfigError(
                f"{self._subject}: expected kwargs that JSON can hold, got {kwargs!r} ({error}); "
                "use numbers, text, lists and mappings"
            ) from error
        self._server = server = _start(python)
        self._watch = watch = _Watch(server, min(step_seconds / 10, 0.5))
        self._end = weakref.finalize(self, _end, server, watch)
        self._closed = False
        watch.start()
        request["lifeline"], request["render"] = server.lifeline_there, render
        try:
            spaces = json.loads(bytes(self._call(START, json.dumps(request).encode(), start_seconds, "its start")))
        except BaseException:
            self.close()
            raise
        self.metadata = {"render_fps": spaces["fps"]}
        self.library_versions: dict[str, str] = spaces["versions"]
        self.reproducible: bool = spaces["reproducible"]
        self.observation_space = _space(spaces["observation"])
        self.action_space = action = _space(spaces["action"])
        nbytes = math.prod(action.shape) * action.dtype.itemsize
        self._step_request = bytearray(HEADER.pack(STEP, nbytes) + bytes(nbytes))
        self._action = np.frombuffer(self._step_request, action.dtype, offset=HEADER.size).reshape(action.shape)
        self._learn_form(np.zeros(0))

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._server.process.pid

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: decides the whole episode, whatever was played before; None continues with the present generators.
            options: must be None or empty.

        Returns:
            The observation, and the plain numbers, booleans and texts of the environment's info.
        """
        if options:
            raise ValueError(f"{self._subject}: expected no options of reset, got {options!r}; use kwargs")
        request = SEED.pack(seed is not None, seed or 0)
        answer = self._call(RESET, request, self._start_seconds, "reset")
        (info_length,) = INFO.unpack_from(answer)
        observation, end = _array(answer, INFO.size)
        self._learn_form(observation)
        return observation, _info(answer, end, info_length)

    def step(self, action: Any) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Advance the episode.

        Args:
            action: a number, or an array of the action space's shape.

        Returns:
            Observation, reward, terminated, truncated, and the same part of the info as from `reset`.
        """
        shape = action.shape if type(action) is np.ndarray else np.shape(action)
        if shape != self._action.shape:
            raise ValueError(
                f"{self._subject}: expected an action of shape {self._action.shape}, got {shape}; reshape it"
            )
        self._action[...] = action
        # The usual answer has a buffer of its own. The environment's work has emptied the caches of all code and data
        # used here, so the general way through `_rest` costs several times as much as it seems to.
        usual_answer = self._usual
        have = self._exchange(self._step_request, (usual_answer,), self._step_seconds, "step")
        outcome, nbytes, reward, terminated, truncated, usual, info_length = STEP_HEAD.unpack_from(usual_answer)
        if usual and outcome == DONE and have == HEADER.size + nbytes == len(usual_answer):
            return self._entries.copy(), reward, terminated, truncated, {}
        answer = self._rest(usual_answer[:have], self._step_seconds, "step")
        reward, terminated, truncated, usual, info_length = STEPPED.unpack_from(answer)
        if usual:
            end = len(answer) - info_length
            entries = np.frombuffer(answer[STEPPED.size : end], self._entries.dtype)
            observation = entries.reshape(self._entries.shape).copy()
        else:
            observation, end = _array(answer, STEPPED.size)
            self._learn_form(observation)
        return observation, reward, terminated, truncated, _info(answer, end, info_length)

    def _learn_form(self, observation: npt.NDArray[Any]) -> None:
        """Prepare the buffer for the answer to a step whose observation has this dtype and shape."""
        self._usual = bytearray(STEP_HEAD.size + observation.nbytes)
        entries = np.frombuffer(self._usual, observation.dtype, observation.size, STEP_HEAD.size)
        self._entries = entries.reshape(observation.shape)

    def render(self) -> npt.NDArray[Any]:
        """Return the picture, uint8[height, width, 3]."""
        return _array(self._call(RENDER, b"", self._start_seconds, "render"), 0)[0]

    def close(self) -> None:
        """End the server. Without this call, it ends with this process."""
        self._closed = True
        self._end()

    def __enter__(self) -> BridgedEnv:
        """Return the environment, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the environment."""
        self.close()

    def _call(self, kind: int, request: bytes, seconds: float, what: str) -> memoryview:
        """Send a request; return the bytes of its answer."""
        beginning = bytearray(_CHUNK)
        have = self._exchange(HEADER.pack(kind, len(request)) + request, (beginning,), seconds, what)
        return self._rest(beginning[:have], seconds, what)

    def _exchange(self, message: bytes | bytearray, parts: tuple[Any, ...], seconds: float, what: str) -> int:
        """Send a message, and read the beginning of its answer into `parts`; return its number of bytes."""
        if self._closed:
            raise BridgeError(f"{self._subject}: expected an open environment, got a closed one; make it anew")
        try:
            self._watch.begin(seconds)
            sent = os.write(self._server.requests, message)
            while sent < len(message):
                sent += os.write(self._server.requests, message[sent:])
            return self._read(parts, seconds, what)
        except BrokenPipeError:
            self._report_death(seconds, what)
        except BaseException:
            # After any interruption, Ctrl-C included, the next answer would still belong to this request.
            self.close()
            raise

    def _rest(self, answer: bytearray, seconds: float, what: str) -> memoryview:
        """Read the rest of an answer whose beginning is here; return its bytes without the header.

        Raises:
            BridgeError: the environment raised; it can still be used.
        """
        outcome, total = DONE, HEADER.size
        try:
            while True:
                if len(answer) >= HEADER.size:
                    outcome, nbytes = HEADER.unpack_from(answer)
                    total = HEADER.size + nbytes
                if len(answer) >= total:
                    break
                piece = bytearray(min(_CHUNK, total - len(answer)))
                self._watch.begin(seconds)
                answer += piece[: self._read((piece,), seconds, what)]
        except BaseException:
            self.close()
            raise
        if outcome != DONE:
            words = answer[HEADER.size :].decode(errors="replace").rstrip()
            raise BridgeError(f"{self._subject}: {what} raised there\n{words}")
        return memoryview(answer)[HEADER.size :]

    def _read(self, parts: tuple[Any, ...], seconds: float, what: str) -> int:
        """Read some bytes of an answer, at least one.

        Raises:
            BridgeError: the server died or hung; the caller closes it.
        """
        have = os.readv(self._server.answers, parts)
        if have == 0:
            self._report_death(seconds, what)
        self._watch.limit = None
        return have

    def _report_death(self, seconds: float, what: str) -> NoReturn:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.process.wait(1.0)
        status = self._server.process.poll()
        self.close()
        if self._watch.expired:
            end = f"none within {seconds:g} s, so its process {self.pid} was killed; allow more time if it is only slow"
        elif status is None:
            end = f"closed pipes of its process {self.pid}"
        elif status < 0:
            end = f"the death of its process {self.pid} by {signal.Signals(-status).name}"
        else:
            end = f"the end of its process {self.pid} with exit status {status}"
        words = self._watch.words.decode(errors="replace").strip()
        last = f"; its last words:\n{words}" if words else ""
        kind = BridgeOverdueError if self._watch.expired else BridgeError
        raise kind(f"{self._subject}: expected an answer to {what}, got {end}{last}")


@dataclass(frozen=True)
class _Server:
    """A server, and the descriptors here of its pipes.

    Attributes:
        process: the server.
        requests, answers, words: its stdin, stdout and stderr.
        lifeline: closes when this process ends, and with it the server ends.
        lifeline_there: the other end's descriptor in the server.
    """

    process: subprocess.Popen[bytes]
    requests: int
    answers: int
    words: int
    lifeline: int
    lifeline_there: int


class _Watch(threading.Thread):
    """Kills a server that takes too long for a call, and keeps the end of what it prints.

    It is a thread so that the caller can block in the read of the answer: a poll before each read would cost 5 to 10 us
    a step, a tenth of the bridge's total cost.

    Time is counted in ticks of at most `tick` seconds. A job that was suspended for an hour, as some schedulers do, has
    therefore lost only one tick when it continues.

    Args:
        server: the server.
        tick: seconds between two checks.

    Attributes:
        limit: seconds that the present call may take, or None while there is none.
        expired: whether the server was killed.
        words: the end of its output.
    """

    def __init__(self, server: _Server, tick: float) -> None:
        super().__init__(daemon=True)
        self._server, self._tick = server, tick
        self._number = 0
        self.limit: float | None = None
        self.expired = self.stopped = False
        self.words = b""

    def begin(self, limit: float) -> None:
        """Begin a call; setting `limit` to None ends it. Called by the one thread that waits for the answer."""
        self._number += 1
        self.limit = limit

    def run(self) -> None:
        """Check the server until `stopped`."""
        pipes = select.poll()
        pipes.register(self._server.words, select.POLLIN)
        number, waited = 0, 0.0
        while not self.stopped:
            begin = time.monotonic()
            if pipes.poll(self._tick * 1000) and not self._listen():
                pipes.unregister(self._server.words)
            if number != self._number:
                number, waited = self._number, 0.0
            else:
                waited += min(self._tick, time.monotonic() - begin)
            limit = self.limit
            if limit is not None and waited >= limit and not self.expired:
                self.expired = True
                self._server.process.kill()
        while pipes.poll(0) and self._listen():
            continue

    def _listen(self) -> bool:
        """Keep the end of the environment's output; return whether there was any."""
        words = os.read(self._server.words, _CHUNK)
        self.words = (self.words + words)[-_TAIL_BYTES:]
        return words != b""


def _start(python: str | os.PathLike[str]) -> _Server:
    requests_there, requests = os.pipe()
    answers, answers_there = os.pipe()
    words, words_there = os.pipe()
    lifeline_there, lifeline = os.pipe()
    # Signals to the whole job must not end a server before it ignores them.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED_SIGNALS)
    try:
        process = subprocess.Popen(
            [python, _SERVER],
            stdin=requests_there,
            stdout=answers_there,
            stderr=words_there,
            pass_fds=(lifeline_there,),
            env=_surroundings(),
        )
    except OSError as error:
        for descriptor in (requests, answers, words, lifeline):
            os.close(descriptor)
        raise ConfigError(
            f"python={os.fspath(python)!r}: expected a Python interpreter, got: {error.strerror}; give the path of one"
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in (requests_there, answers_there, words_there, lifeline_there):
            os.close(descriptor)
    return _Server(process, requests, answers, words, lifeline, lifeline_there)


def _surroundings() -> dict[str, str]:
    """Return the server's environment variables."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    tunables = ":".join(filter(None, (inherited.get("GLIBC_TUNABLES"), _TUNABLES)))
    fixed = {"PYTHONHASHSEED": "0", "GLIBC_TUNABLES": tunables}
    return {**dict.fromkeys(_THREADS, "1"), **inherited, **fixed}


def _end(server: _Server, watch: _Watch) -> None:
    """Let a server end by itself, or kill it."""
    os.close(server.requests)
    try:
        server.process.wait(0.5 if server.process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    watch.stopped = True
    if threading.current_thread() is not watch:  # the watch itself may collect a forgotten environment
        watch.join()
    for descriptor in (server.answers, server.words, server.lifeline):
        os.close(descriptor)


def _space(description: Mapping[str, Any]) -> Box | Discrete:
    if "n" in description:
        return Discrete(description["n"], description["start"])
    dtype, shape = np.dtype(description["dtype"]), tuple(description["shape"])
    bounds = [np.array(description[name], dtype) if name in description else None for name in ("low", "high")]
    return Box(shape, dtype, *bounds)


def _array(answer: memoryview, start: int) -> tuple[npt.NDArray[Any], int]:
    """Return the array at `start`, and where it ends."""
    letter, num_dimensions = ARRAY.unpack_from(answer, start)
    data = start + ARRAY.size + 4 * num_dimensions
    shape = struct.unpack_from(f"={num_dimensions}I", answer, start + ARRAY.size)
    dtype = np.dtype(letter)
    size = 1
    for length in shape:
        size *= length
    array = np.frombuffer(answer, dtype, size, data).reshape(shape).copy()
    return array, data + array.nbytes


def _info(answer: memoryview, start: int, nbytes: int) -> dict[str, Any]:
    return json.loads(bytes(answer[start : start + nbytes])) if nbytes else {}
