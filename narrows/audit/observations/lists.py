"""Lists of items by user: how long they are, whether users have lists of their own, and what is left of those before.

Lists are read as hashes, batch by batch. With ``place``, a column, the rows where it is not null are in a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from operator import and_
from typing import Any

from narrows.audit.observations.subject import Measured, Subject

FEWEST = 20
"""Users below which lists that are alike are nothing to wonder at."""
LISTED_ROWS = 2_000_000
"""Rows up to which every user's list is compared with the one before; of more, those of some users, drawn by their hash."""


def same_list(subject: Subject, user: str, item: str, place: str = "") -> Measured:
    """The share of users who have the most frequent set of items; silent of fewer than twenty users."""
    by_user = _by_user(_hashed(subject, subject.data, user, item, place))
    if by_user.height < FEWEST:
        return Measured()
    most = int(by_user.group_by("high", "low", "rows").len()["len"].max())
    share = most / by_user.height
    return Measured([(f"{most:,} of {by_user.height:,} users have the same items", share)], share)


def list_length(subject: Subject, user: str, place: str = "") -> Measured:
    """The mean number of items of a user's list."""
    by_user = _by_user(_hashed(subject, subject.data, user, "", place))
    if not by_user.height:
        return Measured()
    mean = float(by_user["rows"].sum()) / by_user.height
    return Measured([(f"{by_user.height:,} lists have {mean:.1f} items on average", mean)], mean)


def filled(subject: Subject, user: str, place: str, setting: str) -> Measured:
    """The mean share of a list that is filled: its items over the length that a setting of the room says, or, where a user
    has fewer rows, over these.
    """
    import polars as pl
    import pyarrow as pa

    wanted = subject.around.settings[setting]
    parts = [
        pl.DataFrame(pl.from_arrow(pa.table(batch)))
        .group_by(user)
        .agg(pl.len().alias("rows"), pl.col(place).count().alias("placed"))
        for batch in subject.batches([*subject.columns(user), *subject.columns(place)])
    ]
    if not parts:
        return Measured()
    both = pl.concat(parts).group_by(user).agg(pl.col("rows").sum(), pl.col("placed").sum())
    share = both.select((pl.col("placed") / pl.min_horizontal("rows", pl.lit(wanted))).mean()).item()
    if share is None:
        return Measured()
    return Measured(
        [(f"{both.height:,} lists are filled to {share:.1%} of {wanted} on average", float(share))], float(share)
    )


def overlap(subject: Subject, user: str, item: str, place: str = "", batch: str = "") -> Measured:
    """The mean share of a user's previous list that is in the new one, over the users who have both.

    Where ``batch`` names a column with the as-of that a list is of, those that go on from before do not count.
    """
    import polars as pl

    before = subject.around.previous
    if before is None or not {user, item, *filter(None, [place])} <= set(before.columns):
        return Measured()
    parts = max(1, max(subject.rows, before.rows) // LISTED_ROWS)
    new = pl.concat(_hashed(subject, subject.data, user, item, place, parts, batch))
    old = pl.concat(_hashed(subject, before.dataset(), user, item, place, parts))
    both = old.join(new.select("user").unique(), on="user").join(
        new.with_columns(there=1), on=["user", "item"], how="left"
    )
    by_user = both.group_by("user").agg((pl.col("there").fill_null(0).sum() / pl.len()).alias("kept"))
    share = by_user["kept"].mean()
    if by_user.height < FEWEST or not isinstance(share, float):
        return Measured()
    said = f"{by_user.height:,} users keep {share:.1%} of their list as of {before.asof} on average"
    return Measured([(said, share)], share)


def _hashed(
    subject: Subject, data: Any, user: str, item: str, place: str, parts: int = 1, batch: str = ""
) -> Iterator[Any]:
    """The rows of lists as hashes, batch by batch, uint64: ``user`` and ``item``; of one in ``parts`` of the users.

    With ``batch``, a column, only what is of this as-of.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    names = [subject.columns(name)[0] for name in (user, item, place) if name]
    wanted = [ds.field(place).is_valid()] if place else []
    wanted += [ds.field(subject.columns(batch)[0]) == str(subject.around.asof)] if batch else []
    yield pl.DataFrame(schema={"user": pl.UInt64, "item": pl.UInt64})
    for piece in subject.batches(names, data, reduce(and_, wanted) if wanted else None):
        rows = pl.DataFrame(pl.from_arrow(pa.table(piece)))
        items = pl.col(item).hash(2) if item else pl.lit(0, pl.UInt64)
        some = rows.select(user=pl.col(user).hash(1), item=items)
        yield some.filter(pl.col("user") % parts == 0) if parts > 1 else some


def _by_user(rows: Iterator[Any]) -> Any:
    """For each user the number of ``rows`` and a sum that tells sets of items apart, in two halves: ``high`` and ``low``."""
    import polars as pl

    halves = {"high": (pl.col("item") // 2**32).sum(), "low": (pl.col("item") % 2**32).sum(), "rows": pl.len()}
    found = pl.concat([some.group_by("user").agg(**halves) for some in rows])
    return found.group_by("user").agg(pl.col("high", "low", "rows").sum())
