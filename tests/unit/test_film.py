"""Filmed episodes: the same results, every frame in the file, and mistakes in words."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gamaml import config as cfg
from gamaml import problems
from gamaml.envs.film import Film
from gamaml.envs.make_env import make
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.types import EvaluationKey

# The library forks, and at once starts another program, which JAX, if another test has loaded it, cannot know.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

KEY = EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(1, streams.Purpose.EPISODES))


class Lamp:
    """An environment of five steps whose picture is as bright as the number of steps."""

    observation_space, action_space = SimpleNamespace(shape=(1,)), SimpleNamespace(n=2)

    def __init__(self, picture: str, fps: float) -> None:
        self.metadata = {"render_fps": fps}
        self._picture = picture
        self.brightness = 1.0

    def reset(self, *, seed: int) -> Any:
        self._steps, self._luck = 0, seed % 10
        return [0.0], {}

    def step(self, action: int) -> Any:
        self._steps += 1
        return [0.0], float(self._luck), self._steps == 5, False, {}

    def render(self) -> Any:
        if self._picture == "raises":
            raise OSError("no paint left")
        return None if self._picture == "none" else np.full((33, 48, 3), 40 * self._steps, np.uint8)


class Lamps:
    def __init__(self, picture: str = "bright", fps: float = 10.0) -> None:
        self._arguments = picture, fps

    def make_env(self, task: Any) -> Lamp:
        return Lamp(*self._arguments)


def problem(task: Any, film: Film | None = None, name: str = "m:Lamps") -> Any:
    inner = {"rounds": 0, "num_tasks": 1, "episodes": 2}
    config = cfg.from_mapping({"task": {"name": name}, "inner": inner, "stop": {"generations": 1}})
    return problems.make_problem(config, task, film=film)


@pytest.fixture(autouse=True)
def library() -> Any:
    pytest.importorskip("imageio_ffmpeg", reason="needs imageio[ffmpeg]")
    return pytest.importorskip("imageio.v2", reason="needs imageio")


def frames_of(path: Path, library: Any) -> list[np.ndarray]:
    with warnings.catch_warnings():
        # The reader leaves its pipes to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with library.get_reader(path) as reader:
            frames = [np.asarray(frame)[..., :3] for frame in reader]
        del reader
        gc.collect()
    return frames


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_film_holds_every_frame_and_changes_no_result(suffix: str, tmp_path: Path, library: Any) -> None:
    film = Film(tmp_path / f"lamp{suffix}")
    plain, filmed = problem(Lamps()), problem(Lamps(), film)
    params = np.ones(plain.num_params, np.float32)
    assert filmed.evaluate(params, KEY).fitness == plain.evaluate(params, KEY).fitness
    film.close()
    assert film.num_frames == 12  # two episodes, each of a reset and five steps
    frames = frames_of(film.path, library)
    assert len(frames) == 12
    assert frames[0].shape == (34, 48, 3)  # one row more, since H.264 wants even sides
    brightness = [float(frame.mean()) for frame in frames]
    assert brightness == pytest.approx(2 * [40 * step for step in range(6)], abs=8)


def test_a_filmed_environment_is_given_its_tasks(tmp_path: Path) -> None:
    given: list[tuple[type, float]] = []

    class Dimmable(Lamps):
        def sample(self, generator: np.random.Generator) -> float:
            return float(generator.random())

        def set_task(self, env: Lamp, task: float) -> None:
            given.append((type(env), task))

    plain, filmed = problem(Dimmable()), problem(Dimmable(), Film(tmp_path / "lamp.mp4"))
    params = np.ones(plain.num_params, np.float32)
    for each in (plain, filmed):
        each.evaluate(params, KEY)
    # One task when a problem is made, and one per evaluation.
    assert {kind for kind, _ in given} == {Lamp}
    assert given[0] == given[1] and given[2] == given[3] != given[0]


def test_a_gif_shows_no_more_frames_a_second_than_viewers_play(tmp_path: Path, library: Any) -> None:
    film = Film(tmp_path / "fast.gif")
    filmed = problem(Lamps(fps=120.0), film)
    filmed.evaluate(np.ones(filmed.num_params, np.float32), KEY)
    film.close()
    assert film.num_frames == 4  # every third
    with library.get_reader(film.path) as reader:
        assert reader.get_meta_data()["duration"] == pytest.approx(25, abs=5)  # ms


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("none", "environment Lamp: expected render.. to give uint8.height, width, 3., got None"),
        ("raises", "expected frames, got OSError: no paint left"),
    ],
)
def test_an_environment_that_does_not_render_is_told_after_its_episodes(
    picture: str, message: str, tmp_path: Path
) -> None:
    film = Film(tmp_path / "dark.mp4")
    filmed = problem(Lamps(picture), film)
    assert filmed.evaluate(np.ones(filmed.num_params, np.float32), KEY).steps == 10
    with pytest.raises(ConfigError, match=message):
        film.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("film.avi", r"expected a name that ends in \.mp4 or \.gif, got 'film.avi'"),
        ("absent/film.mp4", "expected an existing folder, got none"),
    ],
)
def test_a_file_that_cannot_be_a_video_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        Film(tmp_path / name)


def test_a_missing_library_is_named_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    with pytest.raises(ConfigError, match=r"pip install 'gamaml\[video\]'"):
        Film(tmp_path / "film.mp4")


def test_a_task_without_environments_cannot_be_filmed(tmp_path: Path) -> None:
    config = cfg.from_mapping({"task": {"name": "navigation"}, "stop": {"generations": 1}})
    with pytest.raises(ConfigError, match="expected a task with environments that render, got 'navigation'"):
        problems.make_problem(config, film=Film(tmp_path / "film.mp4"))


@pytest.mark.parametrize(
    ("env", "shape", "fps"),
    [
        ({"id": "ALE/Pong-v5"}, (210, 160, 3), 15.0),
        ({"id": "CartPole-v1"}, (400, 600, 3), 50),
        ({"id": "gym:CartPole-v1"}, (400, 600, 3), 50),
        ({"id": "CartPole-v1", "isolate": True}, (400, 600, 3), 50),
    ],
    ids=lambda value: str(value.get("id")) if isinstance(value, dict) else "",
)
def test_environments_by_id_render_when_they_are_made_for_it(env: dict[str, Any], shape: Any, fps: float) -> None:
    for needed in ("gymnasium", "gym", "ale_py", "pygame"):
        pytest.importorskip(needed, reason=f"needs {needed}")
    made = make(cfg.EnvConfig(**env), render=True)
    made.reset(seed=1)
    picture = made.render()
    assert (picture.shape, picture.dtype) == (shape, np.uint8)
    assert len(np.unique(picture)) > 2
    assert made.metadata["render_fps"] == fps
    made.close()
