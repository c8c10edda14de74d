"""Serves one environment to `gamaml.envs.bridge` from another Python interpreter.

Started as a script. It needs Python 3.6 or newer, NumPy and the environment's own packages, and knows the interfaces of
old gym, gym 0.26 and Gymnasium. It never imports gamaml.

Requests come on file descriptor 0 and answers leave on 1; both are moved away before foreign code runs, so that the
output of an environment goes to stderr. A message is a header, `HEADER`, and the number of bytes in it. Numbers are in
the machine's byte order, since both ends are on one machine.

| request | its bytes | answer | its bytes |
|---|---|---|---|
| START | JSON: id, modules, kwargs, render, lifeline | DONE | JSON: spaces, fps, versions, reproducible |
| RESET | `SEED`: whether there is one, the seed | DONE | info length, observation, info |
| STEP | the action in the dtype of its space | DONE | `STEPPED`, observation, info |
| RENDER | none | DONE | the picture |
| any | | ERROR | the traceback, UTF-8 |

An array is its dtype's letter, its number of dimensions, its lengths and its entries in C order; the observation of a
step is its entries alone if dtype and shape are those of the previous one, which `STEPPED` says. An info is JSON.
"""

import contextlib
import fcntl
import importlib
import inspect
import json
import os
import pathlib
import platform
import random
import select
import signal
import struct
import sys
import traceback
from typing import Any, Dict, List, Optional, Tuple, Union

START, RESET, STEP, RENDER = 1, 2, 3, 4
DONE, ERROR = 1, 2

HEADER = struct.Struct("=II")
"""Kind of the message, and the number of bytes that follow."""
SEED = struct.Struct("=?Q")
STEPPED = struct.Struct("=d???xI")
"""Reward, terminated, truncated, whether the observation has the usual form, and the length of the info at the end."""
STEP_HEAD = struct.Struct(HEADER.format + STEPPED.format[1:])
INFO = struct.Struct("=I")
ARRAY = struct.Struct("=cB")

