"""What ``narrows doctor`` says of the source: files, columns, dates, the as-of of a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from narrows.cli.check.finding import Check, Counts, fails, ok, warns
from narrows.cli.check.reach import Reach, history_needed, reach
from narrows.columns import EVENT_TYPE, ITEM, USER
from narrows.durations import in_words
from narrows.source.errors import SourceError
from narrows.source.files import Source, open_source
from narrows.source.mapped import COLUMNS, NEEDED
from narrows.source.tabular import kind_of
from narrows.source.urls import redacted

if TYPE_CHECKING:
    from narrows.settings import Settings

SAMPLE_ROWS = 10_000
LISTED_TYPES = 5
TABLES = {"events": "event_columns", "items": "item_columns", "users": "user_columns"}


def checks(settings: Settings, with_spark: bool) -> Iterator[Check | Counts]:
    """The checks of the source, and how much it holds; what depends on a failed check is left out.

    Args:
        settings: of the run.
        with_spark: whether rows can be read as a run reads them.
    """
    try:
        source = open_source(settings)
        files = {name: source.files(url) for name in TABLES if (url := getattr(source.settings, name))}
    except SourceError as error:
        yield fails("source", str(error))
        return
    places = [
        f"{name} {redacted(getattr(source.settings, name))} ({len(found)} file{'s' * (len(found) != 1)})"
        for name, found in files.items()
    ]
    yield ok("source", f"{settings.source.name}: {', '.join(places)}")
    if with_spark:
        try:
            for name in files:
                yield _columns(settings, source, name)
        except SourceError as error:
            yield fails("columns", str(error))
            return
    else:
        yield warns("columns", "not checked: rows are read with Java")
    if settings.source.kinds.kind_of:
        yield _kinds(source)
    try:
        found = reach(settings)
    except (SourceError, ImportError, RuntimeError) as error:
        yield fails("dates", str(error))
        return
    yield _dates(found)
    yield _asof(settings, found)
    users, items = _distinct(source)
    yield ok("size", f"{found.rows:,} events" + (f" of {users:,} users and {items:,} items" if users else ""))
    yield Counts(found.rows, users, items)


def _columns(settings: Settings, source: Source, table: str) -> Check:
    """Some rows of a table, through the code that reads it in a run."""
    from pyspark.sql import functions as F

    from narrows.engine.spark import spark_session
    from narrows.source.tabular import reading

    session = spark_session(settings.spark)
    rows = getattr(source, table)(session).limit(SAMPLE_ROWS)
    key, broken = TABLES[table], F.lit(None)
    if table == "events":
        from stages.events.rows import judged, typed

        room: Any = settings.rooms.get("events")
        have = [name for name in COLUMNS[key] if name in rows.columns]
        skew = getattr(room, "max_clock_skew_hours", 24.0)
        rows = judged(typed(rows, source.settings), skew, datetime(2200, 1, 1, tzinfo=UTC))
        broken = F.col("reason")
    else:
        from stages.events.side_tables import with_instant

        rows = with_instant(rows)
        have = [name for name in COLUMNS[key] if name in rows.columns]
        broken = F.when(F.col(have[0]).isNull(), F.lit(f"no {have[0]}"))
    rows = rows.select(broken.alias("reason"), *have)
    with reading():
        counted = (
            rows.groupBy("reason")
            .agg(F.count("*").alias("rows"), *[F.count(name).alias(name) for name in have])
            .collect()
        )
    total = sum(row["rows"] for row in counted)
    if not total:
        return fails(table, f"no rows in [source] {table}. Give a file that has some")
    bad = {row["reason"]: row["rows"] for row in counted if row["reason"] is not None}
    empty = [name for name in have if not sum(row[name] for row in counted)]
    missing = [name for name in COLUMNS[key] if name not in have]
    text = f"{', '.join(have)}: {total:,} rows tried, {sum(bad.values()):,} broken"
    if bad:
        text += f" ({', '.join(f'{reason}: {count:,}' for reason, count in bad.items())})"
    if needless := [name for name in empty if name in NEEDED[key]]:
        return fails(table, f"{needless[0]} has no value that can be read. Mend [source.{key}] {needless[0]}; {text}")
    if table == "events" and sum(bad.values()) > getattr(settings.rooms.get("events"), "max_bad_share", 0.01) * total:
        return fails(
            table, f"{text}, more than [events] max_bad_share: a run would stop. Mend the file or [source.{key}]"
        )
    if empty:
        return warns(table, f"{', '.join(empty)} without a value: is [source.{key}] right? {text}")
    note = f"; not mapped: {', '.join(missing)}" if missing else ""
    return warns(table, text) if bad else ok(table, text + note)


def _kinds(source: Source) -> Check:
    """Whether ``[source.kinds]`` names the event types that the file has, and the file those that it names."""
    kind_of, counts = source.settings.kinds.kind_of, _types(source)
    if counts is None:
        return ok("kinds", f"{', '.join(kind_of)}: not counted, as an expression or `where` decides")
    if unnamed := {each: count for each, count in counts.items() if each not in kind_of}:
        shown = ", ".join(f"{each!r} ({count:,} rows)" for each, count in list(unnamed.items())[:LISTED_TYPES])
        return fails(
            "kinds", f"[source.kinds] names no kind of event_type {shown}. Add them to a list, or set [source] where"
        )
    text = "; ".join(
        f"{kind} " + ", ".join(f"{each} {counts.get(each, 0):,}" for each in kind_of if kind_of[each] == kind)
        for kind in dict.fromkeys(kind_of.values())
    )
    absent = [each for each in kind_of if each not in counts]
    return warns("kinds", f"{text}. The file has no {', '.join(absent)}") if absent else ok("kinds", text)


def _types(source: Source) -> dict[str, int] | None:
    """The rows of each event type, most first; None where only Spark could tell."""
    import polars as pl

    from narrows.source.frames import rows, scan

    files, given = source.files(source.settings.events), source.settings
    column = (given.event_columns or {EVENT_TYPE: EVENT_TYPE}).get(EVENT_TYPE, "")
    if given.where or kind_of(files[0]) == "json":
        return None
    frame = scan(files)
    if column not in frame.collect_schema():
        return (
            None
            if column and given.event_columns
            else {given.event_type: rows(frame.select(pl.len()), files[0]).item()}
        )
    text = pl.col(column).cast(pl.String)
    named = pl.when(text.str.strip_chars() != "").then(text).otherwise(pl.lit(given.event_type)).alias("type")
    counted = frame.group_by(named).agg(pl.len().alias("rows")).sort("rows", "type", descending=[True, False])
    return dict(rows(counted, files[0]).iter_rows())


def _dates(found: Reach) -> Check:
    text = f"events from {found.begins} to {found.ends}"
    if found.strays:
        return warns(
            "dates", f"{text}; {found.strays:,} rows are dated later, after a gap or in the future: check them"
        )
    return ok("dates", text)


def _asof(settings: Settings, found: Reach) -> Check:
    needed, length = history_needed(settings), in_words(found.horizon)
    asof, why = found.choice(needed)
    text = f"a run takes {asof}: {why}. The latest that can be judged: {found.judged or 'none'}"
    if found.history(asof) < needed:
        return fails(
            "as-of",
            f"{text}. Give older events, or lower [source] horizon: {found.begins} to {found.ends} has "
            f"{found.history(found.ends)} horizons of {length}",
        )
    return ok("as-of", text)


def _distinct(source: Source) -> tuple[int, int]:
    """How many users and items there are; 0 where only Spark could tell."""
    import polars as pl

    from narrows.source.frames import rows, scan

    files = source.files(source.settings.events)
    if kind_of(files[0]) == "json":
        return 0, 0
    frame = scan(files)
    names = source.settings.event_columns or {USER: USER, ITEM: ITEM}
    if not {names.get(USER), names.get(ITEM)} <= set(frame.collect_schema()):
        return 0, 0
    users, items = rows(
        frame.select(pl.col(names[USER]).n_unique(), pl.col(names[ITEM]).n_unique().alias("items")), files[0]
    ).row(0)
    return users, items
