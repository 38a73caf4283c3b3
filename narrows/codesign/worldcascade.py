"""The logged cascade of a generated world: stages that know the true log-odds of each item with a known error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows.codesign.log import Array
from narrows.world import draw
from narrows.world.behaviour import common, own, purchased, sigmoid
from narrows.world.items import Catalogue
from narrows.world.settings import World
from narrows.world.users import Users

PASS = 1e3
"""What is added to the score of a candidate that is to pass whatever its score."""


RRF_CONSTANT = 60
"""Of reciprocal rank fusion (Cormack et al. 2009): the score of recall where it has channels."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Channel:
    """A recall channel of the logged cascade: its score is ``taste`` times the true log-odds, ``popular`` times popularity,
    both scaled to variance 1, and an error."""

    taste: float = Field(default=1.0, ge=0)
    """How much of the truth it sees: 0 = nothing that belongs to the user."""
    popular: float = Field(default=0.0, ge=0)
    """How much it leans towards what all want."""
    error: float = Field(default=1.5, ge=0)
    """Standard deviation of its error."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The truth for some requests of a day; arrays [requests, items]."""

    value: Array
    """float32: the probability of a positive where the item is examined, over the interests that the session may have."""
    given: Array
    """float32: the same, given the interest that the session has."""
    knowable: Array
    """float32: the log-odds of ``value``, scaled to mean 0 and variance 1 over the born items of each request."""


def wanted(world: World, items: Catalogue, people: Users, hour: Array, interest: Array, day: int, kind: str) -> Wanted:
    """What each request's user wants of the whole catalogue, as `narrows.world.truth` says, in single precision.

    Args:
        world: the settings.
        items: the catalogue.
        people: the user of each request, as they are on the day.
        hour: float64 [requests], of the day.
        interest: int64 [requests], the one that the session has.
        day: of the log.
        kind: the event that makes a positive: view, cart or purchase.
    """
    every = np.broadcast_to(np.arange(world.items), (len(people), world.items))
    alike = common(world, items, day) + own(world, people, np.arange(len(people)), every)
    shares = people.shares(world, hour).astype(np.float32)
    value = np.zeros(alike.shape, np.float32)
    given = np.empty(alike.shape, np.float32)
    for number in range(world.interests):
        log_odds = people.interests[:, number] @ items.vectors.T
        log_odds *= np.float32(world.taste)
        log_odds += alike
        chance = sigmoid(log_odds)
        value += shares[:, number, None] * chance
        own_interest = interest == number
        given[own_interest] = chance[own_interest]
    after = np.full(world.items, 1.0 if kind == "view" else world.carts, np.float32)
    if kind == "purchase":
        after *= purchased(world, items)
    born = items.born <= day
    after *= born
    knowable = np.log(value / np.maximum(1 - value, 1e-6)) + np.log(np.where(born, np.maximum(after, 1e-9), 1))
    there = knowable[:, born]
    knowable -= there.mean(1, keepdims=True)
    knowable /= there.std(1, keepdims=True)
    return Wanted(value * after, given * after, knowable.astype(np.float32))


@dataclasses.dataclass(frozen=True)
class Logged:
    """What the logged cascade did with the candidates of some requests; arrays [requests, candidates]."""

    item: Array
    """int64, ascending in a request."""
    reached: Array
    """int8: how many stages it passed."""
    scores: tuple[Array, ...]
    """For each stage float32, NaN = it was removed before."""
    ranks: tuple[Array, ...]
    """For each stage int64, 0 = it was removed before."""
    channel_rank: Array | None = None
    """int32 [requests, candidates, channels]: 0 = the channel did not give it; None = there are no channels."""


