"""Small files of every kind that a source can read, and what an opened source gives for them."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from narrows.asof import Asof
from narrows.settings import SourceSettings, load_settings
from narrows.source.files import Source, open_source
from stages.events import Events

COLUMNS = {"user_id": "who", "item_id": "what", "event_time": "at"}
ROWS = [
    {"who": "a", "what": "x", "at": "2024-01-01T10:00:00"},
    {"who": "b", "what": "y", "at": "2024-01-02T11:00:00"},
    {"who": "c", "what": "z", "at": "2024-01-03T12:00:00"},
]


def source(folder: Path, events: str, **given) -> Source:
    """The source of some files below ``folder``, with these settings beside."""
    given = {"name": "files", "event_columns": COLUMNS, **given}
    settings = SourceSettings(events=events, **given)
    return open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]


def named_source(folder: Path, name: str, more: str = "") -> Source:
    """The source that a ``narrows.toml`` in ``folder`` names, with more lines of its section."""
    (folder / "narrows.toml").write_text(f'[source]\nname = "{name}"\n{more}')
    return open_source(load_settings(folder / "narrows.toml", {}))


def ids(opened: Source, spark) -> list[tuple]:
    return sorted((r["user_id"], r["item_id"], r["event_time"]) for r in opened.events(spark).collect())


def typed_events(opened: Source, spark) -> list[dict]:
    """The events with their types, before any is judged, by user."""
    from stages.events.rows import typed

    return [
        row.asDict() for row in typed(opened.events(spark), opened.settings).drop("raw").orderBy("user_id").collect()
    ]


def cleaned(opened: Source, spark, folder: Path) -> list[dict]:
    """The events that the room publishes, by user."""
    output = Events(max_bad_share=1).transform(session=spark, source=opened, asof=Asof.parse("2100-01-01"))
    output.data.save(folder / "cleaned")
    return pq.read_table(folder / "cleaned").sort_by("user_id").to_pylist()


def written(path: Path, rows: list[dict] = ROWS) -> Path:
    """Rows in the format that the ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in path.name:
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".json" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, lambda data: data)
    path.write_bytes(pack(text.encode()))
    return path


EXPECTED = [("a", "x", ROWS[0]["at"]), ("b", "y", ROWS[1]["at"]), ("c", "z", ROWS[2]["at"])]
