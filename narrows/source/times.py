"""How a column writes its times: what a run reads as it is, and what needs an expression in the column map."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from narrows.source.delimited import quoted
from narrows.source.instants import DAY_IN_DIGITS, MILLISECONDS_FROM, seconds

if TYPE_CHECKING:
    import polars as pl

EARLIEST, LATEST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Numbers that would be an instant outside are no times."""
OTHER = (
    ("%Y/%m/%d %H:%M:%S", "yyyy/M/d H:m:s"), ("%Y/%m/%d %H:%M", "yyyy/M/d H:m"), ("%Y/%m/%d", "yyyy/M/d"),
    ("%m/%d/%Y %H:%M:%S", "M/d/yyyy H:m:s"), ("%m/%d/%Y %H:%M", "M/d/yyyy H:m"), ("%m/%d/%Y", "M/d/yyyy"),
    ("%d/%m/%Y %H:%M:%S", "d/M/yyyy H:m:s"), ("%d/%m/%Y %H:%M", "d/M/yyyy H:m"), ("%d/%m/%Y", "d/M/yyyy"),
    ("%d.%m.%Y %H:%M:%S", "d.M.yyyy H:m:s"), ("%d.%m.%Y %H:%M", "d.M.yyyy H:m"), ("%d.%m.%Y", "d.M.yyyy"),
    ("%d-%m-%Y %H:%M:%S", "d-M-yyyy H:m:s"), ("%d-%m-%Y %H:%M", "d-M-yyyy H:m"), ("%d-%m-%Y", "d-M-yyyy"),
)  # fmt: skip
"""Ways to write a time that a run does not read as they are, for Polars and for Spark."""


@dataclass(frozen=True)
class Written:
    """How the times of a column are written."""

    words: str
    """For people."""
    share: float
    """Of the given values, those that can be read so."""
    time_format: str = "auto"
    """What ``[source] time_format`` says of it: ``auto`` or ``iso``."""
    polars: str = ""
    """The pattern, where a run needs an expression; empty where it reads the column as it is."""
    spark: str = ""
    """The same for Spark."""
    either: bool = False
    """Whether day and month could be the other way round."""

    def expression(self, column: str) -> str:
        """What the column map says: the column, or Spark's expression of it."""
        return f"try_to_timestamp(trim({quoted(column)}), '{self.spark}')" if self.spark else column

    def instants(self, column: str, kind: pl.DataType) -> pl.Expr | None:
        """Seconds since 1970 for Polars; None where the column has no type of times."""
        import polars as pl

        if not self.polars:
            return seconds(column, kind)
        text = pl.col(column).str.strip_chars()
        return text.str.to_datetime(self.polars, strict=False, time_unit="us").dt.epoch("us") / 1e6


def written(values: pl.Series) -> Written | None:
    """How a column writes its times; None where most values are no times."""
    import polars as pl

    given = values.drop_nulls()
    if given.dtype == pl.String:
        given = given.filter(given.str.strip_chars() != "")
    read = seconds(values.name, given.dtype)
    if read is None or not given.len():
        return None
    frame = given.to_frame()
    inside = pl.col("at").is_between(EARLIEST.timestamp(), LATEST.timestamp())
    instants = frame.select(at=read).select(pl.when(inside).then("at")).to_series()
    share = 1 - instants.null_count() / given.len()
    if share >= 0.5:
        return Written(_words(given), share)
    if given.dtype != pl.String:
        return None
    shares = [
        (
            frame.select(pl.col(values.name).str.strip_chars().str.to_datetime(form, strict=False)).to_series(),
            form,
            spark,
        )
        for form, spark in OTHER
    ]
    best = max(shares, key=lambda each: each[0].count())
    if best[0].count() < 0.5 * given.len():
        return None
    as_many = [form for parsed, form, _ in shares if parsed.count() == best[0].count()]
    either = any(form[:2] != best[1][:2] for form in as_many)
    return Written(f"text such as {given[0]!r}", best[0].count() / given.len(), "auto", best[1], best[2], either)


def _words(given: pl.Series) -> str:
    import polars as pl

    if given.dtype.is_temporal():
        return "a column of timestamps" if given.dtype != pl.Date else "a column of days"
    text = given.cast(pl.String).str.strip_chars()
    if text.str.contains(DAY_IN_DIGITS).all():
        return "days such as 20240102"
    numbers = text.cast(pl.Float64, strict=False)
    if numbers.is_not_null().all():
        unit = "milliseconds" if (numbers.median() or 0) > MILLISECONDS_FROM else "seconds"  # type: ignore[operator]
        return f"{unit} since 1970"
    return f"ISO 8601, such as {text[0]}"
