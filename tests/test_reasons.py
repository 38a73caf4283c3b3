"""Every reason that a list or a removed row gives has a meaning, and the serving database holds it."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow.compute as pc
import pytest
import sqlalchemy as sa

from narrows import reasons
from narrows.reasons import Reasons, ReasonsError, of_room, of_rooms
from narrows.serving import reading, schema
from stages import PIPELINE
from stages.recall.channels import CHANNELS
from stages.rerank import reasons as codes
from tests.fixtures import Line


def test_every_published_reason_is_listed_and_explained_in_the_database(line: Line):
    published = set(pc.unique(line.table("recommendations").arrow(["reason"])["reason"]).to_pylist())
    assert len(published) > 2
    listed = of_rooms(PIPELINE).kept | schema.FALLBACK
    assert published <= set(listed)
    engine = schema.open_published(line.runner.settings.serving_url)
    with engine.connect() as connection:
        assert dict(connection.execute(sa.select(schema.reason)).tuples().all()) == listed
    rows = [*reading.current(engine, "h1", n=40), *reading.current(engine, "nobody", n=5)]
    assert "fallback" in {row["reason"] for row in rows}
    assert all(row["reason_text"] == listed[row["reason"]] for row in rows)
    engine.dispose()


def test_every_reason_of_a_removed_row_has_a_meaning(line: Line):
    meanings = of_rooms(PIPELINE)
    for room in line.runner.pipeline.narrowing:
        rows = line.table(room).arrow(["reason"], ~pc.field("kept"))
        for reason in pc.unique(rows["reason"]).to_pylist():
            assert meanings.meaning(reason), f"{room}: {reason}"


def test_the_codes_of_the_code_are_listed():
    listed = of_rooms(PIPELINE)
    assert {*codes.KEPT, codes.NOT_RANKED, *(kind.reason for kind in CHANNELS.values())} == set(listed.kept)
    assert {*codes.REMOVED, "quota", "not_eligible", "prerank_cut"} == set(listed.removed)


def test_a_code_is_looked_up_with_its_details_and_matches_whole():
    listed = Reasons({"pinned": "p"}, {"policy:cap": "its category had filled its places"})
    assert listed.meaning("policy:cap:DAIRY:x") == "its category had filled its places"
    assert listed.meaning("policy:caps") == listed.meaning("policy") == listed.meaning(None) == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kept: {a: ''}", "`kept` must give each code a text"),
        ("removed: [a]", "`removed` must give each code a text"),
        ("shown: {a: b}", "the keys must be of kept, removed, registered"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_names_itself(text, says, tmp_path, monkeypatch):
    file = tmp_path / "mine.reasons.yml"
    monkeypatch.setattr(reasons, "reasons_file", lambda room: file)
    assert of_room(SimpleNamespace) == Reasons()
    file.write_text(text)
    with pytest.raises(ReasonsError, match=says) as caught:
        of_room(SimpleNamespace)
    assert str(file) in str(caught.value)
