"""The logging policy: which list a session shows, with the exact probability of every item.

The policy arranges the catalogue on a line, the subcategories that it thinks the user likes most first; an item covers a
stretch as long as its probability, and the whole line is ``list_length`` long. A list is the items at ``u``, ``u + 1``,
``u + 2``, ... for one uniform ``u``: systematic sampling. No stretch is longer than 1, so no item comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from narrows.world import draw
from narrows.world.items import Catalogue
from narrows.world.settings import World
from narrows.world.users import Users

ROOM = 1 - 1e-9
"""A stretch is a little shorter than 1, so that rounding never shows an item twice."""


@dataclass(frozen=True)
class Estimate:
    """What the policy believes of some users."""

    order: NDArray[np.int16]
    """[users, subcategories]: the subcategories, the most liked first."""
    share: NDArray[np.float32]
    """[users, subcategories]: the estimated share of the taste for each, in that order."""


@dataclass(frozen=True)
class Shelf:
    """What the policy shows on a day, before it looks at the user."""

    within: NDArray[np.float64]
    """[items]: the probability of the item among those of its subcategory; 0 for the unborn."""
    ends: NDArray[np.float64]
    """[items]: the number of the subcategory plus the sum of ``within`` up to and with the item."""
    guide: NDArray[np.int64]
    """The item at the beginning of each of the equal cells that every subcategory has."""
    popular: NDArray[np.float64]
    """[subcategories]: their share of the popularity."""
    even: NDArray[np.float64]
    """[subcategories]: their share of the items."""
    most: NDArray[np.float64]
    """[subcategories]: the greatest share of a list's line that each can have, the whole line being 1."""


@dataclass(frozen=True)
class Lists:
    """One list for each of some sessions; arrays [sessions, list_length], unless said otherwise."""

    items: NDArray[np.int64]
    propensity: NDArray[np.float64]
    """The probability that the session's list has the item."""
    turn: NDArray[np.int64]
    """[sessions]: column ``j`` is shown at position ``(j + turn) mod list_length + 1``."""

    @property
    def positions(self) -> NDArray[np.int64]:
        """Where each item is shown, 1 = first."""
        length = self.items.shape[1]
        return (np.arange(length) + self.turn[:, None]) % length + 1


def estimate(world: World, catalogue: Catalogue, users: Users) -> Estimate:
    """The policy's estimate: the true taste for subcategories, with an error that stays the same for a user."""
    match = np.matmul(users.interests, catalogue.centres.T)  # user by user: the last digit depends on no other user
    match *= np.float32(world.taste)
    np.exp(match, out=match)
    match *= (users.weights / match.sum(2))[..., None]
    share = match.sum(1)
    groups = np.arange(share.shape[1])
    error = draw.nearly_normal(draw.stream(world.seed, "policy"), users.number[:, None], groups)
    share *= np.exp(np.float32(world.policy_noise) * error)
    order = np.argsort(-share, axis=1, kind="stable")
    share = np.take_along_axis(share, order, 1)
    share /= share.sum(1, keepdims=True)
    return Estimate(order.astype(np.int16), share)


def shelf(world: World, catalogue: Catalogue, day: int) -> Shelf:
    """What there is to show on a day."""
    alive = catalogue.born <= day
    odds = world.popularity * catalogue.popularity.astype(np.float64) + catalogue.fresh(world, day)
    weight = np.where(alive, np.exp(odds), 0.0)
    groups, first = len(catalogue.category), catalogue.starts[:-1]
    total, count = np.add.reduceat(weight, first), np.add.reduceat(alive.astype(np.float64), first)
    there = count > 0
    own = weight / np.where(there, total, 1)[catalogue.group]
    even = alive / np.where(there, count, 1)[catalogue.group]
    explored = world.exploration
    while True:
        within = (1 - explored) * own + explored * even
        largest = np.maximum.reduceat(within, first)
        most = np.where(there, ROOM / (world.list_length * np.where(there, largest, 1)), 0)
        if most.sum() >= 1:
            break
        explored = (1 + explored) / 2  # a small catalogue: its subcategories must be shown more evenly
    sums = np.cumsum(within)
    before = np.concatenate([[0.0], sums])[first]
    ends = catalogue.group + np.minimum(sums - before[catalogue.group], 1)
    last = catalogue.starts[1:] - 1
    ends[last] = np.arange(groups) + 1
    cells = 2 ** int(np.ceil(np.log2(2 * world.items / groups)))
    guide = np.searchsorted(ends, np.arange(groups * cells) / cells, side="right")
    return Shelf(within, ends, guide, total / total.sum(), count / count.sum(), most)