IGNORED_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Schedulers and terminals send these to every process of a job. The client reacts to them; when it has ended, so does
its server."""


class Channel:
    """Messages over a pair of pipes.

    Args:
        source: file descriptor of requests.
        sink: file descriptor of answers.

    Attributes:
        buffer: holds the present request, header included.
    """

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self.buffer = bytearray(1 << 16)

    def close(self) -> None:
        """Close both."""
        os.close(self._source)
        os.close(self._sink)

    def reserve(self, nbytes: int) -> None:
        """Make room for requests of this size; smaller ones never move the buffer."""
        if nbytes > len(self.buffer):
            self.buffer += bytes(nbytes - len(self.buffer))

    def receive(self) -> Optional[Tuple[int, int]]:
        """Get the next request; return its kind and its end in the buffer, or None when the client has ended."""
        have = os.readv(self._source, (self.buffer,))
        if have == 0:
            return None
        if have < HEADER.size:
            have = self._fill(have, HEADER.size)
        kind, nbytes = HEADER.unpack_from(self.buffer)
        end: int = HEADER.size + nbytes
        if have < end:
            self.reserve(end)
            self._fill(have, end)
        return kind, end

    def _fill(self, have: int, end: int) -> int:
        while have < end:
            with memoryview(self.buffer) as view:
                got = os.readv(self._source, (view[have:],))
            if got == 0:
                raise EOFError("the client ended in the middle of a request")
            have += got
        return have

    def send(self, message: Union[bytes, bytearray]) -> None:
        """Send one answer, header included."""
        sent = os.write(self._sink, message)
        while sent < len(message):
            sent += os.write(self._sink, message[sent:])


class Host:
    """One environment behind the one interface of Gymnasium.

    Args:
        env: an environment of gym or Gymnasium.
        channel: its actions are read where they arrive.
    """

    def __init__(self, env: Any, channel: Channel) -> None:
        # Imported here, so the client learns of a missing NumPy like of any other error.
        import numpy as np

        self._np, self._ndarray = np, np.ndarray
        self._env = env
        inner = getattr(env, "unwrapped", env)
        self._takes_seed = "seed" in inspect.signature(inner.reset).parameters
        if not self._takes_seed and not hasattr(env, "seed"):
            raise TypeError(
                f"{type(inner).__name__}: expected reset(seed=...) or seed(...), got neither; wrap the environment so "
                "that its seed can be set"
            )
        render = getattr(inner, "render", None)
        self._render_takes_mode = render is not None and "mode" in inspect.signature(render).parameters
        metadata: Dict[str, Any] = getattr(env, "metadata", None) or {}
        self.spaces: Dict[str, Any] = {
            "observation": self._describe(env.observation_space, "observation_space"),
            "action": self._describe(env.action_space, "action_space"),
            "fps": metadata.get("render_fps") or metadata.get("video.frames_per_second"),
        }
        self.spaces["reproducible"] = repeats(env)
        action = self.spaces["action"]
        if "n" not in action and "low" not in action:
            raise TypeError(f"action_space: expected Box or Discrete, got {env.action_space!r}; wrap the environment")
        self._discrete = "n" in action
        dtype, shape = np.dtype(action["dtype"]), tuple(action["shape"])
        size = int(np.prod(shape, dtype=int))
        channel.reserve(HEADER.size + size * dtype.itemsize)
        self._action = np.frombuffer(channel.buffer, dtype, size, HEADER.size).reshape(shape)
        self._learn_form(np.zeros(0))

    def _describe(self, space: Any, name: str) -> Dict[str, Any]:
        if hasattr(space, "n") and not getattr(space, "shape", None):
            return {"n": int(space.n), "start": int(getattr(space, "start", 0)), "shape": [], "dtype": "int64"}
        if getattr(space, "shape", None) is None or getattr(space, "dtype", None) is None:
            raise TypeError(
                f"{name}: expected one array or one number, got {space!r}; wrap the environment, for example by "
                "FlattenObservation"
            )
        found = {"shape": [int(length) for length in space.shape], "dtype": self._np.dtype(space.dtype).str}
        if hasattr(space, "low") and hasattr(space, "high"):
            found["low"] = self._np.asarray(space.low).tolist()
            found["high"] = self._np.asarray(space.high).tolist()
        return found

    def reset(self, request: bytearray) -> bytes:
        """Start an episode; the seed decides all of it, for environments that use the global generators too."""
        seeded, seed = SEED.unpack(request)
        if seeded:
            random.seed(seed)
            self._np.random.seed(seed % 2**32)
        if not self._takes_seed:
            if seeded:
                self._env.seed(seed)
            result = self._env.reset()
        else:
            result = self._env.reset(seed=seed) if seeded else self._env.reset()
        observation, info = self._split(result)
        observation = self._np.asarray(observation)
        encoded = self._encode_info(info)
        payload = INFO.pack(len(encoded)) + self._encode(observation) + encoded
        self._learn_form(observation)  # last, since the client learns it from a complete answer only
        return payload

    def _split(self, result: Any) -> Any:
        """Return observation and info; an observation is an array or a number, so a tuple is the new interface."""
        return result if is_a(result, tuple) else (result, {})

    def _learn_form(self, observation: Any) -> None:
        """Prepare the answer to a step whose observation has this dtype and shape."""
        self._dtype, self._shape = observation.dtype, observation.shape
        self._nbytes = STEPPED.size + observation.nbytes
        self._usual = bytearray(HEADER.size + self._nbytes)
        entries = self._np.frombuffer(self._usual, self._dtype, observation.size, STEP_HEAD.size)
        self._entries = entries.reshape(self._shape)

    def step(self) -> bytearray:
        """Advance the episode by the action that has arrived; return the answer with its header.

        Every line costs here, because the environment's own work has emptied the caches.
        """
        # A copy, because the environment may keep or change it.
        action = int(self._action) if self._discrete else self._action.copy()
        result = self._env.step(action)
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
        else:
            observation, reward, done, info = result
            truncated = done and info.get("TimeLimit.truncated", False)
            terminated = done and not truncated
        if type(observation) is not self._ndarray:
            observation = self._np.asarray(observation)
        usual = observation.dtype is self._dtype and observation.shape == self._shape
        info = self._encode_info(info) if info else b""
        if usual and not info:
            self._entries[...] = observation
            STEP_HEAD.pack_into(self._usual, 0, DONE, self._nbytes, reward, terminated, truncated, True, 0)
            return self._usual
        if usual:
            entries = observation.tobytes()
        else:
            entries = self._encode(observation)
            self._learn_form(observation)
        return answer(DONE, STEPPED.pack(reward, terminated, truncated, usual, len(info)) + entries + info)

    def render(self) -> bytes:
        """Return the picture as an array."""
        if self._render_takes_mode:
            return self._encode(self._env.render(mode="rgb_array"))
        picture = self._env.render()
        if picture is None:
            raise TypeError("render: expected a picture, got None; make the environment with render_mode='rgb_array'")
        return self._encode(picture)

    def close(self) -> None:
        """Close the environment."""
        if hasattr(self._env, "close"):
            self._env.close()

    def _encode(self, value: Any) -> bytes:
        array = self._np.asarray(value)
        letter = array.dtype.char.encode()
        if array.dtype.hasobject or not array.dtype.isnative:
            raise TypeError(
                f"expected an array of numbers from the environment, got {type(value).__name__} of dtype "
                f"{array.dtype}; wrap it"
            )
        lengths = struct.pack(f"={array.ndim}I", *array.shape)
        return ARRAY.pack(letter, array.ndim) + lengths + array.tobytes()

    def _plain(self, value: Any) -> Any:
        return value.item() if is_a(value, self._np.generic) else value

    def _encode_info(self, info: Dict[Any, Any]) -> bytes:
        plain: Dict[str, Any] = {}
        for key in info:
            value = self._plain(info[key])
            if isinstance(key, str) and (value is None or isinstance(value, (bool, int, float, str))):
                plain[key] = value
        return json.dumps(plain).encode() if plain else b""


def make_environment(name: str, modules: List[str], kwargs: Dict[str, Any], render: bool) -> Any:
    """Make an environment.

    Args:
        name: "module:callable", or an id for `make` of Gymnasium or gym.
        modules: imported first, for the environments that they register.
        kwargs: keyword arguments of the callable or of `make`.
        render: whether pictures will be requested.
    """
    pictures = {"render_mode": "rgb_array"} if render else {}
    for module in modules:
        importlib.import_module(module)
    module, _, attribute = name.partition(":")
    if attribute:
        found = getattr(importlib.import_module(module), attribute, None)
        if callable(found):
            takes_mode = "render_mode" in inspect.signature(found).parameters
            return found(**dict(pictures if takes_mode else {}, **kwargs))
    failures: List[str] = []
    for library in ("gymnasium", "gym"):
        try:
            make: Any = importlib.import_module(library).make
        except ImportError as error:
            failures.append(f"{library}: {error}")
            continue
        # The checker only warns, costs time, and in gym 0.26 fails with NumPy 2.
        known = inspect.signature(make).parameters
        # Older versions, without that checker, take the render mode in render().
        new = {"disable_env_checker": True, **pictures} if "disable_env_checker" in known else {}
        try:
            return make(name, **dict(new, **kwargs))
        except Exception as error:
            if type(error).__name__ not in _UNKNOWN:
                raise
            failures.append(f"{library}: {error}")
    raise LookupError(
        f"{name!r}: expected an environment of gymnasium or gym in {sys.executable}, got none "
        f"({'; '.join(failures)}); name the package that registers it in modules"
    )


_UNKNOWN = ("NameNotFound", "NamespaceNotFound", "VersionNotFound", "UnregisteredEnv", "DeprecatedEnv")
"""Names of the errors that gym and Gymnasium raise for an unknown environment."""


_SIMULATORS = ("mujoco", "mujoco_py", "pybullet", "ale_py", "Box2D")


def versions(env: Any, name: str, modules: List[str]) -> Dict[str, str]:
    """Return the versions of Python, and of the imported libraries on which the environment's numbers depend."""
    its_own = type(getattr(env, "unwrapped", env)).__module__
    names = ["numpy", "gym", "gymnasium", *_SIMULATORS, name.rpartition(":")[0], its_own, *modules]
    found = {"python": platform.python_version()}
    for library in sorted({name.partition(".")[0] for name in names}):
        module = sys.modules.get(library)
        version = module and (getattr(module, "__version__", None) or installed_version(library))
        if version:
            found[library] = str(version)
    return found


