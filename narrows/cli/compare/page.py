"""A comparison of runs as one HTML page that needs nothing else: no script, no font, no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from narrows.cli.compare.text import difference, verdict
from narrows.cli.layout import Row, count, seconds, short

STYLE = """
:root { color-scheme: light dark; --line: #d0d4da; --soft: #f3f5f7; --ink: #1d232b; --paper: #fff; --good: #17693a;
  --bad: #a3201d; --muted: #56606c; }
@media (prefers-color-scheme: dark) { :root { --line: #3a424c; --soft: #20262d; --ink: #e4e8ed; --paper: #14181d;
  --good: #6fd397; --bad: #ff9c94; --muted: #a3adb8; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; }
.table { overflow-x: auto; margin: 0 0 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 1.1rem; padding: .4rem 0; }
caption span { display: block; font-weight: 400; font-size: .9rem; color: var(--muted); white-space: nowrap; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }

tbody th, .text { text-align: left; font-weight: 400; }
td.text { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; }
thead th, thead th.text { background: var(--soft); font-weight: 600; }
tbody th[scope=rowgroup] { font-weight: 600; vertical-align: top; }
@media (max-width: 60rem) { body { font-size: 12px; } th, td { padding: .2rem .25rem; } }
.better { color: var(--good); font-weight: 600; } .worse { color: var(--bad); font-weight: 600; }
.muted { color: var(--muted); }
"""


LEFT = (
    "",
    "run",
    "source",
    "horizon",
    "release",
    "recorded",
    "state folder",
    "setting",
    "list",
    "stage",
    "shared",
    "runs",
)
"""Headings of columns of text."""
TEXT = ' class="text"'


def page(facts: Row) -> str:
    """The comparison as a whole HTML document."""
    title = " and ".join(f"run {run['number']}" for run in facts["runs"])
    parts = [
        f"<h1>{escape(title[0].upper() + title[1:])}</h1>",
        _runs(facts), _settings(facts), _quality(facts), _survival(facts), _cost(facts), _overlap(facts),
        "".join(f"<p class=muted>{escape(note)}</p>" for note in facts["notes"]),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Compare {escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _table(caption: str, about: str, header: Sequence[str], rows: Iterable[str]) -> str:
    body = "\n".join(rows)
    if not body:
        return ""
    heads = "".join(f'<th scope="col"{TEXT if name in LEFT else ""}>{escape(name)}</th>' for name in header)
    note = f"<span>{escape(about)}</span>" if about else ""
    top = f"<table>\n<caption>{escape(caption)}{note}</caption>\n<thead><tr>{heads}</tr></thead>"
    return f'<div class="table">{top}\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _cells(values: Iterable[Any], kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return "".join(f"<td{attribute}>{escape(str(value))}</td>" for value in values)


def _grouped(rows: Sequence[Row], key: str, name: Any, cells: Any) -> Iterable[str]:
    """One line a row; rows of one ``key`` have one heading over all of them."""
    last = None
    for row in rows:
        group = ""
        if row[key] != last:
            span = sum(each[key] == row[key] for each in rows)
            group, last = f'<th scope="rowgroup" rowspan="{span}">{escape(name(row[key]))}</th>', row[key]
        yield f'<tr>{group}<th scope="row">{escape(row["run"])}</th>{cells(row)}</tr>'


def _runs(facts: Row) -> str:
    rows = [
        f'<tr><th scope="row">{run["letter"]}</th>'
        + _cells([f"{run['number']} · {run['name']}", run["source"], run["horizon"], run["release"], run["recorded_at"],
                  run["state"]], "text") + "</tr>"
        for run in facts["runs"]
    ]  # fmt: skip
    return _table("Runs", "", ("", "run", "source", "horizon", "release", "recorded", "state folder"), rows)


def _settings(facts: Row) -> str:
    rows = [
        f'<tr><th scope="row"><code>{escape(row["name"])}</code></th>{_cells(row["values"])}</tr>'
        for row in facts["settings"]
    ]
    about = "Those that are not the same in all runs."
    return (
        _table("Settings", about, ("setting", *(run["letter"] for run in facts["runs"])), rows)
        or "<p>No setting differs.</p>"
    )


def _quality(facts: Row) -> str:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in facts["quality"]:
        pair = found.setdefault((row["list"], row["run"]), {"list": row["list"], "run": row["run"]})
        pair[row["metric"]] = row

    def cells(row: Row) -> str:
        parts = []
        for metric in ("ndcg", "recall"):
            told = verdict(row[metric]["difference"])
            parts.append(
                _cells([short(row[metric]["value"])])
                + _cells([f"{difference(row[metric]['difference'])} {told}"], told)
            )
        return "".join(parts)

    k = facts["k"]
    about = f"Differences to A with {facts['confidence']:.0%} intervals; in colour where the interval does not hold 0."
    header = ("list", "run", f"ndcg@{k}", "less A's", f"recall@{k}", "less A's")

    def names(name: str) -> str:
        return name if name == "published" else f"after {name}"

    return _table("Quality", about, header, _grouped(list(found.values()), "list", names, cells))


def _survival(facts: Row) -> str:
    def cells(row: Row) -> str:
        return _cells([short(row["value"]), short(row["difference"], True)])

    about = "Share of the positives that a stage received and kept; of the first stage, out of all."
    rows = _grouped(facts["survival"], "stage", lambda stage: "all stages" if stage == "joint" else stage, cells)
    return _table("Survival", about, ("stage", "run", "share", "less A's"), rows)


def _cost(facts: Row) -> str:
    def cells(row: Row) -> str:
        more = row["difference"]
        signed = ["" if more[key] is None else f"{more[key]:+,.1f}" for key in ("seconds", "cpu_seconds")]
        values = [seconds(row["seconds"]), signed[0], seconds(row["cpu_seconds"]), signed[1]]
        values += [seconds(row["past_seconds"]), count(row["peak_mb"]), count(row["rows_out"])]
        return _cells(values) + _cells(["same version" if row["shared"] else ""], "text")

    header = ("stage", "run", "seconds", "less A's", "CPU s", "less A's", "past s", "peak MB", "rows out", "shared")
    about = "What making each table took, whichever run made it; past s: on top, for earlier windows."
    return _table("Cost", about, header, _grouped(facts["cost"], "stage", str, cells))


def _overlap(facts: Row) -> str:
    rows = [
        f'<tr><th scope="row">{each["run"]} and A</th>'
        + _cells([f"{each['common']:.1%}", f"{each['identical']:.1%}", f"{each['users']:,}"]) + "</tr>"
        for each in facts["overlap"]
    ]  # fmt: skip
    about = f"The first {facts['k']} items of users who have a list in both."
    return _table("Published lists", about, ("runs", "items in common", "identical lists", "users"), rows)
