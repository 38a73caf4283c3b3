"""What a look at somebody's files finds: columns, dates, kinds of events and the horizon that fits them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.columns import AVAILABLE_AT, EVENT_TIME, EVENT_TYPE, ITEM, PRICE, USER, VALUE
from narrows.source.delimited import quoted
from narrows.source.errors import SourceError
from narrows.source.frames import rows, scan
from narrows.source.guess import ITEM_WORDS, TOTALS, Guess, Guesses, of_events, of_items, words
from narrows.source.remote import Location
from narrows.source.rhythm import Rhythm, rhythm

if TYPE_CHECKING:
    import polars as pl

SAMPLE_ROWS = 20_000
MOST_ROWS = 5_000_000
"""Of larger sources only some users are looked at."""
QUANTITIES = ("quantity", "qty", "units", "count")
SEPARATORS = ("|", ">", "/", ";", ",")
"""What separates several categories in one value, the surest first."""
SAME = 1.02
"""Values an item, at most, of a column that describes items."""


@dataclass(frozen=True)
class Looked:
    """A table of a source: its files, some of its rows, and what its columns were taken for."""

    url: str
    """As ``[source]`` says it."""
    files: list[Path]
    sample: pl.DataFrame
    guesses: Guesses
    expressions: dict[str, str] = field(default_factory=dict)
    """Columns of ours that are an expression over the file's."""

    def mapping(self) -> dict[str, str]:
        """The column map: our name = the file's column or an expression."""
        return {ours: self.expressions.get(ours, guess.column) for ours, guess in self.guesses.found.items()}

    @cached_property
    def rhythm(self) -> Rhythm:
        """When events happen; of an events table.

        Raises:
            SourceError: no row has a user, an item and a time.
        """
        import polars as pl

        found, frame = self.guesses.found, scan(self.files)
        time = found[EVENT_TIME]
        assert time.written is not None
        at = time.written.instants(time.column, frame.collect_schema()[time.column])
        assert at is not None
        columns = {"user": pl.col(found[USER].column), "item": pl.col(found[ITEM].column), "at": at}
        share = min(1.0, MOST_ROWS / max(self.count, 1))
        if share < 1:
            frame = frame.filter(columns["user"].hash(1) < int(share * 2**64))
        events = rows(frame.select(**columns).drop_nulls(), self.files[0])
        if not events.height:
            raise SourceError(f"[source] {self.files[0]} has no row with a user, an item and a time.")
        return rhythm(events, share)

    @cached_property
    def count(self) -> int:
        """Rows of all files."""
        import polars as pl

        return int(rows(scan(self.files).select(pl.len()), self.files[0]).item())

    @cached_property
    def kinds(self) -> list[tuple[str, int]]:
        """The types of events with their counts, most frequent first; none where no column tells them."""
        import polars as pl

        if EVENT_TYPE not in self.guesses.found:
            return []
        column = pl.col(self.guesses.found[EVENT_TYPE].column).cast(pl.String).alias("kind")
        counted = (
            scan(self.files).group_by(column).agg(pl.len().alias("rows")).sort("rows", "kind", descending=[True, False])
        )
        return [(kind or "", count) for kind, count in rows(counted, self.files[0]).iter_rows()]

    def share_below_zero(self) -> float:
        """Of the sampled values (quantities), those below zero."""
        import polars as pl

        if VALUE not in self.guesses.found:
            return 0.0
        numbers = self.sample[self.guesses.found[VALUE].column].cast(pl.Float64, strict=False).drop_nulls()
        return float((numbers < 0).mean() or 0) if numbers.len() else 0.0  # type: ignore[arg-type]

    def share_without_user(self) -> float:
        """Of the sampled rows, those without a user."""
        import polars as pl

        users = self.sample[self.guesses.found[USER].column].cast(pl.String)
        return float((users.is_null() | (users.str.strip_chars() == "")).mean() or 0)  # type: ignore[arg-type]


def look(place: Location, url: str) -> tuple[list[Path], pl.DataFrame]:
    """The files of a URL and some rows of them.

    Raises:
        SourceError: no such files, they cannot be read, have no row, or are separated by something else than a comma.
    """
    files = place.files(url)
    sample = rows(scan(files).head(SAMPLE_ROWS), files[0])
    if not sample.height:
        raise SourceError(f"[source] {files[0]} has no rows.")
    if sample.width == 1 and (other := re.search(r"[;|\t]", sample.columns[0])):
        raise SourceError(
            f"[source] {files[0]} has one column, {sample.columns[0]!r}: it is separated by {other[0]!r}. A .csv has "
            "commas, a .tsv tabs: convert or rename it."
        )
    return files, sample