def lengths(world: World, shelf: Shelf, known: Estimate, who: NDArray[np.integer]) -> NDArray[np.float64]:
    """[sessions, subcategories]: the stretch of each subcategory, in the order of the estimate; a row sums to list_length.

    Args:
        world: the settings.
        shelf: of the day.
        known: the estimate of some users.
        who: the place of each session's user among them.
    """
    order = known.order[who]
    taste = known.share[who].astype(np.float64)
    if not shelf.most.all():  # some subcategory has no item yet
        taste *= shelf.even[order] > 0
    taste /= taste.sum(1, keepdims=True)  # in float64: a list with a millionth less would lose its last point
    taste *= (1 - world.exploration) * (1 - world.policy_popularity)
    shared = (1 - world.exploration) * world.policy_popularity * shelf.popular + world.exploration * shelf.even
    taste += shared[order]
    most = shelf.most[order]
    over = np.flatnonzero((taste > most).any(1))
    if len(over):  # only these rows: the last digit of the others depends on no other session
        kept = np.minimum(taste[over], most[over])
        room = most[over] - kept
        taste[over] = kept + room * ((1 - kept.sum(1)) / room.sum(1))[:, None]
    taste *= world.list_length
    return taste


def show(world: World, shelf: Shelf, known: Estimate, who: NDArray[np.integer], random: NDArray[np.uint64]) -> Lists:
    """Draw one list for each session.

    Args:
        world: the settings.
        shelf: of the day.
        known: the estimate of some users.
        who: the place of each session's user among them.
        random: 64 random bits for each session.
    """
    length = world.list_length
    stretch = lengths(world, shelf, known, who)
    ends = np.cumsum(stretch, axis=1)
    ends[ends > length - 1e-9] = length  # the last point falls to a subcategory that has items, whatever the rounding
    first = draw.uniform(random, 1)
    inside = np.where(ends < length, np.ceil(ends - first[:, None]), length).astype(np.int64)  # points before each end
    inside[:, 1:] -= inside[:, :-1].copy()
    place = np.repeat(np.arange(inside.size), inside.ravel())  # the stretch of every point
    stretches = stretch.ravel()[place]
    begin = ends.ravel()[place] - stretches
    points = (np.arange(length) + first[:, None]).ravel()
    along = np.clip((points - begin) / stretches, 0, ROOM)
    group = known.order[who].ravel()[place]
    items = _items_at(shelf, group + along)
    turned = draw.uniform(random, 2) < world.shuffled
    turn = np.where(turned, np.floor(length * draw.uniform(random, 3)), 0).astype(np.int64)
    return Lists(
        items.reshape(-1, length), (stretches * shelf.within[items]).reshape(-1, length), turn
    )  # fmt: skip


def _items_at(shelf: Shelf, points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The items of points on the line: as a binary search finds them, from the guide on, which is nearly there."""
    items = shelf.guide[(points * (len(shelf.guide) // len(shelf.popular))).astype(np.int64)]
    behind = np.flatnonzero(shelf.ends[items] <= points)
    while len(behind):
        items[behind] += 1
        behind = behind[shelf.ends[items[behind]] <= points[behind]]
    return items


def propensities(
    world: World, catalogue: Catalogue, users: Users, day: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact probabilities of all items for some users on a day.

    Returns:
        [users, items]: that the item is in the list; and where its stretch begins on the line of the user.
    """
    known, there = estimate(world, catalogue, users), shelf(world, catalogue, day)
    stretch = lengths(world, there, known, np.arange(len(users)))
    back = np.argsort(known.order, axis=1)
    begin = np.take_along_axis(np.cumsum(stretch, axis=1) - stretch, back, 1)
    stretch = np.take_along_axis(stretch, back, 1)
    before = there.ends - catalogue.group - there.within
    group = catalogue.group
    return stretch[:, group] * there.within, begin[:, group] + stretch[:, group] * before


def at_positions(world: World, propensity: NDArray[np.float64], begin: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exact probability that an item is shown at each position; one more axis, of list_length.

    In the policy's own order position p has the items between p - 1 and p on the line; a turned list has any of its
    items at any position alike.
    """
    edge = np.arange(world.list_length)
    low, high = begin[..., None], (begin + propensity)[..., None]
    overlap = np.clip(np.minimum(high, edge + 1) - np.maximum(low, edge), 0, None)
    return (1 - world.shuffled) * overlap + world.shuffled * propensity[..., None] / world.list_length
