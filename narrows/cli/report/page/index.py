"""The index of all runs, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from narrows.cli.layout import Row, interval
from narrows.cli.mlflow import saved_view
from narrows.cli.report.page.cost import spent
from narrows.cli.report.page.quality import best_baseline
from narrows.cli.report.page.tables import PORT
from narrows.markup import link, page, table, tag, together
from narrows.settings import Settings


def index(settings: Settings, records: Sequence[Row]) -> str:
    """The page that lists all runs of a state folder, with what serves now."""
    live = live_releases(settings, records)
    above = together([
        link("Data docs", "../data_docs/index.html"),
        link("Airflow", f"http://127.0.0.1:{PORT}/"),
        link("MLflow", compared(records)),
    ])  # fmt: skip
    header = ["run", "as of", "design", "recall", "NDCG", "lead over", "seconds", "lists", "users"]
    rows = [row(record, live) for record in sorted(records, key=lambda record: -record["number"])]
    what = f"{len(rows)} run{'s' if len(rows) > 1 else ''}, newest first. Intervals are 95%; leads are in NDCG; seconds include earlier windows"
    body = table(what, header, rows, numbers=(3, 4, 5, 6, 8)) if rows else tag("p", "No run has been recorded yet.")
    return page("Runs", tag("section", body), above=above)


def compared(records: Sequence[Row]) -> str:
    """MLflow's saved view of all runs; its first page where no record says in which experiment they are."""
    server, known = f"http://127.0.0.1:{PORT + 1}/", [record["mlflow"] for record in records if record.get("mlflow")]
    return saved_view.link(known[-1]["server"] or server, known[-1]["experiment"]) if known else server


def row(record: Row, live: set[str]) -> tuple[Any, ...]:
    """A run's line."""
    facts = record["facts"]
    own = next((each for each in facts["lists"] if each["kind"] == "published"), None)
    recall, ndcg = (number(own[metric]) if own and facts["users"] else "" for metric in ("recall", "ndcg"))
    baseline = best_baseline(facts)
    lead: Any = ""
    if baseline and (ahead := baseline.get("ndcg_lead")) and ahead["value"] is not None:
        lead = together([number(ahead, signed=True), tag("small", baseline["list"])])
    serves = facts["serving"].get("release_id") in live
    state = tag("strong", "live", class_="good") if serves else "kept"
    judged = f"{facts['users']:,}" if facts["users"] else "not yet"
    design = record["name"].removeprefix(record["asof"]).strip()
    return (
        link(f"Run {record['number']}", f"{record['number']}.html"),
        record["asof"],
        design,
        recall,
        ndcg,
        lead,
        f"{spent(record):,.0f}",
        state,
        judged,
    )


def number(row: Row, signed: bool = False) -> Any:
    """A value with its interval below."""
    value, bracket, rest = interval(row, signed).partition(" [")
    return together([value, tag("small", f"[{rest}") if bracket else None])


def live_releases(settings: Settings, records: Sequence[Row]) -> set[str]:
    """The releases of the runs that are served now; none where the serving database cannot say."""
    from narrows.serving import reading, schema

    releases = {record["facts"]["serving"].get("release_id", "") for record in records} - {""}
    try:
        engine = schema.open_published(settings.serving_url)
        return {release for release in releases if reading.state(engine, release)["live"]}
    except schema.ServingError:
        return set()
