"""Which column of a file is what: a guess from names, types and values, for `narrows init` to say and to write down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from narrows.columns import (
    AVAILABLE_AT,
    CONTEXT,
    EVENT_TIME,
    EVENT_TYPE,
    INGESTED_AT,
    ITEM,
    POSITION,
    PRICE,
    PROPENSITY,
    SESSION,
    USER,
    VALUE,
)
from narrows.source.times import Written, written

if TYPE_CHECKING:
    import polars as pl

EVENT_WORDS: dict[str, tuple[str, ...]] = {
    USER: ("user", "customer", "client", "household", "visitor", "member", "account", "buyer", "shopper", "reader",
           "viewer", "person", "subscriber", "profile", "uid", "reviewer", "cust", "u"),
    ITEM: ("item", "product", "sku", "article", "movie", "video", "track", "song", "book", "asin", "parent asin", "content", "isbn",
           "ean", "upc", "gtin", "stock code", "stockcode", "news", "doc", "document", "post", "listing", "course",
           "recipe", "game", "show", "episode", "iid", "prod", "i"),
    EVENT_TIME: ("event time", "timestamp", "time", "datetime", "date", "ts", "created", "ordered", "purchased", "occurred",
                 "event timestamp", "event date", "order date", "order time", "purchase date", "invoice date", "invoicedate",
                 "transaction timestamp", "transaction date", "click timestamp", "click time", "watched", "viewed", "rated",
                 "unix time", "unix", "unixtime", "t"),
    INGESTED_AT: ("ingested", "loaded", "arrived", "inserted", "ingestion time", "load time", "received", "etl time",
                  "ingest time", "ingested time", "arrival time"),
    EVENT_TYPE: ("event type", "event", "action", "type", "behavior", "behaviour", "interaction", "interaction type",
                 "activity", "kind", "event name", "behavior type", "action type"),
    VALUE: ("quantity", "qty", "count", "units", "rating", "stars", "score", "value", "watch time", "watch ratio", "dwell",
            "dwell time", "play time", "playtime", "duration", "seconds watched", "plays", "weight"),
    PRICE: ("price", "unit price", "unitprice", "item price", "amount", "sales value", "sales", "revenue", "total", "spend",
            "spent", "line total", "total price", "paid", "cost"),
    CONTEXT: ("context", "store", "shop", "branch", "device", "channel", "platform", "app", "page", "surface", "location",
              "deviceGroup", "device group", "country", "region", "warehouse", "site"),
    SESSION: ("session", "basket", "order", "visit", "invoice", "transaction", "cart", "receipt", "invoice no", "invoiceno",
              "order number", "user session", "trip"),
    POSITION: ("position", "slot"),
    PROPENSITY: ("propensity", "propensity score", "pscore"),
}  # fmt: skip
"""What people call a column, by our name; the words of a name without a closing id, at, no, code or key. The first is the surest."""
ITEM_WORDS: dict[str, tuple[str, ...]] = {
    ITEM: EVENT_WORDS[ITEM],
    "title": ("title", "name", "product name", "item name", "headline", "movie title", "product title", "item title",
              "video title", "description"),
    "category": ("category", "product category", "item category", "main category", "genre", "genres", "section", "topic",
                 "class", "path", "category path", "categories", "product type", "type"),
    "subcategory": ("subcategory", "sub category", "product type", "item type", "subsection", "subtopic", "type",
                    "product subcategory", "subgenre", "product group"),
    "brand": ("brand", "manufacturer", "vendor", "maker", "publisher", "author", "artist", "studio", "seller", "producer",
              "channel", "creator", "store"),
    "department": ("department", "dept", "division", "departement"),
    AVAILABLE_AT: ("available", "published", "created", "released", "release date", "publish date", "published date",
                   "publication date", "available from", "available since", "published time", "publish time", "publication time",
                   "created time", "creation date", "created date", "release time", "launch date", "launched", "first available",
                   "date first available", "on sale since", "upload date", "uploaded", "date added", "added"),
}  # fmt: skip
USER_WORDS: dict[str, tuple[str, ...]] = {
    USER: EVENT_WORDS[USER],
    "segment": ("segment", "household comp", "group", "user group", "customer group", "tier", "plan", "membership",
                "occupation", "age group", "age", "gender", "income", "city", "country", "region"),
}  # fmt: skip
TIMES = (EVENT_TIME, INGESTED_AT, AVAILABLE_AT)
IDS = (USER, ITEM, SESSION)
NUMBERS = (VALUE, PRICE, POSITION, PROPENSITY)
ENDINGS = {"id", "ids", "at", "no", "key", "code", "number", "num", "nr", "utc", "ms"}
CODES = {"id", "ids", "key", "code", "sku", "asin", "isbn", "ean", "upc", "gtin"}
"""Words that say of a name that it is an id's."""
TOTALS = re.compile(r"amount|total|sales|revenue|spend|spent|paid")
"""Names of what was paid for a line: divided by its quantity it is a price."""
MANY_VALUES = 50
"""A type of events or a segment with more values is none."""
FEW_BRANDS = 2
"""A brand with no more values says something else, such as whether it is the shop's own."""
READABLE = 0.95
"""The least share of a column's values that must be readable as what it is taken for."""


