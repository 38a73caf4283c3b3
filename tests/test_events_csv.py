"""events from CSV: rows that cannot be read, and quotes with line breaks, go to the quarantine whole or come through."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from narrows.settings import SourceSettings
from narrows.source.files import Source, SourceError, open_source
from stages.events import Events
from tests.test_events import ASOF, published, quarantined


def csv_source(folder: Path) -> Source:
    """The file ``e.csv`` of a folder, with our own column names."""
    settings = SourceSettings(name="files", events="e.csv")
    return open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]


def test_a_file_with_a_header_only_has_no_usable_event(spark, tmp_path):
    (tmp_path / "e.csv").write_text("user_id,item_id,event_time\n")
    source = csv_source(tmp_path)
    with pytest.raises(SourceError, match="no usable event"):
        Events().transform(session=spark, source=source, asof=ASOF)


def test_csv_rows_with_too_few_or_many_cells_are_quarantined_whole(spark, tmp_path):
    (tmp_path / "e.csv").write_text('user_id,item_id,event_time\na,"x, ""y""",5\nb,y\nc,z,6,extra\nd,z,7\n')
    source = csv_source(tmp_path)
    made = Events(max_bad_share=1.0).transform(session=spark, source=source, asof=ASOF)
    assert made.notes["quarantine"] == {"unreadable row": 2}
    assert {json.loads(raw)["_corrupt"] for _, raw in quarantined(made)} == {"b,y", "c,z,6,extra"}
    assert sorted(e["item_id"] for e in published(made, tmp_path)) == ['x, "y"', "z"]


@pytest.mark.parametrize(
    ("text", "users", "lost"),
    [
        ('"multi\nline",x,5\nb,"two ""\nlines""",6\n\nc,5" disc,7\nd\n', {"multi\nline", "b", "c"}, {"d"}),
        ('a,5" disc,5\nb,x,6\n', {"a", "b"}, set()),
        ('"a,x,5\nb,x,6\n\nc,"x",7\nd,8\n', {"b", "c"}, {'"a,x,5', "d,8"}),
        ('"a\nb",x,5\nc,x,6\n"d,x,7\n', {"c"}, {'"a', 'b",x,5', '"d,x,7'}),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_enclose_line_breaks_and_without_their_pair_are_quarantined(spark, tmp_path, end, text, users, lost):
    head = "user_id,item_id,event_time\n" if end == "\n" else '\ufeff"user_id","item_id","event_time"\n'
    (tmp_path / "e.csv").write_bytes((head + text).replace("\n", end).encode())
    source = csv_source(tmp_path)
    made = Events(max_bad_share=1.0).transform(session=spark, source=source, asof=ASOF)
    assert {event["user_id"] for event in published(made, tmp_path)} == users
    assert {json.loads(raw)["_corrupt"] for _, raw in quarantined(made)} == lost
    assert made.notes["quarantine"] == ({"unreadable row": len(lost)} if lost else {})


def test_line_breaks_in_quotes_and_rows_that_end_in_two_ways_are_not_joined(spark, tmp_path):
    (tmp_path / "e.csv").write_bytes(b'user_id,item_id,event_time\r\n"a\nb",x,5\nc,x,6\n')
    source = csv_source(tmp_path)
    made = Events(max_bad_share=1.0).transform(session=spark, source=source, asof=ASOF)
    assert [event["user_id"] for event in published(made, tmp_path)] == ["c"]
    assert {json.loads(raw)["_corrupt"] for _, raw in quarantined(made)} == {'"a', 'b",x,5'}
