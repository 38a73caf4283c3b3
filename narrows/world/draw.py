"""Random numbers by counter: each is a hash of the seed and of what it is for, so that rows depend on no block or order."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
"""The multipliers of SplitMix64 (Steele, Lea and Flood, 2014)."""

Bits = NDArray[np.uint64]
Floats = NDArray[np.float64]


def stream(seed: int, name: str) -> np.uint64:
    """The key of one use of random numbers."""
    return np.uint64(int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little"))


def bits(key: np.uint64 | Bits, *counters: ArrayLike) -> Bits:
    """64 random bits for every tuple of counters (integers, broadcast against each other)."""
    state = np.asarray(key, np.uint64)
    for counter in counters:
        state = _mixed(state + _step(counter))
    return state


def uniform(key: np.uint64 | Bits, *counters: ArrayLike) -> Floats:
    """Numbers in [0, 1)."""
    return to_uniform(bits(key, *counters))


def to_uniform(random: Bits) -> Floats:
    """The upper 53 bits as a number in [0, 1)."""
    return np.asarray((random >> np.uint64(11)) * 2.0**-53, np.float64)


def normal(key: np.uint64 | Bits, *counters: ArrayLike) -> Floats:
    """Standard normal numbers."""
    from scipy.special import ndtri

    return np.asarray(ndtri(uniform(key, *counters) + 2.0**-54), np.float64)


def nearly_normal(key: np.uint64 | Bits, *counters: ArrayLike) -> NDArray[np.float32]:
    """Numbers with mean 0 and variance 1 between -3.5 and 3.5: the sum of four uniform ones, which is quick."""
    random = bits(key, *counters)
    pieces = random.view(np.uint16).reshape(*random.shape, 4)
    whole = pieces.sum(-1, dtype=np.float32)
    whole -= np.float32(4 * 65535 / 2)
    whole *= np.float32((12 / 4) ** 0.5 / 65536)
    return np.asarray(whole, np.float32)


def poisson(chance: Floats, rate: Floats, most: int) -> NDArray[np.int64]:
    """Poisson numbers out of uniform ones, cut at ``most``."""
    term = np.exp(-rate)
    below, count = term.copy(), np.zeros(len(rate), np.int64)
    over = np.flatnonzero(chance >= below)
    while len(over) and (number := int(count[over[0]]) + 1) <= most:
        count[over] = number
        term[over] *= rate[over] / number
        below[over] += term[over]
        over = over[chance[over] >= below[over]]
    return count


def _step(counter: ArrayLike) -> Bits | np.uint64:
    if isinstance(counter, int):
        return np.uint64((counter + 1) * int(GOLDEN) % 2**64)
    return (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * GOLDEN


def _mixed(state: Bits) -> Bits:
    """The finalizer of SplitMix64, in place."""
    state ^= state >> np.uint64(30)
    state *= FIRST
    state ^= state >> np.uint64(27)
    state *= SECOND
    state ^= state >> np.uint64(31)
    return state
