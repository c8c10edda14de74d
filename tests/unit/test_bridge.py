"""Environments in another process; here by the same interpreter, so that no other is needed."""

from __future__ import annotations

import ast
import contextlib
import gc
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from toy_env import Changing, OldToy, Toy

from gamaml.envs import server
from gamaml.envs.bridge import BridgedEnv, BridgeError, BridgeOverdueError, Discrete
from gamaml.envs.spaces import spaces_of
from gamaml.errors import ConfigError, GamamlError

HERE = Path(__file__).parent
ACTION = np.array([0.5, -0.25, 1.0], np.float32)

Make = Callable[..., BridgedEnv]


@pytest.fixture
def bridged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make toys in other processes, and close them."""
    monkeypatch.chdir(HERE)
    with contextlib.ExitStack() as stack:

        def make(name: str = "Toy", limit: float = 60.0, **kwargs: Any) -> BridgedEnv:
            env = BridgedEnv(sys.executable, f"toy_env:{name}", kwargs=kwargs, step_seconds=limit)
            return stack.enter_context(env)

        yield make


def play(env: Any, seed: int, steps: int) -> list[tuple[Any, ...]]:
    """Return (observation's entries, dtype, reward, terminated, truncated) of every step."""
    observation, _ = env.reset(seed=seed)
    found = [(observation.tolist(), observation.dtype)]
    for _ in range(steps):
        observation, *rest, _ = env.step(ACTION)
        found.append((observation.tolist(), observation.dtype, *rest))
    return found


def ended(pid: int) -> bool:
    """Return whether a process is no more, within a minute; one that nobody waited for counts as ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False


def test_a_bridged_episode_is_the_native_one(bridged: Make) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - the server does this for environments that use it
    assert play(bridged(), 5, 8) == play(Toy(), 5, 8)


def test_the_seed_decides_the_episode_whatever_was_played_before(bridged: Make) -> None:
    fresh, used = bridged(), bridged()
    for seed in (8, 9):
        play(used, seed, 6)
    assert play(used, 5, 8) == play(fresh, 5, 8)
    used.reset()
    assert not np.array_equal(used.reset()[0], used.reset()[0])


def test_versions_there_and_what_does_not_repeat_itself_are_told(bridged: Make) -> None:
    toy = bridged()
    assert toy.library_versions == {"python": platform.python_version(), "numpy": np.__version__}
    assert toy.reproducible
    assert not bridged("Careless").reproducible


@pytest.mark.parametrize(
    ("spec", "repeats"),
    [
        (None, True),
        ({"id": "A-v0", "nondeterministic": False}, True),
        ({"id": "A-v0", "nondeterministic": True}, False),
        ({"id": "RoboschoolPong-v1", "nondeterministic": False}, False),
        ({"id": "Meta-World/MT1", "nondeterministic": False}, False),
    ],
)
def test_a_registered_environment_says_whether_it_repeats_itself(spec: dict[str, Any] | None, repeats: bool) -> None:
    toy = Toy()
    if spec is not None:
        vars(toy)["spec"] = SimpleNamespace(**spec)
    assert server.repeats(toy) == repeats


def test_an_installed_version_is_found_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("toys-1.0.49.dist-info", "old_toys-2.1-py3.7.egg-info"):
        (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert [server.installed_version(name) for name in ("toys", "old_toys", "new_toys")] == ["1.0.49", "2.1", None]


def test_old_interfaces_arrive_as_the_new_one(bridged: Make) -> None:
    native, env = OldToy(), bridged("OldToy")
    native.seed(3)
    env.reset(seed=3)
    native.reset()
    ends: list[tuple[bool, bool]] = []
    for action in (2, 0, 1, 2, 0):
        observation, reward, terminated, truncated, _ = env.step(action)
        assert observation.dtype == np.float64  # as it is, not as it is declared
        assert observation.tolist() == native.step(action)[0].tolist()
        assert reward == 0.5
        ends.append((terminated, truncated))
    assert ends == [(False, False)] * 3 + [(True, False), (False, True)]


def test_an_observation_arrives_in_whatever_form_it_has(bridged: Make) -> None:
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002 - as the server does
    env, native = bridged("Changing"), Changing()
    trace = play(env, 5, 8)
    assert trace == play(native, 5, 8)
    assert trace == play(env, 5, 8)
    with pytest.raises(
        BridgeError, match="expected an array of numbers from the environment, got ndarray of dtype obj"
    ):
        env.reset(seed=5)
    assert play(env, 5, 8) == trace


def test_info_brings_plain_values_only(bridged: Make) -> None:
    env = bridged()
    observation, info = env.reset(seed=1)
    assert info == {"start": observation[0, 0]}
    infos = [env.step(ACTION)[-1] for _ in range(5)]
    assert infos == [{}, {}, {}, {"steps": 4, "half": True}, {"steps": 5, "half": False}]


def test_observations_are_the_callers_own(bridged: Make) -> None:
    env = bridged()
    first, _ = env.reset(seed=1)
    before = first.copy()
    second = env.step(ACTION)[0]
    env.step(ACTION)
    assert np.array_equal(first, before)
    assert first.flags.writeable and second.flags.writeable
    assert not np.shares_memory(first, second)


def test_a_policy_can_read_the_spaces(bridged: Make) -> None:
    spaces = spaces_of(bridged(), "task")
    assert (spaces.observation_size, spaces.num_outputs) == (6, 3)
    assert spaces.act(np.array([-7, 7, 0], np.float32)).tolist() == [-1, 7, 0]
    old = bridged("OldToy")
    assert old.action_space == Discrete(3, 0)
    assert spaces_of(old, "task").num_outputs == 3


def test_a_picture_arrives_whole(bridged: Make) -> None:
    picture = bridged().render()
    assert np.array_equal(picture, Toy().render())


def test_an_error_arrives_with_its_traceback_and_the_environment_goes_on(bridged: Make) -> None:
    env = bridged(trouble="raise")
    with pytest.raises(GamamlError) as caught:
        play(env, 1, 3)
    first, *_, last = str(caught.value).splitlines()
    assert first == f"environment 'toy_env:Toy' in {sys.executable}: step raised there"
    assert re.search(r'File ".*toy_env.py", line \d+, in _get_into_trouble', str(caught.value))
    assert last == "ValueError: the third step is one too many"
    assert play(env, 1, 2) == play(bridged(), 1, 2)


def test_an_environment_that_cannot_be_made_says_why(bridged: Make) -> None:
    with pytest.raises(BridgeError, match=r"its start raised there[\s\S]*unexpected keyword argument 'colour'"):
        bridged(colour="red")
    with pytest.raises(BridgeError, match="observation_space: expected one array or one number, got namespace"):
        bridged("nested")
    with pytest.raises(BridgeError, match="No module named 'no_such_module'"):
        BridgedEnv(sys.executable, "no_such_module:Toy")
    with pytest.raises(BridgeError, match=r"'Nothing-v0': expected an environment of gymnasium or gym in"):
        BridgedEnv(sys.executable, "Nothing-v0")


def test_an_interpreter_that_cannot_be_started_is_told_in_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        BridgedEnv("/nowhere/python3.7", "Toy-v0")
    assert str(caught.value) == (
        "python='/nowhere/python3.7': expected a Python interpreter, got: No such file or directory; "
        "give the path of one"
    )
    with pytest.raises(BridgeError, match="expected an answer to its start, got the end of its process .* status 1"):
        BridgedEnv("false", "Toy-v0")
    with pytest.raises(ConfigError, match="expected kwargs that JSON can hold"):
        BridgedEnv(sys.executable, "Toy-v0", kwargs={"what": object()})


def test_an_action_of_another_shape_is_refused(bridged: Make) -> None:
    env = bridged()
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"expected an action of shape \(3,\), got \(2,\); reshape it"):
        env.step(ACTION[:2])
    env.step(ACTION)


def test_a_death_by_signal_is_told_by_name(bridged: Make) -> None:
    env = bridged(trouble="kill")
    with pytest.raises(BridgeError, match=f"expected an answer to step, got the death of its process {env.pid} by SIG"):
        play(env, 1, 3)
    with pytest.raises(BridgeError, match="expected an open environment, got a closed one; make it anew"):
        env.reset(seed=1)


def test_a_server_that_was_killed_between_two_calls_is_noticed(bridged: Make) -> None:
    env = bridged()
    env.reset(seed=1)
    os.kill(env.pid, signal.SIGKILL)
    assert ended(env.pid)
    with pytest.raises(BridgeError, match=f"the death of its process {env.pid} by SIGKILL"):
        env.step(ACTION)


def test_an_exit_is_told_with_the_last_words(bridged: Make) -> None:
    env = bridged(trouble="exit")
    with pytest.raises(
        BridgeError, match=rf"the end of its process {env.pid} with exit status 7; its last words:\nout of"
    ):
        play(env, 1, 3)


@pytest.mark.parametrize("trouble", ["hang", "spin"])
def test_a_server_that_does_not_answer_is_ended(bridged: Make, trouble: str) -> None:
    env = bridged(trouble=trouble, limit=1.0)
    with pytest.raises(
        BridgeOverdueError, match=r"an answer to step, got none within 1 s, so its process \d+ was killed; allow"
    ):
        play(env, 1, 3)
    assert ended(env.pid)


def test_what_an_environment_prints_neither_disturbs_nor_blocks(bridged: Make) -> None:
    assert play(bridged(trouble="print"), 1, 4) == play(bridged(), 1, 4)


def test_signals_to_the_whole_job_leave_the_server_alone(bridged: Make) -> None:
    env = bridged()
    for number in server.IGNORED_SIGNALS:
        os.kill(env.pid, number)
    assert play(env, 1, 2) == play(bridged(), 1, 2)


def test_an_interrupted_call_ends_the_server(bridged: Make) -> None:
    env = bridged(trouble="hang")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            while True:
                play(env, 1, 3)
    finally:
        signal.signal(signal.SIGALRM, former)
    assert ended(env.pid)


def test_a_closed_or_forgotten_environment_leaves_nothing(bridged: Make) -> None:
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one of them is the listing's own
    env = bridged()
    env.close()
    env.close()
    assert ended(env.pid)
    forgotten = BridgedEnv(sys.executable, "toy_env:Toy")
    pid = forgotten.pid
    del forgotten
    gc.collect()
    assert ended(pid)
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


CLIENT = """
import json, sys
import numpy as np
from gamaml.envs.bridge import BridgedEnv
kwargs, limit = json.loads(sys.argv[1])
env = BridgedEnv(sys.executable, "toy_env:Toy", kwargs=kwargs, step_seconds=limit)
env.reset(seed=1)
for _ in range(2):
    env.step(np.zeros(3))
print(env.pid, flush=True)
env.step(np.zeros(3))
print("answered", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def client(limit: float, **kwargs: Any) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a client that is about to take the third step; give it and its server's process id."""
    command = [sys.executable, "-c", CLIENT, json.dumps([kwargs, limit])]
    with subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("trouble", ["", "hang", "spin"])
def test_a_server_ends_with_its_client_even_while_it_spins(trouble: str) -> None:
    with client(3600.0, trouble=trouble) as (process, pid):
        time.sleep(0.3)  # for the trouble to begin; too short a time would weaken the test, not fail it
        assert Path(f"/proc/{pid}").exists()
        process.kill()
        process.communicate()
        assert ended(pid)


def test_a_job_that_was_suspended_does_not_take_its_server_for_hung() -> None:
    with client(2.0, trouble="hang", seconds=1.0) as (process, pid):
        for number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(process.pid, number)
            os.kill(pid, number)
            time.sleep(3.0 if number == signal.SIGSTOP else 0.0)
        assert process.stdout is not None
        assert process.stdout.readline() == "answered\n"


def test_the_servers_surroundings_are_fixed(bridged: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/this/interpreter")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
    first, second = bridged("hash_of_text"), bridged("hash_of_text")
    assert first.reset(seed=1)[0] == second.reset(seed=1)[0]
    variables = Path(f"/proc/{first.pid}/environ").read_bytes()
    assert b"/of/this/interpreter" not in variables
    assert b"glibc.malloc.arena_max=1" in variables


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose malloc can fill what it gives")
def test_memory_that_nobody_wrote_reads_as_zeros(bridged: Make) -> None:
    observation, _ = bridged("heap").reset(seed=1)
    assert not observation.any()


def test_the_server_runs_on_its_core(bridged: Make) -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        assert os.sched_getaffinity(bridged().pid) == {min(mine)}
        assert os.sched_getaffinity(0) == {min(mine)}
    finally:
        os.sched_setaffinity(0, mine)


def test_the_server_needs_only_numpy_and_the_syntax_of_old_pythons() -> None:
    tree = ast.parse(Path(server.__file__).read_text(), feature_version=(3, 7))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy"}
    script = f"import json, sys; sys.path.insert(0, {str(Path(server.__file__).parent)!r}); import server"
    script += "; print(json.dumps(sorted(name for name in sys.modules if name.startswith('gamaml'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
