"""What event types mean: settings, the kinds and weights of events, rows kept out, anonymous users, awkward sources."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from narrows.config.sections import SourceSettings
from narrows.settings import SettingsError, load_settings
from narrows.source.errors import SourceError
from narrows.source.files import open_source
from narrows.stage import Asof, Output
from stages.events import Events
from tests.source_files import written

ASOF = Asof.parse("2024-01-10")
KINDS = {"positive": {"purchase": 1.0, "list": 0.25}, "context": ["view"], "exposure": ["shown"], "undo": ["return"]}


def row(n: int, kind: str = "purchase", **given) -> dict:
    at = f"2024-01-05T12:{n // 60 % 60:02}:{n % 60:02}"
    return {"user_id": f"u{n}", "item_id": "x", "event_time": at, "event_type": kind, "session_id": f"s{n}", **given}


def made(spark, folder, rows: list[dict], asof: Asof = ASOF, **source) -> Output:
    names = dict.fromkeys(key for row in rows for key in row)
    written(folder / "e.jsonl", [{name: row.get(name) for name in names} for row in rows])
    settings = SourceSettings(
        **{"name": "files", "events": "e.jsonl", "event_columns": {n: n for n in names}, **source}
    )
    opened = open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]
    return Events(max_bad_share=1.0).transform(session=spark, source=opened, asof=asof)


def published(output: Output, folder) -> list[dict]:
    output.data.save(folder / "data")
    return pq.read_table(folder / "data").sort_by([("user_id", "ascending"), ("item_id", "ascending")]).to_pylist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('positive = ["buy"]\nundo = ["buy"]', r"\[source.kinds\] undo = \['buy'\]: 'buy' is in positive too"),
        ('positive = ["buy", "buy"]', r"\[source.kinds\] positive = .*'buy' is there twice"),
        ('context = ["view"]', r"\[source.kinds\] positive = \[\]: the other lists need one"),
        ("positive = {buy = 0.0}", r"\[source.kinds\] positive = .*give 'buy' a weight above 0"),
        ("positive = 1", r"\[source.kinds\] positive = 1 has the wrong type: give a list of event types, or a table"),
        ("positive = {buy = 'x'}", r"\[source.kinds\] positive = .*wrong type"),
        ('positives = ["buy"]', r"\[source.kinds\] 'positives' is not a known key. Did you mean 'positive'"),
        ('context = "view"', r"\[source.kinds\] context = 'view' has the wrong type: give a list"),
    ],
)
def test_wrong_kinds_are_refused_in_one_line(tmp_path, text, says):
    file = tmp_path / "narrows.toml"
    file.write_text(f"[source.kinds]\n{text}\n")
    with pytest.raises(SettingsError, match=says) as raised:
        load_settings(file, {})
    assert str(file) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_kinds_may_be_given_for_a_named_data_set_and_by_the_environment(tmp_path):
    file = tmp_path / "narrows.toml"
    file.write_text('[source]\nname = "movielens-100k"\nwhere = "value >= 4"\n')
    settings = load_settings(file, {"NARROWS_SOURCE__KINDS__POSITIVE": "{rating = 0.5}"})
    assert settings.source.where == "value >= 4"
    assert settings.source.kinds.weights == {"rating": 0.5}
    assert settings.source.event_columns, "the data set still describes its files"


def test_without_kinds_every_event_is_a_positive_of_weight_1(spark, tmp_path):
    output = made(spark, tmp_path, [row(1), row(2, "view"), row(3, "return")])
    assert {(e["kind"], e["weight"]) for e in published(output, tmp_path)} == {("positive", 1.0)}
    assert output.notes["kinds"] == {"positive": 3}
    assert not {"kept_out", "anonymous", "undo_without_positive"} & set(output.notes)


def test_every_event_has_the_kind_of_its_type(spark, tmp_path):
    rows = [
        row(1), row(2, "list"), row(3, "view"), row(4, "shown", position=2, propensity=0.5), row(5, "return"),
        row(6, "shown", position=1), row(1, "return"),
    ]  # fmt: skip
    output = made(spark, tmp_path, rows, kinds=KINDS)
    events = published(output, tmp_path)
    assert Counter(e["kind"] for e in events) == {"positive": 2, "context": 1, "exposure": 2, "undo": 2}
    assert output.notes["kinds"] == Counter(e["kind"] for e in events)
    assert output.notes["undo_without_positive"] == 1
    assert {e["event_type"]: e["weight"] for e in events} == {
        "purchase": 1.0, "list": 0.25, "view": None, "shown": None, "return": None,
    }  # fmt: skip
    assert [(e["position"], e["propensity"]) for e in events if e["kind"] == "exposure"] == [(2, 0.5), (1, None)]


def test_a_type_that_no_list_names_is_refused_with_its_count(spark, tmp_path):
    rows = [row(1), *(row(n, "wish") for n in range(2, 5)), row(6, "gift"), row(7, "later", event_time="2024-02-01")]
    with pytest.raises(
        SourceError, match=r"\[source.kinds\] names no kind of event_type 'wish' \(3 rows\), 'gift' \(1"
    ) as e:
        made(spark, tmp_path, rows, kinds=KINDS)
    assert "later" not in str(e.value), "what is not known yet is not yet refused"
    assert "where" in str(e.value)
    output = made(spark, tmp_path, rows, kinds=KINDS, where="event_type not in ('wish', 'gift', 'later')")
    assert (output.notes["events"], output.notes["kept_out"]) == (1, 5)


def test_without_a_positive_nothing_is_published(spark, tmp_path):
    with pytest.raises(
        SourceError, match=r"no positive up to 2024-01-10: of the event types purchase, list there is no"
    ):
        made(spark, tmp_path, [row(1, "view")], kinds=KINDS)


def test_where_keeps_rows_out_and_broken_rows_stay_broken(spark, tmp_path):
    rows = [row(1, value="5"), row(2, value="3"), row(3, value="many"), row(4), row(5, value="4", user_id=None)]
    output = made(spark, tmp_path, rows, where="value >= 4")
    assert [e["user_id"] for e in published(output, tmp_path)] == ["u1"]
    assert output.notes["kept_out"] == 2, "the 3, and the row that has no value"
    assert output.notes["quarantine"] == {"value or price is not a number": 1, "no user_id": 1}
    assert output.notes["received"] == 5
    output = made(spark, tmp_path, rows, where="user_id is not null")
    assert output.notes["quarantine"] == {"value or price is not a number": 1}, "what is kept out is not broken"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("rating >= 4", r"\[source\] where = 'rating >= 4': Spark says: .*rating.* It may use user_id, item_id"),
        ("value >=", r"where = 'value >=': Spark says: .*PARSE_SYNTAX_ERROR"),
        ("value + 1", r"where = 'value \+ 1' is double, not true or false"),
        ("raw is null", r"where = 'raw is null': Spark says"),
    ],
)
def test_a_wrong_where_is_one_line(spark, tmp_path, where, says):
    with pytest.raises(SourceError, match=says) as raised:
        made(spark, tmp_path, [row(1)], where=where)
    assert len(str(raised.value).splitlines()) == 1


def test_a_where_that_fails_on_a_row_says_so(spark, tmp_path):
    with pytest.raises(SourceError, match="column map, or where, fails on a row"):
        made(spark, tmp_path, [row(1)], where="cast(item_id as int) > 3")


def test_rows_without_a_user_are_of_their_session(spark, tmp_path):
    rows = [row(1), row(2, user_id=None), row(3, user_id=None, session_id="s2"), row(4, user_id=None, session_id=None)]
    output = made(spark, tmp_path, rows, anonymous=True)
    assert [e["user_id"] for e in published(output, tmp_path)] == ["anonymous:s2", "anonymous:s2", "u1"]
    assert output.notes["anonymous"] == 2
    assert output.notes["quarantine"] == {"no user_id": 1}
    with pytest.raises(SourceError, match="anonymous = true needs session_id in event_columns"):
        made(spark, tmp_path, [{k: v for k, v in row(1).items() if k != "session_id"}], anonymous=True)


def test_positions_and_propensities_out_of_range_are_broken(spark, tmp_path):
    good = [row(1, "shown", position=0, propensity=1.0), row(2, "shown"), row(9)]
    bad = [
        row(3, "shown", position=-1), row(4, "shown", position=1.5), row(5, "shown", propensity=0),
        row(6, "shown", propensity=1.2), row(7, "shown", position="first"), row(8, "shown", propensity="nan"),
    ]  # fmt: skip
    output = made(spark, tmp_path, good + bad, kinds=KINDS)
    assert output.notes["events"] == 3
    assert output.notes["quarantine"] == {"position or propensity is out of range": 6}


def test_awkward_sources_come_out_right(spark, tmp_path):
    """All events of one instant, one user with half of them, one item with half of them, ids of 10 kB, 3 users in all."""
    long = "ü" * 5000
    rows = [row(0, user_id=u, item_id=i) for u in ("a", "b", long) for i in ("x", "y", long)]
    rows += [row(0, user_id="a", item_id=f"i{n}") for n in range(9)] + [row(0, "return", user_id="a", item_id=long)]
    output = made(spark, tmp_path, rows, kinds=KINDS)
    events = published(output, tmp_path)
    assert len(events) == len(rows) == output.notes["events"]
    assert output.notes["undo_without_positive"] == 0, "of one instant the positive comes first"
    assert {e["user_id"] for e in events} == {"a", "b", long}