def installed_version(library: str) -> Optional[str]:
    """Return the version in the name of the installed folder; Python 3.7 has no quick function for it."""
    for folder in sys.path:
        for entry in pathlib.Path(folder).glob(f"{library}-*-info"):
            return entry.stem.split("-")[1]
    return None


_NOT_REPRODUCIBLE = ("RoboschoolPong-v1", "Meta-World/MT1")
"""These environments do not declare it: one keeps the generator of its first seed, the other draws before it is
seeded."""


def repeats(env: Any) -> bool:
    """Return whether the seed decides an episode.

    An environment says no with an attribute `reproducible = False`, or with `nondeterministic` in its registration.
    """
    innermost = getattr(env, "unwrapped", env)
    if not getattr(env, "reproducible", True) or not getattr(innermost, "reproducible", True):
        return False
    spec = getattr(env, "spec", None)
    return not getattr(spec, "nondeterministic", False) and getattr(spec, "id", None) not in _NOT_REPRODUCIBLE


def end_with_the_client(lifeline: int) -> None:
    """Let the kernel kill this process when the other end of a pipe closes, even while foreign code spins.

    A parent-death signal would follow the *thread* that started this process, which may end long before the client.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, 0)
    if poll.poll(0):
        os._exit(0)


def is_a(value: Any, kind: Any) -> bool:
    """Act as isinstance, but keep the type Any for the type checker."""
    return isinstance(value, kind)


def answer(kind: int, payload: bytes) -> bytearray:
    """Return a whole message."""
    return bytearray(HEADER.pack(kind, len(payload)) + payload)


def serve(channel: Channel) -> None:
    """Answer requests until there are none."""
    host: Optional[Host] = None
    while True:
        received = channel.receive()
        if received is None:
            break
        kind, end = received
        try:
            if kind == STEP and host is not None:
                message = host.step()
            elif kind == START:
                start = json.loads(channel.buffer[HEADER.size : end].decode())
                end_with_the_client(start["lifeline"])
                env = make_environment(start["id"], start["modules"], start["kwargs"], start["render"])
                host = Host(env, channel)
                host.spaces["versions"] = versions(env, start["id"], start["modules"])
                message = answer(DONE, json.dumps(host.spaces).encode())
            elif host is None:
                raise RuntimeError("the environment was not started")
            elif kind == RESET:
                message = answer(DONE, host.reset(channel.buffer[HEADER.size : end]))
            else:
                message = answer(DONE, host.render())
        except Exception:
            message = answer(ERROR, traceback.format_exc().encode())
        channel.send(message)
    if host is not None:
        host.close()


def main() -> None:
    """Take the pipes, and serve."""
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_SIGNALS)  # the client blocked them until here
    channel = Channel(os.dup(0), os.dup(1))
    if hasattr(os, "register_at_fork"):  # from Python 3.7 on
        # The environment's workers would keep the pipes open and hide the end of this process from the client.
        os.register_at_fork(after_in_child=channel.close)
    # This process need not run at once: the client that wakes it is about to wait for it anyway.
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    # The working directory, as for a program started by hand, instead of the folder of this file.
    sys.path[0] = str(pathlib.Path.cwd())
    serve(channel)


if __name__ == "__main__":
    main()
