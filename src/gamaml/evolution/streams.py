"""The one source of randomness: streams keyed by (seed, purpose, generation, index, episode).

No stream depends on a rank, a node or the order of events, so a run has one outcome however it is distributed.
"""

from __future__ import annotations

import enum

import numpy as np
import numpy.typing as npt

_INIT_A, _MULT_A = 0x43B0D7E5, 0x931E8875
_INIT_B, _MULT_B = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
_SHIFT = np.uint32(16)


class Purpose(enum.IntEnum):
    """The use of a stream. The values are part of the run's science: never renumber them."""

    NOISE = 0
    PROPOSE = 1
    TASKS = 2
    EPISODES = 3
    CONTENDER_TASKS = 4
    CONTENDER_EPISODES = 5
    TEST_TASKS = 6
    TEST_EPISODES = 7
    NORMALISE = 8


def sequence(
    seed: int, purpose: Purpose, generation: int = 0, index: int = 0, episode: int = 0
) -> np.random.SeedSequence:
    """Return the seed sequence of one stream."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(int(purpose), generation, index, episode))


def key(seed: int, purpose: Purpose, generation: int = 0, index: int = 0, episode: int = 0) -> npt.NDArray[np.uint32]:
    """Return the stream's key, uint32[2]: the data of a JAX key, or the seed of a NumPy Generator."""
    return sequence(seed, purpose, generation, index, episode).generate_state(2).astype(np.uint32)


def states(seed: int, purpose: Purpose, generation: int, count: int, num_words: int) -> npt.NDArray[np.uint32]:
    """Return the states of `count` streams at once: row i is `sequence(...).generate_state(num_words)` of index i.

    NumPy's SeedSequence takes 9 microseconds per index; this is vectorised over the index, which comes last in the
    address together with the episode (0).

    Returns:
        uint32[count, num_words].

    Source: O'Neill 2015, seed_seq_fe (pcg-random.org), with the constants of NumPy's SeedSequence.
    """
    prefix = (int(purpose), generation)
    common = np.random.SeedSequence(entropy=seed, spawn_key=prefix)
    num_mixed = max(len(common.pool), -(-seed.bit_length() // 32)) + len(prefix)
    pool = [np.full(count, word, np.uint32) for word in common.pool]
    constant = _INIT_A * pow(_MULT_A, len(pool) * num_mixed, 2**32)
    for word in (np.arange(count, dtype=np.uint32), np.zeros(count, np.uint32)):
        for place, mixed in enumerate(pool):
            hashed, constant = _hashed(word, constant, _MULT_A)
            mixed = _MIX_LEFT * mixed - _MIX_RIGHT * hashed
            pool[place] = mixed ^ (mixed >> _SHIFT)
    result = np.empty((count, num_words), np.uint32)
    constant = _INIT_B
    for place in range(num_words):
        result[:, place], constant = _hashed(pool[place % len(pool)], constant, _MULT_B)
    return result


def keys(seed: int, purpose: Purpose, generation: int, count: int) -> npt.NDArray[np.uint32]:
    """Return the keys of the indices 0 to count - 1, uint32[count, 2]; row i is `key(..., index=i)`."""
    return states(seed, purpose, generation, count, num_words=2)


def generator(key: npt.NDArray[np.uint32]) -> np.random.Generator:
    """Return the NumPy Generator of a key."""
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(key)))


def scaled(low: npt.NDArray[np.uint64], high: npt.NDArray[np.uint64], number: int) -> npt.NDArray[np.uint64]:
    """Return `number` times the 64-bit word of two 32-bit halves, over 2**64; `number` is at most 2**32."""
    factor, shift = np.uint64(number), np.uint64(32)
    return (high * factor + (low * factor >> shift)) >> shift


def _hashed(words: npt.NDArray[np.uint32], constant: int, factor: int) -> tuple[npt.NDArray[np.uint32], int]:
    """Return the hash of each word, and the constant for the next hash."""
    following = constant * factor % 2**32
    mixed = (words ^ np.uint32(constant % 2**32)) * np.uint32(following)
    return mixed ^ (mixed >> _SHIFT), following
