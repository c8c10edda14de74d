"""gamaml: meta-learning with a genetic algorithm on MPI clusters.

`import gamaml` starts neither MPI nor JAX; `train` and `generations` do when they are called.
"""

from gamaml.adapt import Adaptation as Adaptation
from gamaml.adapt import adapt as adapt
from gamaml.config import Config as Config
from gamaml.errors import GamamlError as GamamlError
from gamaml.population import GenerationInfo as GenerationInfo
from gamaml.population import JobInfo as JobInfo
from gamaml.population import TrainResult as TrainResult
from gamaml.train import generations as generations
from gamaml.train import load as load
from gamaml.train import train as train
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
