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
"""Structured array of result records, see `population.record_dtype`."""


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
    """What one evaluation found.

    Attributes:
        fitness: what selection maximises; a non-finite value marks a failed child, which is never selected.
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
        metric: "return" (higher is better) or "loss" (lower is better): what `Evaluation.returns` holds.
        scale: float32[num_params] that multiplies the mutation std per parameter, or None for 1 everywhere.

    A problem may have two methods more, for numbers that are measured once at the beginning of a run, on rank 0, and
    then stored in the run file as part of its science: `measure_constants()`, a function of the config that returns
    float32 arrays by name, and `use_constants(constants)`, which every rank and every replay calls before the first
    evaluation. A method `arrays(params)` tells `gamaml export` by name what a parameter vector holds.

    Three attributes, if there are any, go into the run file: `libraries`, names of distributions whose versions it
    records; `environment_versions`, other names and versions; `reproducible`, False where `evaluate` is not a pure
    function, so that a replay cannot have the same bits.

    A method `warm_up()`, if there is one, is called before the first evaluation: on rank 0 first, then on the others,
    so that these find in a cache on disk what rank 0 compiled.

    A problem with an attribute `batch_size` above 1 is given several candidates at once, see `BatchProblem`.
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
        batch_size: rows of `evaluate_batch`; what is left over is filled up by repeating the last row and key.
    """

    batch_size: int

    def evaluate_batch(self, params: Float32Array, keys: Sequence[EvaluationKey]) -> Sequence[Evaluation]:
        """Return the fitness of every row of `params`, float32[batch_size, num_params], under its key."""
        ...


class SupervisedTask(Protocol):
    """A distribution of supervised tasks, written in JAX.

    Optional, beside what is declared: `test_loss(params, task, key)`, by which children are judged in place of
    `loss`; `num_samples`, the samples that one task costs (1); `initial(noise)`, which turns standard normal NumPy
    arrays by name into initial arrays by name.

    Attributes:
        shapes: name -> shape of the arrays of `params`.
    """

    shapes: Any  # a mapping of names to shapes; Any, so that a plain dict of the user's fits

    def sample(self, key: Any) -> Any:  # a JAX key in, any pytree out
        """Return one task."""
        ...

    def loss(self, params: Any, task: Any, key: Any) -> Any:  # JAX arrays
        """Return the scalar loss of `params` (dict of arrays) on data drawn with `key`."""
        ...


class RLTask(Protocol):
    """A distribution of reinforcement-learning tasks, written in JAX.

    Optional: `optimal_return`, the greatest mean return that any policy can reach, NaN where it is not known, shown
    beside every result; `deterministic = True`, where an episode follows from the task and the actions alone.

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

    Optional:
    `sample(generator)`, which draws a task with a NumPy Generator; without it, `task` is None.
    `sample_many(generator, number)`, which draws all tasks of an evaluation together, such as every direction once.
    `set_task(env, task)`, which makes an environment that exists already one of the task, before a reset; then one is
    made per rank, instead of one per task.
    `horizon`, the steps after which an episode is cut.

    An attribute `reproducible = False`, of the task or of its environments, where a seed does not decide an episode;
    and of an environment `library_versions`, versions by name. Both are written into the run file.
    """

    def make_env(self, task: Any) -> Any:  # a Gymnasium-like environment; duck-typed
        """Return an environment with `reset(seed=...)`, `step(action)`, `observation_space`, `action_space`."""
        ...


Progress = Callable[[str], None]
"""Receives one plain line of progress."""