@dataclass(frozen=True)
class Guess:
    """What one of our columns is taken from, and how sure that is."""

    column: str
    """The file's column."""
    why: str
    """In words, for a comment."""
    others: tuple[str, ...] = ()
    """Columns that would do as well."""
    written: Written | None = None
    """Of times: how they are written."""


@dataclass
class Guesses:
    """The guesses for the columns of a file, by our names."""

    found: dict[str, Guess] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    """Columns that are taken for nothing."""


def of_events(sample: pl.DataFrame, given: Mapping[str, str] | None = None) -> Guesses:
    """Guess the columns of an events table.

    Args:
        sample: some rows of the file.
        given: what is known: our name = the file's.
    """
    return _guessed(sample, EVENT_WORDS, given or {})


def of_items(sample: pl.DataFrame, events_item: str = "") -> Guesses:
    """Guess the columns of an items table; ``events_item`` is what the events call the item."""
    known = {ITEM: events_item} if events_item in sample.columns else {}
    return _guessed(sample, ITEM_WORDS, known, "as in the events")


def of_users(sample: pl.DataFrame, events_user: str = "") -> Guesses:
    """Guess the columns of a users table; ``events_user`` is what the events call the user."""
    known = {USER: events_user} if events_user in sample.columns else {}
    return _guessed(sample, USER_WORDS, known, "as in the events")


def words(name: str) -> tuple[str, ...]:
    """A column's name as lower-case words: ``orderDate``, ``order_date`` and ``order date:float`` are the same."""
    name = re.sub(r":(token|token_seq|float|float_seq)$", "", name)  # RecBole writes the type behind the name
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return tuple(part for part in re.split(r"[^a-z0-9]+", name.lower()) if part)


def _guessed(
    sample: pl.DataFrame, roles: Mapping[str, tuple[str, ...]], given: Mapping[str, str], why: str = "as you said"
) -> Guesses:
    guesses = Guesses({ours: Guess(theirs, why) for ours, theirs in given.items()})
    for ours, guess in list(guesses.found.items()):
        if ours in TIMES:
            guesses.found[ours] = Guess(guess.column, guess.why, written=written(sample[guess.column]))
    taken = set(given.values())
    ranked: list[tuple[float, int, str, str]] = []
    for order, (ours, known) in enumerate(roles.items()):
        if ours not in given:
            for column in sample.columns:
                if column not in taken and (score := _named(column, ours, known)) and _fits(sample[column], ours):
                    ranked.append((-score, order, ours, column))
    found: dict[str, list[str]] = {}
    for _, _, ours, column in sorted(ranked, key=lambda each: each[:2]):  # the surest names choose first
        if ours in guesses.found:
            found[ours].append(column)
        elif column not in taken:
            taken.add(column)
            found[ours] = []
            times = written(sample[column]) if ours in TIMES else None
            guesses.found[ours] = Guess(column, "by its name" + (f": {times.words}" if times else ""), written=times)
    for ours, others in found.items():
        guess = guesses.found[ours]
        left = tuple(column for column in dict.fromkeys(others) if column not in taken)
        guesses.found[ours] = Guess(guess.column, guess.why, left, guess.written)
    guesses.found = {ours: guesses.found[ours] for ours in roles if ours in guesses.found}
    guesses.unused = [column for column in sample.columns if column not in taken]
    return guesses


def _named(column: str, ours: str, known: Iterable[str]) -> float:
    """How much the name says that a column is ours: 3 the very word, 2 one of the known, 1 its last or first word."""
    parts = words(column)
    if parts == words(ours):
        return 4
    stem = tuple(part for part in parts if part not in ENDINGS) or parts
    if not stem:
        return 0
    for at, word in enumerate(known):
        if {tuple(word.lower().split()), (word.lower().replace(" ", ""),)} & {parts, stem, ("".join(stem),)}:
            return 3 - at / 100
    is_id = bool(CODES & {*parts, stem[-1]}) or column.lower().endswith("id")
    if ours in IDS or ours == CONTEXT:
        if is_id and stem and (stem[-1] in known or stem[-1].removesuffix("id") in known) and len(stem[-1]) > 1:
            return 2
        return 0
    if ours in (EVENT_TIME, PRICE, VALUE, "category", "title", "brand", "segment") and stem and len(stem[-1]) > 1:
        return 1 if stem[-1] in known else 0
    return 0


def _fits(values: pl.Series, ours: str) -> bool:
    """Whether the values may be what the name says."""
    given = values.drop_nulls()
    if not given.len():
        return False
    distinct = given.n_unique()
    if ours in TIMES:  # of old items the dates may be older than what is sure to be one
        return (times := written(given)) is not None and (ours == AVAILABLE_AT or times.share >= READABLE)
    if ours in NUMBERS:
        import polars as pl

        numbers = given.cast(pl.Float64, strict=False)
        return numbers.count() >= READABLE * given.len()
    if ours == "segment":
        return 1 < distinct <= MANY_VALUES
    if ours == EVENT_TYPE:
        return distinct <= MANY_VALUES
    if ours == "brand":
        return distinct > FEW_BRANDS
    if ours in (USER, ITEM):
        return distinct > 1 and not given.dtype.is_temporal() and not given.dtype.is_nested()
    return not given.dtype.is_nested()
