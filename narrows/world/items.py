"""The catalogue: latent vectors, features that go with them, births, popularity, quality, prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from narrows.world import draw
from narrows.world.settings import World

if TYPE_CHECKING:
    import pyarrow as pa

BORN_BEFORE = 180
"""Days before the log in which its first items were born."""
GROUP_EXPONENT = 0.5
"""Subcategories have sizes as the ranks to the power of minus this."""


@dataclass(frozen=True)
class Catalogue:
    """All items, in the order of their subcategories."""

    group: NDArray[np.int16]
    """The subcategory of every item."""
    vectors: NDArray[np.float32]
    """[items, taste_size], of length 1."""
    popularity: NDArray[np.float32]
    """The logarithm of the base popularity, with mean 0."""
    born: NDArray[np.int32]
    """The first day on which it can be shown; below 0 = before the log."""
    quality: NDArray[np.float32]
    price: NDArray[np.float32]
    brand: NDArray[np.int32]
    centres: NDArray[np.float32]
    """[subcategories, taste_size], of length 1."""
    category: NDArray[np.int16]
    """The category of every subcategory."""

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first item of every subcategory, and the number of items."""
        return np.searchsorted(self.group, np.arange(len(self.category) + 1))

    def fresh(self, world: World, day: int) -> NDArray[np.float32]:
        """What the age of every item adds to its log-odds on a day."""
        age = np.maximum(day - self.born, 0) / np.float32(world.freshness_days)
        return np.float32(world.freshness) * np.exp(-age, dtype=np.float32)

    def table(self, begin: datetime) -> pa.Table:
        """The file of items: item_id, title, category, subcategory, brand, born_day, available_at, price.

        ``begin`` is the first instant of the log: an item is available from the first instant of the day of its birth.
        """
        import pyarrow as pa

        def named(prefix: str, codes: NDArray[np.integer], count: int) -> pa.DictionaryArray:
            return pa.DictionaryArray.from_arrays(
                codes.astype(np.int32), [f"{prefix} {number + 1}" for number in range(count)]
            )

        category = self.category[self.group]
        at = np.datetime64(begin.replace(tzinfo=None), "us") + self.born.astype("timedelta64[D]")
        titles = [f"Item {item} of kind {group + 1}" for item, group in enumerate(self.group.tolist())]
        return pa.table({
            "item_id": np.arange(len(self.group), dtype=np.int32),
            "title": titles,
            "category": named("category", category, int(self.category.max()) + 1),
            "subcategory": named("subcategory", self.group, len(self.category)),
            "brand": named("brand", self.brand, int(self.brand.max()) + 1),
            "born_day": self.born,
            "available_at": pa.array(at, pa.timestamp("us", "UTC")),
            "price": self.price,
        })  # fmt: skip


def catalogue(world: World) -> Catalogue:
    """The catalogue of a world."""
    categories = unit(_normal(world, "category", world.categories))
    category = (np.arange(world.subcategories) % world.categories).astype(np.int16)
    centres = unit(categories[category] + _away(world, "subcategory", world.subcategories))
    group = np.repeat(np.arange(world.subcategories, dtype=np.int16), _sizes(world))
    vectors = unit(centres[group] + _away(world, "item", world.items))
    number = np.arange(world.items)
    return Catalogue(
        group, vectors, _popularity(world), _born(world),
        (world.quality * draw.normal(draw.stream(world.seed, "quality"), number)).astype(np.float32),
        np.round(np.exp(2.5 + 0.8 * draw.normal(draw.stream(world.seed, "price"), number)), 2).astype(np.float32),
        _brand(world, vectors), centres, category,
    )  # fmt: skip


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Vectors scaled to length 1 along the last axis."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def _normal(world: World, name: str, count: int) -> NDArray[np.float64]:
    """Normal numbers [count, taste_size]."""
    return draw.normal(draw.stream(world.seed, name), np.arange(count)[:, None], np.arange(world.taste_size))


def _away(world: World, name: str, count: int) -> NDArray[np.float64]:
    """Normal steps whose length is about ``spread``."""
    return world.spread / world.taste_size**0.5 * _normal(world, name, count)


def _sizes(world: World) -> NDArray[np.int64]:
    """How many items each subcategory has: one, and a share of the others."""
    share = np.arange(1, world.subcategories + 1) ** -GROUP_EXPONENT
    ends = np.floor(np.cumsum(share) / share.sum() * (world.items - world.subcategories) + 0.5).astype(np.int64)
    return 1 + np.diff(ends, prepend=0)


def _popularity(world: World) -> NDArray[np.float32]:
    """Minus the logarithm of a random rank: weights ``exp(exponent * popularity)`` then follow Zipf's law."""
    place = np.argsort(np.argsort(draw.bits(draw.stream(world.seed, "popularity"), np.arange(world.items)))) + 1
    log = -np.log(place)
    return (log - log.mean()).astype(np.float32)


def _born(world: World) -> NDArray[np.int32]:
    """The days of birth: exactly as many items are new as the settings say."""
    order = np.argsort(draw.bits(draw.stream(world.seed, "new"), np.arange(world.items)))
    chance = draw.uniform(draw.stream(world.seed, "born"), np.arange(world.items))
    born = -np.floor(chance * BORN_BEFORE)
    new = order[: world.born_within]
    born[new] = np.floor(chance[new] * world.days)
    return born.astype(np.int32)


def _brand(world: World, vectors: NDArray[np.float32], block: int = 65_536) -> NDArray[np.int32]:
    """For every item a brand, drawn with odds that follow how alike their directions are (Gumbel's trick)."""
    brands = unit(_normal(world, "brand", world.brands))
    key, names = draw.stream(world.seed, "brand of item"), np.arange(world.brands)
    chosen = np.empty(len(vectors), np.int32)
    for first in range(0, len(vectors), block):
        part = np.arange(first, min(first + block, len(vectors)))
        gumbel = -np.log(-np.log(draw.uniform(key, part[:, None], names) + 2.0**-54))
        chosen[part] = np.argmax(8 * vectors[part] @ brands.T + gumbel, axis=1)
    return chosen
