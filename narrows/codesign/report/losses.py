"""Who loses what to whom: every design against every other, on the same users and seeds."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.codesign.summary import Pair, Summary
from narrows.codesign.verdict import signed
from narrows.markup import section, table, tag

MOST = 8
"""Designs of the square; all others stand against the best one alone."""


def duels(summary: Summary) -> Markup | None:
    """The part of the page; None with one design."""
    order = sorted(range(len(summary.rows)), key=lambda at: -summary.rows[at].quality.value)
    if len(order) < 2:
        return None
    metric, square = summary.planned.experiment.main_metric, order[:MOST]
    header = ["design", *(f"to {at + 1}" for at in square)]
    rows = [[f"{at + 1}. {summary.rows[at].name}", *(_cell(summary, at, other) for other in square)] for at in square]
    whole = table(
        f"The row's {metric} minus the column's, with 95% intervals; the numbers are those of the designs",
        header,
        rows,
        tuple(range(1, len(header))),
    )
    best = order[0]
    against = table(
        f"Every design against the best, {summary.rows[best].name}",
        ["design", f"{metric}, difference [95%]", "as a ratio [95%]", "can be told apart"],
        [
            (f"{at + 1}. {summary.rows[at].name}", signed(pair.difference), _ratio(pair), "yes" if pair.difference.clear else "no")
            for at in order[1:] for pair in (summary.pairs[at, best],)
        ],
        numbers=(1, 2),
    )  # fmt: skip
    note = tag("p", "A difference whose interval holds 0 is in plain type: it may be chance. ▲ is more, ▼ is less. The intervals are not "
               "corrected for the number of pairs.")  # fmt: skip
    return section("duels", "Who loses what to whom", note, whole, against)


def _cell(summary: Summary, one: int, other: int) -> Any:
    if one == other:
        return "-"
    difference = summary.pairs[one, other].difference
    if not difference.clear:
        return signed(difference, 3)
    up = difference.value > 0
    return tag("span", "▲ " if up else "▼ ", signed(difference, 3), class_="good" if up else "bad")


def _ratio(pair: Pair) -> str:
    return f"{pair.ratio.value:.4f} [{pair.ratio.low:.4f}, {pair.ratio.high:.4f}]"
