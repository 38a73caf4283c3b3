"""The parts of the page that are tables: what serves, the design, the versions, the quarantine, the other pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from narrows.audit.site import page_of
from narrows.cli.layout import Row, count
from narrows.cli.mlflow import saved_view
from narrows.cli.report.page.cost import cached_rooms
from narrows.markup import link, section, table, tag

PORT = 8080
"""The first of the ports that ``narrows ui`` takes if not told otherwise: Airflow's; MLflow has the next."""
DAG = "daily"


def serving(facts: Row) -> Markup | None:
    """Whether the lists are served, as it was when the run was recorded."""
    state = facts["serving"]
    if not state:
        return None
    release = tag("code", state["release_id"])
    if state["live"]:
        said = tag("p", "Release ", release, " is ", tag("strong", "LIVE", class_="good"), ": its lists are served.")
    else:
        said = tag("p", "Release ", release, " is ", tag("strong", "kept, not served", class_="bad"), ", because ",
                   state["kept_because"], ".")  # fmt: skip
    return section("serving", "What serves", said, tag("p", "As it was when the run was recorded.", class_="lead"))


def quarantine(facts: Row) -> Markup:
    """Source rows left out, what stood in for a missing list, each with its reason, and the events by kind where there are several."""
    bad = [(reason, f"{n:,}") for reason, n in sorted(facts["quarantine"].items(), key=lambda each: -each[1])]
    said: Any = (
        table("Source rows left out", ["reason", "rows"], bad, numbers=(1,))
        if bad
        else tag("p", "No source row was left out.")
    )
    kinds = facts.get("kinds") or {}
    counted = table("Events by kind", ["kind", "events"], [(kind, f"{n:,}") for kind, n in kinds.items()], numbers=(1,))
    without = int(facts["users_without_list"] or 0)
    stood_in = dict(facts["fallbacks"]) | ({"judged users served the fallback": without} if without else {})
    more = table("Fallbacks", ["what", "how many"], [(what, f"{n:,}") for what, n in stood_in.items()], numbers=(1,))
    return section("quarantine", "Quarantine", said, more if stood_in else None, counted if len(kinds) > 1 else None)


def warnings(facts: Row) -> Markup | None:
    """What the contracts warn of; None where they warn of nothing."""
    lines = facts.get("contract_warnings", ())
    return (
        section("warnings", "Warnings of the contracts", tag("ul", *(tag("li", line) for line in lines)))
        if lines
        else None
    )


def design(record: Row) -> Markup:
    """The settings that differ from the defaults, and all settings of the rooms."""
    differ = [(name, tag("code", value)) for name, value in record["design"].items()]
    said: Any = (
        table("Settings that differ from the defaults", ["setting", "value"], differ)
        if differ
        else tag("p", "All settings are the defaults.")
    )
    every = [
        (f"{room}.{name}", tag("code", value))
        for room, settings in record["settings"].items()
        for name, value in settings.items()
    ]
    details = tag(
        "details", tag("summary", "All settings"), table("All settings of the rooms", ["setting", "value"], every)
    )
    return section("design", "Design", said, details)


def versions(record: Row, state: str) -> Markup:
    """The tables of the run with their versions and audits; ``state`` leads to the state folder."""
    cached = cached_rooms(record)
    order = [stage["room"] for stage in record["facts"]["stages"] if stage["room"] in record["tables"]]
    rows = []
    for room in order:
        made = record["tables"][room]
        audit = f"{state}/data_docs/{page_of(room, made['version'], record['asof'])}"
        by = f"earlier, by {made['made_by']}" if room in cached else "this run"
        rows.append((room, count(made["rows"]), tag("code", made["version"]), by, link(f"audit of {room}", audit)))
    what = f"Tables as of {record['asof']}"
    return section(
        "tables", "Tables", table(what, ["table", "rows", "version", "made by", "data docs"], rows, numbers=(1,))
    )


def others(record: Row, state: str, port: int = PORT) -> Markup:
    """Links to the other pages, for the top."""
    run = quote(record["run_id"], safe="")
    in_airflow = f"dags/{DAG}/runs/{run}" if "__" in record["run_id"] else ""  # others were not Airflow's
    return Markup("").join([
        link("All runs", f"{state}/reports/index.html"),
        link("Data docs", f"{state}/data_docs/index.html"),
        link("Airflow", f"http://127.0.0.1:{port}/{in_airflow}"),
        link("MLflow", in_mlflow(record, port)),
    ])  # fmt: skip


def in_mlflow(record: Row, port: int = PORT) -> str:
    """The run's page in MLflow; the first page where the record does not say which run it is."""
    at = record.get("mlflow", {})
    server = at.get("server") or f"http://127.0.0.1:{port + 1}/"
    return saved_view.run_link(server, at["experiment"], at["run"]) if at else server
