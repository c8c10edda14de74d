"""Array aliases and the Protocols that users implement. Nothing here is inherited: a matching class is enough."""

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
"""Structured array of result records, see `records.record_dtype`."""


@dataclass(frozen=True)
class EvaluationKey:
    """The randomness of one evaluation.

    Attributes:
        task: key of the meta-tasks; shared by all children of a generation unless the config says otherwise.
        episode: key of everything else (rollouts, sampled actions, minibatches); differs for every evaluation.
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
        fault: whether the environment failed and the child is marked for it; the fitness is then not finite.
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
    `measure_constants()`, run once at the beginning of a run on rank 0: a function of the config that returns float32
    arrays by name, which the run file stores as part of its science.
    `use_constants(constants)`, called with these arrays on every rank and in every replay before the first evaluation.
    `arrays(params)`, the contents of a parameter vector by name, for `gamaml export`.
    `warm_up()`, called before the first evaluation: on rank 0 first, then on the others, which find its compiled
    programs in a cache on disk.
    `batch_size` and `evaluate_batch`, to evaluate several candidates at once: see `BatchProblem`.
    `gradient(params, key)`, the direction, float32[num_params], that improves the fitness.
    `optimal_return`, the greatest mean return that any policy reaches, shown beside every result.
    `libraries`, names of distributions whose versions the run file records.
    `environment_versions`, other names and versions that it records.
    `reproducible`, False where `evaluate` is not a pure function, so that a replay may have other bits.
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
    `test_loss(params, task, key)`, which judges children in place of `loss`.
    `num_samples`, the samples that one task costs; 1 by default.
    `initial(noise)`, which turns standard normal NumPy arrays by name into initial arrays by name.

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
    `optimal_return`, the greatest mean return that any policy can reach, NaN where it is not known; shown beside every
    result.
    `deterministic`, True where an episode follows from the task and the actions alone.

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
    `sample(generator)`, which draws a task with a NumPy Generator; without it, `task` is None.
    `sample_many(generator, number)`, which draws all tasks of an evaluation together, such as every direction once.
    `set_task(env, task)`, which gives an existing environment another task before a reset; then one environment is
    made per rank, instead of one per task.
    `horizon`, the steps after which an episode is cut.
    `libraries`, names of distributions whose versions the run file records.
    `reproducible`, False where a seed does not decide an episode.

    An environment may say `reproducible = False` too, and may have `library_versions`, versions by name. The run file
    records both.
    """

    def make_env(self, task: Any) -> Any:  # a Gymnasium-like environment; duck-typed
        """Return an environment with `reset(seed=...)`, `step(action)`, `observation_space`, `action_space`."""
        ...


Progress = Callable[[str], None]
"""Receives one plain line of progress."""
