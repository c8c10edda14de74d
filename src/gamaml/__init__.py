"""gamaml: meta-learning with a genetic algorithm on MPI clusters.

`import gamaml` starts neither MPI nor JAX; `train` and `generations` do when they are called.
"""

from gamaml.api import generations as generations
from gamaml.api import load as load
from gamaml.api import train as train
from gamaml.commands.adapt import Adaptation as Adaptation
from gamaml.commands.adapt import adapt as adapt
from gamaml.config import Config as Config
from gamaml.engine.info import GenerationInfo as GenerationInfo
from gamaml.engine.info import TrainResult as TrainResult
from gamaml.errors import GamamlError as GamamlError
from gamaml.job.job_info import JobInfo as JobInfo
from gamaml.types import Evaluation as Evaluation
from gamaml.types import EvaluationKey as EvaluationKey

__version__ = "0.1.0"

__all__ = [
    "Adaptation",
    "Config",
    "Evaluation",
    "EvaluationKey",
    "GamamlError",
    "GenerationInfo",
    "JobInfo",
    "TrainResult",
    "adapt",
    "generations",
    "load",
    "train",
]
