"""Runs side by side: what ``narrows compare`` says of two designs of the small world."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from narrows.cli.compare.judged import Judged, Side, differences, judge, overlap
from narrows.cli.compare.page import page
from narrows.cli.compare.runs import comparison, find
from narrows.cli.compare.text import text
from narrows.cli.layout import WIDTH
from narrows.cli.main import main
from narrows.cli.report import record
from narrows.settings import load_settings
from narrows.stage import Recent
from narrows.store.partitions import StoreError, open_store
from narrows.store.write import write_table
from stages.evaluation import read
from stages.evaluation.assess import assess
from tests import world


@pytest.fixture(scope="module")
def two(line, tmp_path_factory) -> Path:
    """The folder of the small world with two records: the run, and one whose published lists are turned upside down."""
    root = tmp_path_factory.mktemp("two designs") / "world"
    shutil.copytree(line.file.parent, root)
    settings = load_settings(root / "narrows.toml", {})
    record.write(settings, line.runner.run_id or "first", world.ASOF, "abc")
    shutil.copytree(settings.state, root / "copy")
    side = find(settings.state, "1")
    lists = side.table("recommendations").arrow()
    turned = lists.set_column(lists.schema.get_field_index("rank"), "rank", upside_down(lists))
    again(settings, side.table("recommendations"), turned)
    again(settings, side.table("evaluation"), judged_again(settings, side))
    second = record.write(settings, "second", world.ASOF, "abc")
    second["settings"]["rerank"]["diversity"] = 0.9
    record.amend(
        settings.state,
        second,
        name=f"{world.ASOF} rerank.diversity=0.9",
        design={**second["design"], "rerank.diversity": 0.9},
    )
    return root


def upside_down(lists: pa.Table) -> pa.Array:
    """The places of lists of 20 from the bottom: the same items, so the same recall and another NDCG."""
    longest = pc.max(lists["rank"])
    return pc.add(pc.subtract(longest, lists["rank"]), 1).cast(lists["rank"].type)


def judged_again(settings, side) -> pa.Table:
    """What the evaluation room says of the current lists."""
    room, store = settings.rooms["evaluation"], open_store(settings)
    end = side.asof + settings.source.horizon_length
    events = store.current("events", end)
    tables = [side.table("user_profiles"), Recent({side.asof: side.table("item_profiles")})]
    flow = {name: side.table(name) for name in side.record["facts"]["narrowing"]}
    published = store.current("recommendations", side.asof)
    return assess(read.run(room, published, flow, *tables, events.truth(side.asof), end), room.calibration_bins).data


def again(settings, table, rows: pa.Table) -> None:
    """Publish rows as another version of a table, made by a second run."""
    store, version = open_store(settings), table.version[::-1].ljust(64, "0")
    draft = store.draft(table.name, table.asof, version)
    write_table(rows, draft / "data")
    meta = {**table.meta, "fingerprint": version, "run_id": "second", "rows": rows.num_rows}
    store.publish(table.name, table.asof, draft, meta)


@pytest.fixture(scope="module")
def facts(two) -> dict:
    state = load_settings(two / "narrows.toml", {}).state
    return comparison([find(state, "1"), find(state, "2")])


def value(facts, run, name="published", metric="ndcg") -> dict:
    return next(row for row in facts["quality"] if (row["run"], row["list"], row["metric"]) == (run, name, metric))


def test_the_values_are_those_of_the_reports(facts, two):
    state = load_settings(two / "narrows.toml", {}).state
    for run, number in (("A", "1"), ("B", "2")):
        (published,) = [each for each in record.read(state, number)["facts"]["lists"] if each["kind"] == "published"]
        for metric in ("ndcg", "recall"):
            assert value(facts, run, metric=metric)["value"] == pytest.approx(published[metric]["value"])
    assert value(facts, "A")["difference"] is None
    told = value(facts, "B")["difference"]
    assert told["paired"]
    assert told["value"] == pytest.approx(value(facts, "B")["value"] - value(facts, "A")["value"])
    assert told["low"] <= told["value"] <= told["high"]
    assert told["high"] < 0  # the best item is last
    assert value(facts, "B", metric="recall")["difference"]["value"] == 0  # the same items
    before = value(facts, "B", "rank")["difference"]
    assert (before["value"], before["low"], before["high"]) == (0, 0, 0)  # rank is the same version


def test_only_what_differs_is_listed(facts):
    assert facts["settings"] == [{"name": "rerank.diversity", "values": [0.005, 0.9]}]
    shared = {row["stage"] for row in facts["cost"] if row["shared"]}
    assert shared >= {"events", "recall", "prerank", "rank", "rerank"}
    assert not shared & {"recommendations", "evaluation", "all"}
    rank = [row for row in facts["survival"] if row["stage"] == "rank"]
    assert [row["difference"] for row in rank] == [None, 0]
    assert next(row for row in facts["cost"] if row["stage"] == "all" and row["run"] == "A")["seconds"] > 0


def test_the_overlap_is_counted_over_lists(two):
    state = load_settings(two / "narrows.toml", {}).state
    a, b = find(state, "1"), find(state, "2")
    assert overlap(a, a, 20, "home") == {"users": pytest.approx(80, abs=2), "common": 1, "identical": 1}
    lists = [{user: [row["item_id"] for row in rows] for user, rows in by_user(side).items()} for side in (a, b)]
    shares = [len({*lists[0][user]} & {*lists[1][user]}) / 20 for user in lists[0]]
    found = overlap(a, b, 20, "home")
    assert found["common"] == pytest.approx(np.mean(shares))
    assert found["identical"] == pytest.approx(np.mean([lists[0][user] == lists[1][user] for user in lists[0]]))
    assert (found["common"], found["identical"]) == (1, 0)
    popular = overlap(a, b, 5, "home")  # the five first are five of the last now
    assert popular["common"] == 0


def by_user(side) -> dict[str, list[dict]]:
    rows = sorted(side.table("recommendations").arrow().to_pylist(), key=lambda row: (row["user_id"], row["rank"]))
    return {user: [row for row in rows if row["user_id"] == user] for user in {row["user_id"] for row in rows}}


def test_other_users_are_compared_unpaired(two):
    side = find(load_settings(two / "narrows.toml", {}).state, "1")
    judged = judge(side, side.settings)
    fewer = Judged(judged.users[1:], judged.positives[1:], {key: each[1:] for key, each in judged.values.items()})
    told = differences(judged, fewer, side.settings)["published", "ndcg"]
    assert not told["paired"]
    assert told["low"] < told["value"] < told["high"]
    assert told["high"] - told["low"] > 0.01  # paired, it would be nearly nothing


def test_the_text_fits_and_names_what_differs(facts):
    lines = text(facts).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "rerank.diversity: A 0.005 · B 0.9" in lines
    assert any(re.match(r" +B +\.\d{4}  [+-]\.\d{4} \[", line) for line in lines)
    assert any("differences are paired" in line for line in lines)


def test_another_state_folder_by_its_path(two):
    state = load_settings(two / "narrows.toml", {}).state
    for which in (str(two / "copy"), f"{two / 'copy'}:1"):
        assert find(state, which).state == two / "copy"
        assert find(state, which).record["number"] == 1
    facts = comparison([find(state, "2"), find(state, str(two / "copy"))])
    assert {run["state"] for run in facts["runs"]} == {str(state), str(two / "copy")}
    with pytest.raises(StoreError, match="no state folder"):
        find(state, str(two / "nowhere"))
    with pytest.raises(StoreError, match="no run '9'"):
        find(state, f"{two / 'copy'}:9")


def test_a_run_that_waits_has_no_quality_and_the_rest(two):
    state = load_settings(two / "narrows.toml", {}).state
    a, b = find(state, "1"), find(state, "2")
    waits = Side(state, {**b.record, "facts": {**b.record["facts"], "users": None}})
    facts = comparison([a, waits])
    assert {row["run"] for row in facts["quality"]} == {"A"}
    assert facts["notes"] == ["B: no quality to compare: run B is not judged yet"]
    assert facts["cost"]
    assert text(facts)
    assert page(facts)


def test_a_version_that_is_gone_is_named(two, tmp_path):
    shutil.copytree(two / "copy", tmp_path / "var")
    side = find(tmp_path / "var", "1")
    shutil.rmtree(tmp_path / "var" / "tables" / "rank")
    with pytest.raises(StoreError, match=r"of rank as of 2024-04-07 is gone.*Run its design again"):
        judge(side, side.settings)


class Reader(HTMLParser):
    """Collects tags with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else(facts):
    facts = facts | {"notes": ["<b>a note</b>"]}
    html = page(facts)
    reader = Reader()
    reader.feed(html)
    names = [tag for tag, _ in reader.tags]
    assert names.count("caption") == names.count("table") >= 5
    assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")
    assert not {"script", "link", "img", "b"} & set(names)
    assert "://" not in html
    assert "prefers-color-scheme: dark" in html


def test_the_command(two, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(two)
    assert main(["compare", "1", "2", "--json"]) == 0
    assert [run["number"] for run in json.loads(capsys.readouterr().out)["runs"]] == [1, 2]
    assert main(["compare", "1", "2", "--html", str(tmp_path / "page.html")]) == 0
    assert "<table>" in (tmp_path / "page.html").read_text()
    capsys.readouterr()
    assert main(["compare", "1"]) == 2
    assert "two runs or more" in capsys.readouterr().err
