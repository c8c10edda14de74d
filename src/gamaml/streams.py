"""The one source of randomness: streams keyed by (seed, purpose, generation, index, episode).

No stream depends on a rank, a node or the order of events, so a run has one outcome however it is distributed.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt


class Purpose(enum.IntEnum):
    """What a stream is used for. The values are part of the run's science: never renumber."""

    NOISE = 0
    PROPOSE = 1
    TASKS = 2
    EPISODES = 3
    ELITE_TASKS = 4
    ELITE_EPISODES = 5
    TEST_TASKS = 6
    TEST_EPISODES = 7


def sequence(
    seed: int, purpose: Purpose, generation: int = 0, index: int = 0, episode: int = 0
) -> np.random.SeedSequence:
    """Return the seed sequence of one stream."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), generation, index, episode))


def key(seed: int, purpose: Purpose, generation: int = 0, index: int = 0, episode: int = 0) -> npt.NDArray[np.uint32]:
    """Return the stream's key, uint32[2]: the data of a JAX key, or the seed of a NumPy Generator."""
    return sequence(seed, purpose, generation, index, episode).generate_state(2).astype(np.uint32)


def generator(key: npt.NDArray[np.uint32]) -> np.random.Generator:
    """Return the NumPy Generator of a key."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence([int(word) for word in key])))