def logged(
    truth: Wanted, user: Array, session: Array, popularity: Array, popular: float, born: Array, widths: Sequence[int],
    errors: Sequence[float], free: float, seed: int, channels: Mapping[str, Channel] | None = None,
) -> Logged:  # fmt: skip
    """Narrow the catalogue to a list, stage by stage.

    A stage's score is the knowable log-odds, an error that belongs to user, item and stage, and a lean towards the
    popular that all stages share.

    Args:
        truth: of the requests.
        user: int64 [requests].
        session: int64 [requests], from which candidates that pass freely are drawn.
        popularity: float32 [items], of variance 1.
        popular: how far all stages lean towards it.
        born: bool [items]: what can be a candidate.
        widths: how many each stage keeps; the first is recall, the last shows the list.
        errors: standard deviation of each stage's error.
        free: the probability that a candidate passes all stages whatever its scores.
        seed: of the errors.
        channels: what recall is made of, by name: each gives equally many, so many that recall has its width of them
            together; none = recall is a stage as the others are.
    """
    catalogue = truth.value.shape[1]
    lean = np.float32(popular) * popularity

    def scored(stage: int, item: Array) -> Array:
        error = draw.nearly_normal(draw.stream(seed, f"stage {stage}"), user[:, None] * catalogue + item)
        return np.take_along_axis(truth.knowable, item, 1) + np.float32(errors[stage]) * error + lean[item]

    every = np.broadcast_to(np.arange(catalogue), truth.value.shape)
    ranks_of: Array | None = None
    if channels:
        ranks_of = np.stack(
            [
                _places(np.where(born, _proposed(truth, user, popularity, each, draw.stream(seed, f"channel {name}")), -np.inf))
                for name, each in channels.items()
            ],
            2,
        ).astype(np.int32)  # fmt: skip
        score = (1 / (RRF_CONSTANT + ranks_of)).sum(2)
        first = np.where(born, -ranks_of.min(2) + score, -np.inf)  # below 1: it decides among equal ranks alone
    else:
        score = first = np.where(born, scored(0, every), -np.inf)
    item = np.sort(np.argpartition(-first, widths[0] - 1, axis=1)[:, : widths[0]], axis=1)
    passes = draw.uniform(draw.stream(seed, "free"), session[:, None], item) < free
    scores = [np.take_along_axis(score, item, 1).astype(np.float32)]
    ranks = [_places(scores[0])]
    reached = np.ones(item.shape, np.int8)
    for stage in range(1, len(widths)):
        there = reached == stage
        scores.append(np.where(there, scored(stage, item), np.nan).astype(np.float32))
        rank = _places(np.where(there, scores[-1] + PASS * passes, -np.inf))
        ranks.append(np.where(there, rank, 0))
        reached += there & (rank <= widths[stage])
    if ranks_of is not None:
        ranks_of = np.take_along_axis(ranks_of, item[:, :, None], 1)
        gave = ranks_of.min(2).max(1)  # the least quota of all channels that holds the candidates
        ranks_of = np.where(ranks_of <= gave[:, None, None], ranks_of, 0)
    return Logged(item, reached, tuple(scores), tuple(ranks), ranks_of)


def _proposed(truth: Wanted, user: Array, popularity: Array, channel: Channel, stream: np.uint64) -> Array:
    """A channel's scores of the whole catalogue: float32 [requests, items]."""
    catalogue = truth.value.shape[1]
    error = draw.nearly_normal(stream, user[:, None] * catalogue + np.arange(catalogue))
    taste, popular, wrong = (np.float32(each) for each in (channel.taste, channel.popular, channel.error))
    return np.asarray(taste * truth.knowable + popular * popularity + wrong * error)


def sampled(reached: Array, session: Array, item: Array, most: int, seed: int) -> tuple[Array, Array]:
    """Draw candidates of each group of a request that came equally far, at the most so many; 0 = all.

    Returns:
        bool [requests, candidates] and float32, the inverse of the probability of being drawn.
    """
    if not most:
        return np.ones(reached.shape, bool), np.ones(reached.shape, np.float32)
    chance = draw.uniform(draw.stream(seed, "sample"), session[:, None], item)
    order = np.argsort(reached + chance, axis=1)
    group = np.take_along_axis(reached, order, 1)
    counts = np.stack([(reached == stage).sum(1) for stage in range(int(reached.max()) + 1)], 1)
    before = np.cumsum(counts, axis=1) - counts
    place = np.arange(reached.shape[1]) - np.take_along_axis(before, group.astype(np.int64), 1)
    chosen = np.empty(reached.shape, bool)
    np.put_along_axis(chosen, order, place < most, 1)
    return chosen, np.maximum(np.take_along_axis(counts, reached.astype(np.int64), 1) / most, 1).astype(np.float32)


def _places(score: Array) -> Array:
    """The place of each score in its row, 1 = the greatest."""
    return (-score).argsort(1, kind="stable").argsort(1, kind="stable") + 1
