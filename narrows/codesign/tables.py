"""The results' folder of an experiment: one row a design, one a pair, and the verdict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from narrows.codesign.designs import flat
from narrows.codesign.results import FOLDER
from narrows.codesign.summary import Summary
from narrows.codesign.tracked import metrics_of
from narrows.codesign.verdict import verdict
from narrows.store.partitions import write_json

DESIGNS, PAIRS, ABOUT = "designs.parquet", "pairs.parquet", "experiment.json"


def save(summary: Summary, state: Path) -> Path:
    """Write the folder below the state folder; its path."""
    import polars as pl

    folder = state / FOLDER / summary.planned.experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    numbers = range(len(summary.rows))
    rows = [{"name": row.name, **settings_of(row.tuned), **metrics_of(summary, row)} for row in summary.rows]
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / DESIGNS)
    pairs = [
        {
            "one": summary.rows[one].name, "other": summary.rows[other].name, "difference": pair.difference.value,
            "low": pair.difference.low, "high": pair.difference.high, "ratio": pair.ratio.value,
            "ratio_low": pair.ratio.low, "ratio_high": pair.ratio.high,
        }
        for (one, other), pair in summary.pairs.items()
    ]  # fmt: skip
    if pairs:
        pl.DataFrame(pairs).write_parquet(folder / PAIRS)
    about = {
        "experiment": asdict(summary.planned.experiment), "verdict": verdict(summary),
        "designs": [row_of(summary, at) for at in numbers],
    }  # fmt: skip
    write_json(folder / ABOUT, about)
    return folder


def row_of(summary: Summary, at: int) -> dict[str, Any]:
    """A design as JSON values."""
    row = summary.rows[at]
    return {
        "name": row.name, "settings": flat(row.design), "tuned": row.tuned, "quality": asdict(row.quality),
        "seeds": list(row.seeds), "money": row.money, "on_front": at in summary.front, "metrics": row.metrics,
    }  # fmt: skip


def settings_of(design: dict[str, Any]) -> dict[str, Any]:
    """Settings as single cells: lists as text."""
    return {f"set_{name}": str(value) if isinstance(value, list) else value for name, value in design.items()}
