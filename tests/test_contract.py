"""Contracts: every room has one, a broken one is caught and said, both engines agree, one site shows all."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from narrows.audit.contract import BrokenContract, Contract, ContractError, audit, contract, named, read
from stages import PIPELINE

ROOMS = [room.name for room in PIPELINE]
TERMS = {room.name: contract(room) for room in PIPELINE}
ASOF = "2017-11-30"
CANDIDATE = {"user_id": "u", "item_id": "a", "kept": True, "reason": None}
REMOVED = {"user_id": "u", "item_id": "b", "kept": False, "reason": "cut"}
PROFILE = {
    "history_item": ["a"], "history_count": [2], "history_last_days": [0.5], "history_first_days": [9.0],
    "history_decayed_16x": [1.1], "sequence_item": ["a", "a"], "sequence_days": [9.0, 0.5],
    "viewed_item": ["b"], "viewed_count": [1], "viewed_last_days": [0.2],
}  # fmt: skip
NOTHING = {name: [] for name in PROFILE}

GOOD = {
    "events": [
        {
            "user_id": "u", "item_id": item, "event_time": datetime(2017, 11, 30, tzinfo=UTC),
            "ingested_at": datetime(2017, 11, 30, tzinfo=UTC), "event_type": "purchase", "value": value,
            "session_id": None, "kind": "positive", "weight": 1.0, "position": None, "propensity": None,
        }
        for item, value in (("a", 1.0), ("b", None))
    ],
    "user_profiles": [
        {"user_id": "u", "days_since_last_event": 0.5, "days_since_first_event": 9.0, "events_1x": 1,
         "events_4x": 2, "events_16x": 2, **PROFILE},
        {"user_id": "new", "days_since_last_event": None, "days_since_first_event": None, "events_1x": 0,
         "events_4x": 0, "events_16x": 0, **NOTHING},
    ],
    "item_profiles": [
        {"item_id": "a", "days_since_last_event": 0.5, "days_since_first_event": 9.0, "users_1x": 1,
         "users_4x": 1, "users_16x": 1, "users_64x": 2, "events_4x": 3, "repeat_share": 1.0,
         "mean_gap_days": None, "category": None, "viewers": 1, "viewers_long": 2, "days_since_last_view": None,
         "days_since_available": 3.0, "expected_demand": 0.1},
        {"item_id": "new", "days_since_last_event": None, "days_since_first_event": None, "users_1x": 0,
         "users_4x": 0, "users_16x": 0, "users_64x": 0, "events_4x": 0, "repeat_share": None,
         "mean_gap_days": None, "category": None, "viewers": 1, "viewers_long": 2, "days_since_last_view": None,
         "days_since_available": None, "expected_demand": 0.0},
    ],
    "examples": [
        {"user_id": "u", "item_id": item, "asof": ASOF, "label": label, "stage_reached": "rank",
         "weight": weight, "label_weight": 1.0}
        for item, label, weight in (("a", 1, 1.0), ("b", 0, 12.5))
    ],
    "recall": [
        {**CANDIDATE, "recall_score": 2.0, "recall_rank": 1},
        {**REMOVED, "recall_score": 1.0, "recall_rank": None},
    ],
    "prerank": [{**CANDIDATE, "prerank_score": -3.0, "prerank_rank": 1}],
    "rank": [{**CANDIDATE, "rank_score": 0.1, "rank_rank": 1}],
    "rerank": [
        {**CANDIDATE, "rank": 1, "score": 0.1, "propensity": 1.0, "reason": "bought before"},
        {**REMOVED, "rank": None, "score": 0.1, "propensity": 0.0},
    ],
    "recommendations": [
        {"scene": "home", "user_id": "u", "item_id": "a", "rank": 1, "score": 0.1, "propensity": 0.9,
         "reason": "popular", "expires_at": datetime(2017, 12, 9, tzinfo=UTC)}
    ],
    "evaluation": [
        {"population": "all", "kind": "stage", "list": name, "metric": "recall", "k": 20, "detail": "",
         "value": value, "low": low, "high": high, "users": 7}
        for name, value, low, high in (("rank", 0.3, 0.2, 0.4), ("rerank", None, None, None))
    ],
}  # fmt: skip
"""A small sound table of every room: with nulls where nulls are normal."""

BROKEN = [
    ("events", {"item_id": "a"}, "unique"),
    ("events", {"event_type": None}, "event_type"),
    ("events", {"kind": "gift"}, "kind"),
    ("events", {"weight": 0.0}, "weight"),
    ("events", {"propensity": 1.1}, "propensity"),
    ("user_profiles", {"user_id": "u"}, "unique"),
    ("user_profiles", {"days_since_last_event": -0.1}, "days_since_last_event"),
    ("user_profiles", {"history_count": [1, 1]}, "length(history_count)"),
    ("user_profiles", {"history_item": ["a"], "history_count": [1], "history_last_days": [-1.0]}, "min(history_last"),
    ("item_profiles", {"repeat_share": 1.2}, "repeat_share"),
    ("item_profiles", {"days_since_available": -1.0}, "days_since_available"),
    ("item_profiles", {"expected_demand": -0.1}, "expected_demand"),
    ("item_profiles", {"users_1x": 5}, "users_4x"),
    ("examples", {"label": 2}, "label"),
    ("examples", {"weight": 0.5}, "weight"),
    ("recall", {"reason": None}, "reason"),
    ("recall", {"recall_rank": 0}, "recall_rank"),
    ("prerank", {"prerank_score": float("nan")}, "prerank_score"),
    ("rank", {"rank_score": 1.1}, "rank_score"),
    ("rerank", {"rank": 21}, "max_value=20"),
    ("rerank", {"rank": 1}, "unique"),
    ("rerank", {"rank": 2}, "propensity"),
    ("recommendations", {"propensity": 0.0}, "propensity"),
    ("recommendations", {"expires_at": None}, "expires_at"),
    ("evaluation", {"low": 0.5, "high": 0.4}, "high"),
]


def table(rows: list[dict]) -> pa.Table:
    """Rows as Arrow; lists of nothing take the type of lists of something."""
    return pa.Table.from_pylist(rows).replace_schema_metadata(None)


def judge(room: str, rows: list[dict], docs: Path, **given):
    given = {"terms": TERMS[room], "settings": {"n": 20}} | given
    return audit(room, table(rows), docs, "v1", ASOF, **given)


@pytest.fixture(scope="module")
def docs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("state") / "data_docs"


def test_every_room_states_its_grain():
    for terms in TERMS.values():
        assert terms.grain.startswith("one row per ")
        assert set(named(dict(terms.expectations)))  # names columns


@pytest.mark.parametrize("room", ROOMS)
def test_a_sound_table_passes(room, docs):
    found = judge(room, GOOD[room], docs).require()
    assert found.success
    assert found.checked == len(TERMS[room].over(table(GOOD[room]).column_names, {"n": 20}).expectations)


@pytest.mark.parametrize(("room", "change", "told"), BROKEN)
def test_a_broken_row_is_found_and_named(room, change, told, docs):
    found = judge(room, [*GOOD[room][:-1], {**GOOD[room][-1], **change}], docs)
    assert not found.success
    assert any(told in line for line in found.failed), found.failed


def test_an_empty_table_is_broken(docs):
    for room in ROOMS:
        empty = table(GOOD[room]).slice(0, 0)
        assert any("row_count" in line for line in audit(room, empty, docs, "v1", ASOF, TERMS[room]).failed)


def test_a_missing_column_is_named(docs):
    found = judge("rank", [{"user_id": "u", "item_id": "a"}], docs)
    assert any('"rank_score"' in line and "does not exist" in line for line in found.failed)


def test_the_message_says_what_where_and_the_remedy(docs):
    found = judge("rank", [{**CANDIDATE, "rank_score": 7.0, "rank_rank": 1}], docs)
    with pytest.raises(BrokenContract) as caught:
        found.require()
    text = str(caught.value)
    assert "rank v1 breaks 1 of the 10" in text
    assert "observed 7.0" in text
    assert found.page in text
    assert "stages/rank/contract.yml" in text
    assert "Nothing was published" in text
    assert '"checked": 10' in found.to_json()


def test_the_length_of_a_list_is_the_rooms_setting(docs):
    long = {**GOOD["rerank"][0], "rank": 30}
    assert not judge("rerank", [long], docs).success
    assert judge("rerank", [long], docs, settings={"n": 30}).success
    assert judge("rerank", [long], docs, settings=None).success
    with pytest.raises(ContractError, match="'n', no setting of the room"):
        judge("rerank", [long], docs, settings={"m": 30})


def test_a_dataset_reads_only_the_columns_the_contract_names(tmp_path, docs):
    rows = table(GOOD["rank"]).append_column("day", pa.array(["2017-11-30"]))
    pq.write_to_dataset(rows, tmp_path / "data", partition_cols=["day"])
    assert audit("rank", ds.dataset(tmp_path / "data", partitioning="hive"), docs, "v1", ASOF, TERMS["rank"]).success
    assert "day" not in TERMS["rank"].columns()


def test_spark_finds_what_arrow_finds(docs, tmp_path):
    from narrows.engine.spark import spark_session

    wanted = Contract(
        tmp_path / "contract.yml",
        "one row per user",
        (
            ("expect_compound_columns_to_be_unique", {"column_list": ["user_id", "item_id"]}),
            ("expect_column_values_to_be_between", {"column": "min(days)", "min_value": 0}),
            (
                "expect_column_pair_values_to_be_equal",
                {"column_A": "length(items)", "column_B": "length(days)"},
            ),
            ("expect_column_values_to_not_be_null", {"column": "gone"}),
        ),
    )
    rows = table(
        [
            {"user_id": "u", "item_id": "a", "items": ["x", "y"], "days": [1.0, -2.0]},
            {"user_id": "u", "item_id": "a", "items": ["x"], "days": [1.0]},
            {"user_id": "v", "item_id": "b", "items": ["x"], "days": [1.0, 2.0]},
            {"user_id": "v", "item_id": "a", "items": None, "days": None},
            {"user_id": "w", "item_id": "a", "items": [], "days": []},
        ]
    )
    pq.write_table(rows, tmp_path / "rows.parquet")
    frame = spark_session().read.parquet(str(tmp_path / "rows.parquet"))
    arrow = audit("rank", rows, docs, "arrow", ASOF, terms=wanted)
    spark = audit("rank", frame, docs, "spark", ASOF, terms=wanted)

    def counts(lines):
        return [line.split("; for example")[0] for line in lines]

    assert len(arrow.failed) == 4
    assert counts(spark.failed) == counts(arrow.failed)


def test_every_audit_has_its_page_in_one_site(docs):
    judge("rank", GOOD["rank"], docs)
    again = judge("rank", GOOD["rank"], docs)
    page = Path(again.page)
    assert page.is_relative_to(docs)
    assert "one row per user and item that pre-rank kept" in page.read_text()
    assert len(list((docs / "validations" / "rank" / "v1").rglob("*.html"))) == 1
    index = (docs / "index.html").read_text()
    assert str(page.relative_to(docs)) in index
    assert "validations/recall/v1" in index
    old = audit("rank", table(GOOD["rank"]), docs, "hour", "2017-11-29T13", TERMS["rank"])
    assert "20171129T130000" in old.page
    assert Path(old.page).exists()


def test_rooms_in_processes_of_their_own_share_the_site(tmp_path):
    """By `python -c`, too: left alone, pyspark ends such a process when it is imported, with exit code 0."""
    pq.write_table(table(GOOD["prerank"]), tmp_path / "draft.parquet")
    code = (
        "import sys, pathlib, pyarrow.parquet as pq; from narrows.audit.contract import audit, contract; from stages.prerank import Prerank\n"
        "draft, docs = sys.argv[1:]\n"
        "print(audit('prerank', pq.read_table(draft), pathlib.Path(docs), 'v1', '2017-11-30', contract(Prerank)).success)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "draft.parquet"), str(tmp_path / "docs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        judge("rank", GOOD["rank"], tmp_path / "docs")
        assert other.communicate()[0] == "True\n"
    index = (tmp_path / "docs" / "index.html").read_text()
    assert all(f"validations/{room}/v1" in index for room in ("prerank", "rank"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grain: [", "not YAML"),
        ("expectations: []", "exactly `grain` and `expectations`"),
        ("grain: ''\nexpectations: []", "one sentence"),
        ("grain: one row\nexpectations: []", "at least one"),
        ("grain: one row\nexpectations: [expect_x]", "expectation 1 must read"),
    ],
)
def test_an_unreadable_contract_is_one_clear_line(tmp_path, text, told):
    path = tmp_path / "contract.yml"
    path.write_text(text)
    with pytest.raises(ContractError, match=told) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_contract_is_one_clear_line(tmp_path):
    with pytest.raises(ContractError, match="missing"):
        read(tmp_path / "contract.yml")


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        (("expect_column_values_to_be_nul", {"column": "a"}), "meant expect_column_values_to_be_null"),
        (("expect_column_values_to_be_null", {"colum": "a"}), "colum: extra fields not permitted"),
        (("expect_column_values_to_be_null", {}), "column: field required"),
        (("expect_column_values_to_be_null", {"column": "a", "mostly": 7}), "mostly"),
        (("expect_column_values_to_be_null", {"column": "a", "row_condition": {"type": "x"}}), "x"),
    ],
)
def test_an_unknown_name_or_argument_is_one_clear_line(tmp_path, docs, expectation, told):
    terms = Contract(tmp_path / "contract.yml", "one row", (expectation,))
    with pytest.raises(ContractError) as caught:
        judge("rank", [{"a": 1}], docs, terms=terms)
    text = str(caught.value)
    assert told in text
    assert f"{tmp_path / 'contract.yml'}: expectation 1, {expectation[0]}" in text
    assert "\n" not in text


def test_optional_expectations_leave_with_their_columns(tmp_path, docs):
    kind = "expect_column_min_to_be_between"
    optional = (kind, {"column": "own_rank", "min_value": 1, "meta": {"optional": True}})
    terms = Contract(tmp_path / "contract.yml", "one row", (optional,))
    assert judge("rank", [{"a": 1}], docs, terms=terms).checked == 0
    assert not judge("rank", [{"own_rank": 0}], docs, terms=terms).success
