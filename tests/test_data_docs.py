"""The data docs load nothing from elsewhere, and their index lists the audits."""

import json
import os

import pyarrow as pa
import pytest

from narrows.audit.contract import audit, contract
from narrows.audit.site import LOADED, complete, complete_older
from stages.rerank import Rerank

PAGE = """<html><head>
<link rel="stylesheet" href="https://cdn.example/bootstrap.min.css"/>
<script src="https://cdn.example/jquery.js" integrity="x" crossorigin="anonymous"></script>
<link rel="shortcut icon" href="../static/images/favicon.ico"/>
<style>.navbar a { background: url('https://assets.example/dark.png') 0 0 no-repeat; }</style>
</head><body><img class="NO-CACHE" src="https://assets.example/logo.png?id=42" alt="GX"/>
<script>$("#x").fadeOut()
</script><a href="https://greatexpectations.io">about</a><td>kept</td></body></html>"""


def result(docs, name, version, success, minute):
    """What Great Expectations keeps of an audit."""
    file = docs / "results" / name / version / "20171130T130000.000000Z" / f"{name}.json"
    file.parent.mkdir(parents=True)
    meta = {
        "batch_markers": {"ge_load_time": f"20261124T18{minute:02}00.000000Z"},
        "run_id": {"run_name": version, "run_time": "2017-11-30T13:00:00+00:00"},
    }
    counts = {"successful_expectations": 7 + success, "evaluated_expectations": 8}
    file.write_text(json.dumps({"suite_name": name, "success": success, "statistics": counts, "meta": meta}))
    os.utime(file, (minute, minute))
    return file


@pytest.fixture
def docs(tmp_path):
    """A site with a page of an audit as it was written."""
    page = tmp_path / "validations" / "recall" / "v1" / "now" / "recall.html"
    page.parent.mkdir(parents=True)
    page.write_text(PAGE)
    logo = tmp_path / "static" / "images" / "logo-long.png"
    logo.parent.mkdir(parents=True)
    logo.touch()
    return tmp_path, page


def test_a_page_loads_and_runs_nothing_and_says_what_it_said(docs):
    folder, page = docs
    assert LOADED.search(PAGE)
    complete(folder, page)
    text = page.read_text()
    assert not LOADED.search(text)
    assert "<script" not in text
    assert 'src="../../../../static/images/logo-long.png"' in text
    assert '<a href="https://greatexpectations.io">about</a><td>kept</td>' in text
    assert text.count("<style>") == 2


def test_the_index_lists_audits_the_latest_first(docs):
    folder, _ = docs
    result(folder, "recall", "v1", True, 10)
    events = result(folder, "events", "v2", False, 20)
    page = folder / "validations" / events.relative_to(folder / "results").with_suffix(".html")
    page.parent.mkdir(parents=True)
    page.touch()
    complete(folder, folder / "validations" / "recall" / "missing.html")
    text = (folder / "index.html").read_text()
    assert not LOADED.search(text)
    events, recall = (line for line in text.splitlines() if line.startswith("<tr><td>"))
    assert 'href="validations/events/v2/20171130T130000.000000Z/events.html">events<' in events
    assert all(part in events for part in (">broken<", ">7 of 8<", ">2017-11-30T13:00<", ">2026-11-24 18:20:00<"))
    assert "href" not in recall, "it has no page"
    assert all(part in recall for part in (">held<", ">8 of 8<", ">v1<"))


def test_pages_of_an_earlier_version_are_completed_once(docs):
    folder, page = docs
    complete_older(folder)
    assert page.read_text() == PAGE, "without an index there is no site"
    (folder / "index.html").write_text(PAGE)
    complete_older(folder)
    assert not LOADED.search(page.read_text() + (folder / "index.html").read_text())
    before = page.stat().st_mtime_ns
    complete_older(folder)
    assert page.stat().st_mtime_ns == before


def test_what_great_expectations_writes_loads_nothing(tmp_path):
    """Of the installed version: whatever it writes next, a page must not ask another host."""
    audit("rerank", pa.table({"user_id": ["u"]}), tmp_path, "v1", "2017-11-30", contract(Rerank))
    pages = list(tmp_path.rglob("*.html"))
    assert {page.name for page in pages} == {"index.html", "rerank.html"}
    assert [page for page in pages if LOADED.search(page.read_text())] == []
    assert ">broken<" in (tmp_path / "index.html").read_text()
