"""The report of an experiment: one HTML page that loads nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from narrows.codesign.report.front import front
from narrows.codesign.report.losses import duels
from narrows.codesign.report.survival import survival
from narrows.codesign.report.tables import costs, designs, next_unit, source
from narrows.codesign.summary import Summary
from narrows.codesign.verdict import verdict
from narrows.markup import page, section, tag, together
from narrows.store.partitions import write_text

FOLDER = "reports/codesign"


def write(summary: Summary, state: Path) -> Path:
    """Write the report below the state folder; its path."""
    file = state / FOLDER / f"{summary.planned.experiment.name}.html"
    write_text(file, html(summary))
    return file


def html(summary: Summary) -> str:
    """The page."""
    experiment = summary.planned.experiment
    said = tag("ul", *(tag("li", sentence) for sentence in verdict(summary)))
    parts = (
        front(summary), survival(summary), duels(summary), next_unit(summary), costs(summary), designs(summary), source(summary),
    )  # fmt: skip
    return page(
        f"Experiment {experiment.name}",
        tag("p", experiment.question, class_="lead") if experiment.question else None,
        _tiles(summary),
        section("verdict", "Verdict", said),
        *(part for part in parts if part is not None),
    )


def _tiles(summary: Summary) -> Markup:
    experiment, first = summary.planned.experiment, summary.rows[0].metrics
    facts: list[tuple[str, Any, Any]] = [
        ("Designs", len(summary.rows), None),
        ("Seeds", experiment.seeds, "each design is trained so often"),
        ("Judged requests", f"{first['requests']:,.0f}", f"{first['labelled']:,.0f} with a wanted candidate"),
        ("Compared by", experiment.main_metric, "mean of requests, with 95% intervals over users and seeds"),
        ("Tuning", experiment.tune.trials, "trials of each design, on the validation part"),
    ]
    tiles = [
        tag("div", tag("dt", name), tag("dd", value, tag("small", more) if more else None))
        for name, value, more in facts
    ]
    return tag("dl", together(tiles), class_="tiles")
