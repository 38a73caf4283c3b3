"""The exploration slot: one position whose item is drawn, and the exact probability of every draw."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from stages.rerank.diversity import Codes, Mask, Matrix


def uniform(users: list[str], seed: int, asof: str) -> NDArray[np.float64]:
    """One number in [0, 1) per user, from (seed, asof, user) alone: sharding and order cannot change it."""
    prefix = f"{seed}|{asof}|"
    digests = b"".join(hashlib.blake2b((prefix + user).encode(), digest_size=8).digest() for user in users)
    return (np.frombuffer(digests, ">u8") >> 11).astype(np.float64) * 2.0**-53


def propensities(
    order: Codes,
    position: int,
    relevance: Matrix,
    eligible: Mask,
    epsilon: float,
    pool: int,
    temperature: float,
) -> Matrix:
    """The probability that each candidate takes ``position``, given the rest of the list.

    With probability ``1 - epsilon`` the greedy item stays; else one of it and the ``pool`` first eligible
    others is drawn with p = ``softmax(log relevance / temperature)``: P(greedy) = 1 - epsilon + epsilon * p
    and P(other) = epsilon * p.

    Args:
        order: (users, n) columns in list order; every user has an item at ``position``.
        position: 0 = top.
        relevance: (users, candidates) in [0, 1], columns best first.
        eligible: (users, candidates), who may take the slot beside the greedy item.
        epsilon: share of lists that explore, in [0, 1].
        pool: how many others may be drawn.
        temperature: 1 = in proportion to relevance; large = nearly uniform.

    Returns:
        (users, candidates) float64; every row sums to 1.
    """
    rows = np.arange(len(order))
    greedy = order[:, position]
    others = eligible.copy()
    others[rows, greedy] = False
    drawn = others & (np.cumsum(others, axis=1) <= pool)
    drawn[rows, greedy] = True
    weight = np.maximum(relevance, 1e-12)  # a zero score keeps a (tiny) chance, and its logarithm exists
    if temperature != 1:
        weight = weight ** (1 / temperature)
    weight = np.where(drawn, weight, 0.0)
    # a running sum adds in column order, so padding cannot change the last digit and shards agree to the bit
    share = weight / np.cumsum(weight, axis=1)[:, -1:]
    probability = epsilon * share
    probability[rows, greedy] += 1 - epsilon
    return probability


def draw(probability: Matrix, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row that its ``chance`` in [0, 1) falls on, by the inverse distribution function."""
    reached = np.cumsum(probability, axis=1)
    goal = np.minimum(chance * reached[:, -1], np.nextafter(reached[:, -1], 0))  # rounding must not pass the end
    return (reached <= goal[:, None]).sum(axis=1)
