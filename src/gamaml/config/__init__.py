"""The config: frozen dataclasses, read from TOML or built in Python, with every mistake reported in one line."""

from gamaml.config.env import EnvConfig
from gamaml.config.es import ESConfig
from gamaml.config.ga import EliteConfig, GAConfig
from gamaml.config.inner import InnerConfig
from gamaml.config.maml import MAMLConfig
from gamaml.config.multifactorial import MultifactorialConfig
from gamaml.config.noise import NoiseConfig
from gamaml.config.policy import CONVOLUTIONAL, MEMORIES, PolicyConfig
from gamaml.config.read import from_mapping, load, science, to_json, to_mapping
from gamaml.config.root import Config
from gamaml.config.stop import StopConfig
from gamaml.config.task import TaskConfig

__all__ = [
    "CONVOLUTIONAL",
    "MEMORIES",
    "Config",
    "ESConfig",
    "EliteConfig",
    "EnvConfig",
    "GAConfig",
    "InnerConfig",
    "MAMLConfig",
    "MultifactorialConfig",
    "NoiseConfig",
    "PolicyConfig",
    "StopConfig",
    "TaskConfig",
    "from_mapping",
    "load",
    "science",
    "to_json",
    "to_mapping",
]
