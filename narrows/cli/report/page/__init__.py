"""The page of a run: its record drawn, as one HTML file that loads nothing, and an index of all runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row, interval, short
from narrows.cli.report.last_runs import last_judged
from narrows.cli.report.page import tables
from narrows.cli.report.page.calibration import calibration
from narrows.cli.report.page.cost import cost, spent
from narrows.cli.report.page.curve import curve
from narrows.cli.report.page.funnel import funnel
from narrows.cli.report.page.index import index
from narrows.cli.report.page.ledger import ledger
from narrows.cli.report.page.quality import best_baseline, quality
from narrows.cli.report.screen import why_not_judged
from narrows.markup import page, tag, together
from narrows.markup.drawing import percent
from narrows.settings import Settings
from narrows.store.partitions import write_text

FOLDER = "reports"


def publish(settings: Settings, record: Row) -> Path:
    """Write the page of a run, and the index with the pages of earlier runs that have none; return the run's page."""
    from narrows.cli.report.record import read_all

    folder = settings.state / FOLDER
    for each in (*read_all(settings.state), record):
        file = folder / f"{each['number']}.html"
        if each["number"] == record["number"] or not file.exists():
            write(settings, each, file)
    write_text(folder / "index.html", index(settings, read_all(settings.state)))
    return folder / f"{record['number']}.html"


def write(settings: Settings, record: Row, file: Path) -> None:
    """Write the page of a run anywhere; its links to the data docs lead to the state folder from there."""
    state = os.path.relpath(settings.state.absolute(), file.absolute().parent)
    last = last_judged(settings.state, record["source"], record["asof"])
    write_text(file, html(record, Path(state).as_posix(), last))


def html(record: Row, state: str = "..", last: Sequence[Row] = ()) -> str:
    """The page of a run.

    Args:
        record: of the run; see `record.write`.
        state: the way from the page's folder to the state folder.
        last: what the lists of the last as-ofs were worth; see `last_judged`.
    """
    facts = record["facts"]
    about = [f"Design: {record['name'].removeprefix(record['asof']).strip()}", f"recorded {record['recorded_at']}"]
    about += [f"code {record['code']}", f"run id {record['run_id']}"]
    if facts["users"]:
        about.insert(1, f"judged on the {facts['horizon']} after the as-of")
    waits = None if facts["users"] else tag("p", "Not judged yet: ", why_not_judged(facts), ".", class_="note")
    drawn = [funnel(record), quality(facts), curve(last), ledger(facts), calibration(facts), cost(record)]
    told = [tables.serving(facts), tables.warnings(facts), tables.quarantine(facts), tables.design(record)]
    return page(
        f"Run {record['number']}: {record['source']} as of {record['asof']}",
        tag("p", " · ".join(about), class_="lead"), waits, tiles(record),
        tag("div", *(part for part in (*drawn, *told) if part), class_="parts"),
        tables.versions(record, state),
        above=tables.others(record, state),
    )  # fmt: skip


def tiles(record: Row) -> Markup:
    """The headline numbers."""
    facts, shown = record["facts"], []
    k = facts["k"]
    if facts["users"]:
        own = next((each for each in facts["lists"] if each["kind"] == "published"), None)
        baseline = best_baseline(facts)
        for metric in ("recall", "ndcg"):
            if own and own[metric]["value"] is not None:
                shown.append((f"{metric}@{k}", short(own[metric]["value"]), between(own[metric])))
        if baseline and (lead := baseline.get("ndcg_lead")):
            shown.append((f"NDCG lead over {baseline['list']}", short(lead["value"], signed=True), between(lead, True)))
        shown.append(("positives that reach a list", percent(facts["joint_survival"]), f"of {facts['users']:,} users"))
        shown.append(("catalogue shown", percent(facts["coverage"]), ""))
    peak = max((stage["peak_mb"] or 0 for stage in facts["stages"]), default=0)
    shown.append(("time, earlier windows included", f"{spent(record):,.0f} s", ""))
    shown.append(("peak memory", f"{peak:,.0f} MB", ""))
    entries: list[Any] = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", more) if more else None))
        for name, value, more in shown
        if value
    ]
    return tag("dl", together(entries), class_="tiles")


def between(number: Row, signed: bool = False) -> str:
    """``95% [.274, .298]``; nothing without an interval."""
    _, bracket, rest = interval(number, signed).partition(" [")
    return f"95% [{rest}" if bracket else ""
