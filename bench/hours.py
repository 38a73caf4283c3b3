"""``python -m bench.hours FROM TO``: what the published lists of consecutive as-ofs were worth together, beside the last horizon's list.

Of runs that are there (``NARROWS_FILE``, ``NARROWS_STORE__ROOT``): every user of the horizon after an as-of, who is served the own list,
else the fallback of the context of the first event, against the items with the most users in the horizon before. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
import polars as pl
import pyarrow.dataset as ds

from narrows.bootstrap import intervals
from narrows.columns import EVENT_TIME, ITEM, RANK, USER
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import Asof, Recent
from stages.evaluation.read import run as read

N = 20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.hours", description=__doc__)
    parser.add_argument("first")
    parser.add_argument("last")
    args = parser.parse_args()
    runner = Runner(load_settings())
    asof, last = (runner.settings.asof(text) for text in (args.first, args.last))
    found = []
    while asof <= last:
        found.append(judged(runner, asof))
        asof += runner.horizon
    rows = pl.concat(found)
    print("| users | served, recall / NDCG | last horizon | ratio |\n|---|---|---|---|")
    parts = {"known": "known", "unknown": ~pl.col("known"), "own list": "own", "fallback": ~pl.col("own")}
    for name, some in (("all", rows), *((name, rows.filter(part)) for name, part in parts.items())):
        if not some.height:
            continue
        ours, theirs = (some.select(f"{who}_recall", f"{who}_ndcg").to_numpy() for who in ("served", "last"))
        ratio, low, high = intervals(ours, theirs)
        said = [f"{each[0]:.4f} / {each[1]:.4f}" for each in (ours.mean(0), theirs.mean(0))]
        ratios = " / ".join(f"{r:.3f} [{a:.3f}, {b:.3f}]" for r, a, b in zip(ratio, low, high, strict=True))
        print(f"| {name}, {some.height:,} | {said[0]} | {said[1]} | {ratios} |")


def judged(runner: Runner, asof: Asof) -> pl.DataFrame:
    """One row a user of the horizon after the as-of: whether there is a profile (``known``), a list (``own``); recall and NDCG at 20 of what was
    served and of the last horizon's list.
    """
    names = ("recommendations", "user_profiles", "item_profiles")
    lists, users, items = (runner.store.current(name, asof) for name in names)
    later = next(each for each in runner.store.partitions("events") if each >= asof + runner.horizon)
    events = runner.store.current("events", later)
    if not (lists and users and items and events):
        raise SystemExit(f"there is no run of {asof}: run narrows run --asof {asof} first.")
    run = read(
        runner.room("evaluation"), lists, {}, users, Recent({asof: items}), events.truth(asof), asof + runner.horizon
    )
    truth = pl.DataFrame(run.truth.select([USER, ITEM])).unique()
    last = (ds.field(EVENT_TIME) >= (asof - runner.horizon).end) & (ds.field(EVENT_TIME) < asof.end)
    before = pl.DataFrame(events.arrow([USER, ITEM], last)).unique().group_by(ITEM).len()
    popular = before.sort("len", ITEM, descending=[True, False]).head(N).with_row_index(RANK, 1).select(ITEM, RANK)
    own = pl.DataFrame(run.published.select([USER])).unique().with_columns(own=True)
    result = truth.group_by(USER).len("wanted")
    for name, shown in (("served", pl.DataFrame(run.shown)), ("last", popular)):
        hits = truth.join(shown.filter(pl.col(RANK) <= N), [c for c in (USER, ITEM) if c in shown.columns])
        gain = 1 / (pl.col(RANK).cast(pl.Float64) + 1).log(2)
        result = result.join(
            hits.group_by(USER).agg(pl.len().alias(f"{name}_hits"), gain.sum().alias(f"{name}_gain")), USER, "left"
        )
    known = pl.DataFrame(users.arrow([USER])).with_columns(known=True)
    result = result.join(own, USER, "left").join(known, USER, "left")
    result = result.with_columns(pl.col("own", "known").fill_null(False)).fill_null(0).sort(USER)
    ideal = np.cumsum(1 / np.log2(np.arange(N) + 2))[np.minimum(result["wanted"].to_numpy(), N) - 1]
    return result.select(
        "own", "known", *(pl.col(f"{who}_hits").truediv("wanted").alias(f"{who}_recall") for who in ("served", "last")),
        *(pl.col(f"{who}_gain").truediv(pl.lit(pl.Series(ideal))).alias(f"{who}_ndcg") for who in ("served", "last")),
    )  # fmt: skip


if __name__ == "__main__":
    main()
