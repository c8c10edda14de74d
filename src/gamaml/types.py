"""Array aliases and the Protocols that users implement. A matching class is enough; nothing needs to be inherited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
KeyData = npt.NDArray[np.uint32]
"""uint32[2]; `streams.generator(key)` gives the NumPy Generator, `jax.random.wrap_key_data(key)` the JAX key."""

Records = npt.NDArray[np.void]
"""Structured array of result records; `records.record_dtype` makes the dtype."""


@dataclass(frozen=True)
class EvaluationKey:
    """The randomness of one evaluation.

    Attributes:
        task: key of the meta-tasks; shared by all children of a generation unless the config says otherwise.
        episode: key of everything else (rollouts, sampled actions, minibatches); it differs for every evaluation.
    """

    task: KeyData
    episode: KeyData


@dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation.

    Attributes:
        fitness: selection maximises it; a non-finite value marks a failed child, which is never selected.
        returns: float32[num_rounds + 1], the mean over tasks of the return (or loss) before any update and after each.
        steps: environment steps (supervised: samples) consumed.
        scalars: one float per name in `Problem.scalars`.
        fault: whether the environment failed and the child is marked as failed; the fitness is then not finite.
    """

    fitness: float
    returns: Float32Array
    steps: int
    scalars: tuple[float, ...] = ()
    fault: bool = False


@runtime_checkable
class Problem(Protocol):
    """A fitness function over flat parameter vectors, the lowest level at which users can plug in.

    Attributes:
        num_params: length of the parameter vector.
        num_rounds: number of inner updates; `Evaluation.returns` has one more entry.
        scalars: names of the extra floats recorded per evaluation.
        metric: the content of `Evaluation.returns`: "return" (higher is better) or "loss" (lower is better).
        scale: float32[num_params] that multiplies the mutation std per parameter, or None for 1 everywhere.

    Optional members (`problems.complete` fills in those that are left out, and refuses a misspelt name):
    `measure_constants()` returns float32 arrays by name, computed from the config alone. Rank 0 calls it once at the
    beginning of a run, and the run file stores the result as part of its science.
    `use_constants(constants)` receives these arrays on every rank and in every replay, before the first evaluation.
    `arrays(params)` returns the contents of a parameter vector by name, for `gamaml export`.
    `warm_up()` runs before the first evaluation: on rank 0 first, then on the other ranks, which find the compiled
    programs in a cache on disk.
    `batch_size` and `evaluate_batch` evaluate several candidates at once, as described at `BatchProblem`.
    `gradient(params, key)` returns the direction, float32[num_params], that improves the fitness.
    `optimal_return` is the greatest mean return that any policy reaches, shown beside every result.
    `libraries` names the distributions whose versions the run file records.
    `environment_versions` are further names and versions for the run file.
    `reproducible` is False where `evaluate` is not a pure function, so a replay may have other bits.
    """

    num_params: int
    num_rounds: int
    scalars: tuple[str, ...]
    metric: str
    scale: Float32Array | None

    def initial(self, noise: Float32Array) -> Float32Array:
        """Turn standard normal noise, float32[num_params], into initial parameters, float32[num_params]."""
        ...

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> Evaluation:
        """Return the fitness of `params`, float32[num_params]; a pure function of its arguments."""
        ...


class BatchProblem(Problem, Protocol):
    """A Problem that evaluates several candidates at once.

    A candidate's result has the same bits whatever its row and its neighbours; `evaluate` gives the same bits too.

    Attributes:
        batch_size: rows of `evaluate_batch`; a smaller rest is filled up by repeating the last row and key.
    """

    batch_size: int

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> Sequence[Evaluation]:
        """Return the fitness of every row of `params`, float32[batch_size, num_params], under its key."""
        ...


class SupervisedTask(Protocol):
    """A distribution of supervised tasks, written in JAX.

    Optional members:
    `test_loss(params, task, key)` judges children in place of `loss`.
    `num_samples` is the number of samples that one task costs; 1 by default.
    `initial(noise)` turns standard normal NumPy arrays by name into initial arrays by name.

    Attributes:
        shapes: name -> shape of the arrays of `params`.
    """

    shapes: Any  # a mapping of names to shapes; Any, so that the user's plain dict fits

    def sample(self, key: Any) -> Any:  # a JAX key in, any pytree out
        """Return one task."""
        ...

    def loss(self, params: Any, task: Any, key: Any) -> Any:  # JAX arrays
        """Return the scalar loss of `params` (dict of arrays) on data drawn with `key`."""
        ...


class RLTask(Protocol):
    """A distribution of reinforcement-learning tasks, written in JAX.

    Optional members:
    `optimal_return` is the greatest mean return that any policy can reach, NaN if unknown; it is shown beside every
    result.
    `deterministic` is True where an episode follows from the task and the actions alone.

    Attributes:
        observation_size: length of an observation.
        action_size: length of a continuous action.
        horizon: steps after which an episode is cut.
    """

    observation_size: int
    action_size: int
    horizon: int

    def sample(self, key: Any) -> Any:  # a JAX key in, any pytree out
        """Return one task."""
        ...

    def reset(self, task: Any, key: Any) -> Any:  # JAX arrays
        """Return (state, observation)."""
        ...

    def step(self, state: Any, action: Any, task: Any, key: Any) -> Any:  # JAX arrays
        """Return (state, observation, reward, done)."""
        ...


class HostTask(Protocol):
    """A distribution of tasks given as Gymnasium-style environments, stepped on the CPU.

    Optional members:
    `sample(generator)` draws a task with a NumPy Generator; without it, `task` is None.
    `sample_many(generator, number)` draws all tasks of an evaluation together, such as every direction once.
    `all_tasks` lists the tasks where there are only a few; `gamaml adapt` then takes them in turn.
    `set_task(env, task)` gives an existing environment another task before a reset; each rank then makes one
    environment, instead of one per task.
    `make_envs(task, number)` gives a batch environment, which plays so many episodes side by side. It has
    `observation_space` and `action_space` of a single environment, `reset(seeds)`, `step(actions, running)` and
    `close()`; docs/meta-rl.md describes them. An episode has the numbers that it has alone in `make_env`'s.
    `horizon` is the number of steps after which an episode is cut.
    `libraries` names the distributions whose versions the run file records.
    `reproducible` is False where a seed does not decide an episode.

    An environment may also have `reproducible = False`, and `library_versions`, versions by name. The run file records
    both.
    """

    def make_env(self, task: Any) -> Any:  # a Gymnasium-like environment; duck-typed
        """Return an environment with `reset(seed=...)`, `step(action)`, `observation_space`, `action_space`."""
        ...


Progress = Callable[[str], None]
"""Receives one plain line of progress."""
