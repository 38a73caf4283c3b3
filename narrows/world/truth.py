"""What is true of a world: how much any user wants any item at any instant, and what any list is worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.world.behaviour import common, own, purchased, sigmoid
from narrows.world.items import Catalogue, catalogue
from narrows.world.settings import World, WorldError
from narrows.world.users import Users, users

Kind = Literal["view", "cart", "purchase"]
FOLDER = "truth"
SETTINGS, ITEMS, USERS = "world.json", "items.npz", "users"
BLOCK_CELLS = 8_000_000
"""Cells of [users, items, interests] that are computed at once."""


@dataclass(frozen=True)
class Value:
    """What one list for each user is worth in one session; arrays [users]."""

    expected: NDArray[np.float64]
    """The expected number of positives."""
    at_least_one: NDArray[np.float64]
    """The probability of one or more."""


@dataclass(frozen=True)
class Truth:
    """The truth of a world. Users and items are named by their numbers, which are their ids."""

    world: World
    catalogue: Catalogue
    users: Users
    """All of them; memory-mapped where it was loaded."""

    @classmethod
    def of(cls, world: World) -> Truth:
        """The truth of settings, all users in memory."""
        items = catalogue(world)
        return cls(world, items, users(world, items, 0, world.users))

    @classmethod
    def load(cls, folder: Path) -> Truth:
        """The truth beside a log that was written; users are read as they are asked for.

        Raises:
            WorldError: there is none, or it is damaged.
        """
        place = folder / FOLDER
        try:
            world = World(**json.loads((place / SETTINGS).read_text(encoding="utf-8")))
            items = read_items(folder)
            columns = {
                field.name: np.load(place / USERS / f"{field.name}.npy", mmap_mode="r", allow_pickle=False)
                for field in fields(Users)
            }
        except (OSError, ValueError, TypeError) as error:
            raise WorldError(f"{place} holds no readable truth ({error}). Write it with: narrows world DIR") from error
        return cls(world, items, Users(**columns))

    def save_items(self, place: Path) -> None:
        """Write the settings and the items; `narrows.world.write` adds the users block by block."""
        place.mkdir(parents=True, exist_ok=True)
        (place / SETTINGS).write_text(json.dumps(asdict(self.world), indent=1), encoding="utf-8")
        columns = {field.name: getattr(self.catalogue, field.name) for field in fields(Catalogue)}
        np.savez(place / ITEMS, **columns)

    @cached_property
    def purchased(self) -> NDArray[np.float32]:
        """[items]: the probability that an item in the cart is purchased."""
        return purchased(self.world, self.catalogue)

    def shares(self, who: ArrayLike, instant: datetime) -> NDArray[np.float64]:
        """[users, interests]: the probability of each interest of some users in a session at an instant."""
        _, hour = self.world.day_and_hour(instant)
        chosen = self.users.take(who)
        return chosen.shares(self.world, np.full(len(chosen), hour))

    def affinity(self, who: ArrayLike, items: ArrayLike, instant: datetime) -> NDArray[np.float32]:
        """The log-odds that an examined item is viewed, for each interest that the session may have.

        Args:
            who: [users], their numbers.
            items: [users, n], the numbers of items.
            instant: the session's.

        Returns:
            [users, n, interests]
        """
        day, _ = self.world.day_and_hour(instant)
        chosen, wanted = self.users.take(who), np.asarray(items)
        match = np.matmul(self.catalogue.vectors[wanted], chosen.interests.transpose(0, 2, 1))
        alike = common(self.world, self.catalogue, day)[wanted]
        alike += own(self.world, chosen, np.arange(len(chosen)), wanted)
        return np.float32(self.world.taste) * match + alike[..., None]

    def probabilities(
        self, who: ArrayLike, items: ArrayLike, instant: datetime, kind: Kind = "purchase"
    ) -> NDArray[np.float64]:
        """[users, n, interests]: the probability that an examined item leads to an event of a kind.

        0 for an item that is not born.
        """
        day, _ = self.world.day_and_hour(instant)
        wanted = np.asarray(items)
        chance = sigmoid(self.affinity(who, wanted, instant).astype(np.float64))
        after = np.full(wanted.shape, 1.0 if kind == "view" else self.world.carts)
        if kind == "purchase":
            after *= self.purchased[wanted]
        after *= self.catalogue.born[wanted] <= day
        return chance * after[..., None]

    def value(self, who: ArrayLike, lists: ArrayLike, instant: datetime, kind: Kind = "purchase") -> Value:
        """The exact value of any list for any user, shown in one session.

        Args:
            who: [users], their numbers.
            lists: [users, length]: items, the first position first; -1 = an empty position.
            instant: when the session begins.
            kind: which events are positives.
        """
        shown = np.asarray(lists)
        examined = np.arange(1, shown.shape[1] + 1.0) ** -self.world.position_bias * (shown >= 0)
        chance = self.probabilities(who, np.maximum(shown, 0), instant, kind) * examined[..., None]
        shares = self.shares(who, instant)
        expected = (chance.sum(1) * shares).sum(1)
        return Value(expected, 1 - (np.prod(1 - chance, axis=1) * shares).sum(1))

    def wanted(self, who: ArrayLike, instant: datetime, kind: Kind = "purchase") -> Iterator[NDArray[np.float64]]:
        """The probability for every item of the catalogue, given that it is examined: blocks [users, items]."""
        numbers = np.asarray(who)
        every = np.arange(self.world.items)
        step = max(1, BLOCK_CELLS // (self.world.items * self.world.interests))
        for first in range(0, len(numbers), step):
            block = numbers[first : first + step]
            chance = self.probabilities(block, np.broadcast_to(every, (len(block), len(every))), instant, kind)
            yield np.einsum("unk,uk->un", chance, self.shares(block, instant))

    def oracle(
        self, who: ArrayLike, instant: datetime, length: int | None = None, kind: Kind = "purchase"
    ) -> NDArray[np.int64]:
        """[users, length]: the list that no other exceeds in expected positives, out of the whole catalogue.

        Positions are examined whatever they show, so it is the most wanted items in their order.
        """
        n = length or self.world.list_length
        best = []
        for chance in self.wanted(who, instant, kind):
            top = np.argpartition(-chance, n - 1, axis=1)[:, :n]
            order = np.argsort(-np.take_along_axis(chance, top, 1), axis=1, kind="stable")
            best.append(np.take_along_axis(top, order, 1))
        return np.concatenate(best)


def read_items(folder: Path) -> Catalogue:
    """The items of a world that was written."""
    with np.load(folder / FOLDER / ITEMS, allow_pickle=False) as arrays:
        return Catalogue(**arrays)