def events_table(place: Location, url: str, given: dict[str, str]) -> Looked:
    """Look at the events; ``given`` is what is known of their columns: our name = the file's.

    Raises:
        SourceError: as `look`, or it is not to be seen which columns are the user, the item and the time.
    """
    files, sample = look(place, url)
    if wrong := [theirs for theirs in given.values() if theirs not in sample.columns]:
        raise SourceError(f"--column: {files[0]} has no column {wrong[0]!r}. It has: {', '.join(sample.columns)}.")
    guesses = of_events(sample, given)
    for needed, what in ((USER, "user"), (ITEM, "item"), (EVENT_TIME, "time of an event")):
        if needed not in guesses.found or (needed == EVENT_TIME and not guesses.found[needed].written):
            raise SourceError(
                f"cannot tell which column of {files[0]} is the {what}. It has: {', '.join(sample.columns)}. "
                f"Say it: --column {needed}=NAME"
            )
    expressions = {}
    if (time := guesses.found[EVENT_TIME]).written and time.written.spark:
        expressions[EVENT_TIME] = time.written.expression(time.column)
    if (price := guesses.found.get(PRICE)) and (value := guesses.found.get(VALUE)):
        total = TOTALS.search(price.column.lower()) and "unit" not in price.column.lower()
        if total and words(value.column)[-1] in QUANTITIES:
            expressions[PRICE] = f"try_divide({_number(price.column)}, {_number(value.column)})"
    return Looked(url, files, sample, guesses, expressions)


def items_table(place: Location, url: str, events: Looked) -> Looked:
    """Look at the items table, or, without ``url``, at what the events say of items (no column found: they say nothing).

    Raises:
        SourceError: as `look`, or it is not to be seen which column is the item.
    """
    if url:
        files, sample = look(place, url)
        guesses = of_items(sample, events.guesses.found[ITEM].column)
    else:
        item = events.guesses.found[ITEM].column
        files, sample = events.files, events.sample.select(item, *events.guesses.unused)
        guesses = of_items(sample, item)
        for ours in [ours for ours in guesses.found if ours != ITEM]:
            if not _describes(sample, item, guesses.found[ours].column):
                guesses.unused.append(guesses.found.pop(ours).column)
    if ITEM not in guesses.found:
        raise SourceError(
            f"cannot tell which column of {files[0]} is the item. It has: {', '.join(sample.columns)}. Rename it to "
            f"{events.guesses.found[ITEM].column}, as in the events."
        )
    expressions = {}
    category = guesses.found.get("category")
    if category and (separator := _separator(sample[category.column])):
        expressions["category"] = f"trim(split({quoted_if_needed(category.column)}, '[{separator}]')[0])"
        guesses.found.setdefault("subcategory", Guess(category.column, "the whole of the category"))
    available = guesses.found.get(AVAILABLE_AT)
    if available and available.written and available.written.spark:
        expressions[AVAILABLE_AT] = available.written.expression(available.column)
    guesses.found = {ours: guesses.found[ours] for ours in ITEM_WORDS if ours in guesses.found}
    return Looked(url or events.url, files, sample, guesses, expressions)


def share_of_known(events: Looked, table: Looked, ours: str) -> float:
    """Of the ids in the sampled events, those that a side table has."""
    import polars as pl

    ids = events.sample[events.guesses.found[ours].column].drop_nulls().cast(pl.String).unique()
    column = table.guesses.found[ours].column
    known = rows(scan(table.files).select(pl.col(column).cast(pl.String).unique()), table.files[0])[column]
    return float(ids.is_in(known.implode()).mean() or 0)  # type: ignore[arg-type]


def day(second: float) -> str:
    """The day (UTC) of an instant."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d}"


def quoted_if_needed(column: str) -> str:
    """A column's name as a Spark expression has it."""
    return column if re.fullmatch(r"[A-Za-z_]\w*", column) else quoted(column)


def _number(column: str) -> str:
    return f"try_cast({quoted_if_needed(column)} as double)"


def _describes(sample: pl.DataFrame, item: str, column: str) -> bool:
    """Whether a column says the same of an item each time, and not of all items the same."""
    pairs = sample.select(item, column).drop_nulls()
    return pairs.height > 0 and pairs.n_unique() <= SAME * pairs[item].n_unique() and pairs[column].n_unique() > 1


def _separator(values: pl.Series) -> str:
    """What separates several categories in one value: with it there are many more values than first parts."""
    import polars as pl

    if values.dtype != pl.String:
        return ""
    distinct = values.drop_nulls().unique()
    plural = values.name.lower().split(":")[0] in ("genres", "class", "tags", "topics")
    for separator in (*SEPARATORS, *([" "] if plural else [])):
        has = distinct.str.contains(separator, literal=True)
        first = distinct.str.split(separator).list.first().n_unique()
        if distinct.len() and (has.mean() or 0) >= 0.3 and distinct.len() >= 1.5 * first:  # type: ignore[operator]
            return separator
    return ""
