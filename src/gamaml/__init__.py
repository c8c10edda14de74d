"""gamaml: meta-learning by evolution on MPI clusters.

`import gamaml` starts neither MPI nor JAX; `train` and `generations` do when they are called.
"""

from typing import TYPE_CHECKING

from gamaml.api import generations as generations
from gamaml.api import load as load
from gamaml.api import train as train
from gamaml.config import Config as Config
from gamaml.engine.adaptation import Adaptation as Adaptation
from gamaml.engine.adaptation import Aggregate as Aggregate
from gamaml.engine.adaptation import adapt as adapt
from gamaml.engine.adaptation import aggregate as aggregate
from gamaml.engine.adaptation import compare_adaptation as compare_adaptation
from gamaml.engine.adaptation import difference as difference
from gamaml.engine.info import GenerationInfo as GenerationInfo
from gamaml.engine.info import TrainResult as TrainResult
from gamaml.engine.intervals import bootstrap as bootstrap
from gamaml.engine.intervals import interquartile_mean as interquartile_mean
from gamaml.engine.policy_file import Exported as Exported
from gamaml.engine.policy_file import export as export
from gamaml.engine.repetition import Replay as Replay
from gamaml.engine.repetition import replay as replay
from gamaml.errors import ConfigError as ConfigError
from gamaml.errors import EvaluationError as EvaluationError
from gamaml.errors import GamamlError as GamamlError
from gamaml.errors import LaunchError as LaunchError
from gamaml.errors import OverdueError as OverdueError
from gamaml.errors import ResourceError as ResourceError
from gamaml.errors import RunFileError as RunFileError
from gamaml.errors import SchedulerError as SchedulerError
from gamaml.errors import SelectionError as SelectionError
from gamaml.errors import StrategyError as StrategyError
from gamaml.evolution.strategy import Strategy as Strategy
from gamaml.job.job_info import JobInfo as JobInfo
from gamaml.types import BatchProblem as BatchProblem
from gamaml.types import Evaluation as Evaluation
from gamaml.types import EvaluationKey as EvaluationKey
from gamaml.types import HostTask as HostTask
from gamaml.types import Problem as Problem
from gamaml.types import RLTask as RLTask
from gamaml.types import SupervisedTask as SupervisedTask

if TYPE_CHECKING:
    from gamaml.runlog import Run as Run

__version__ = "0.1.0"

__all__ = [
    "Adaptation",
    "Aggregate",
    "BatchProblem",
    "Config",
    "ConfigError",
    "Evaluation",
    "EvaluationError",
    "EvaluationKey",
    "Exported",
    "GamamlError",
    "GenerationInfo",
    "HostTask",
    "JobInfo",
    "LaunchError",
    "OverdueError",
    "Problem",
    "RLTask",
    "Replay",
    "ResourceError",
    "Run",
    "RunFileError",
    "SchedulerError",
    "SelectionError",
    "Strategy",
    "StrategyError",
    "SupervisedTask",
    "TrainResult",
    "adapt",
    "aggregate",
    "bootstrap",
    "compare_adaptation",
    "difference",
    "export",
    "generations",
    "interquartile_mean",
    "load",
    "replay",
    "train",
]

if not TYPE_CHECKING:  # a type checker that saw these would accept any name

    def __getattr__(name: str) -> object:
        """Import `Run` at its first use, since it imports h5py."""
        if name == "Run":
            from gamaml.runlog import Run

            return Run
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
