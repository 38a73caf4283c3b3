"""The data docs: pages that work without a network, named so that a person finds them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from narrows.audit import site
from narrows.audit.contract import Contract, audit
from tests.browser import browser
from tests.pages import check

TERMS = Contract(
    Path("contract.yml"),
    "one row per user",
    (
        ("expect_column_values_to_not_be_null", {"column": "user_id"}),
        ("expect_column_values_to_be_between", {"column": "score", "min_value": 0}),
        ("expect_column_values_to_be_in_set", {"column": "kind", "value_set": ["a", "b"]}),
    ),
)


def judged(docs: Path, version: str, asof: str, kind: str = "a", name: str = "lists"):
    rows = pa.table({"user_id": ["u", "v"], "score": [1.0, 2.0], "kind": ["a", kind]})
    return audit(name, rows, docs, version, asof, TERMS)


@pytest.fixture(scope="module")
def docs(tmp_path_factory) -> Path:
    docs = tmp_path_factory.mktemp("state") / "data_docs"
    judged(docs, "v1", "2017-11-30")
    judged(docs, "v2", "2017-12-01", "<script>alert(1)</script>")
    judged(docs, "v3", "2017-11-29T13")
    judged(docs, "v1", "2017-11-30")
    judged(docs, "v4", "2017-11-30", name="others")
    return docs


def test_a_page_says_in_words_what_must_hold_and_what_was_found(docs):
    tree = check((docs / site.page_of("lists", "v2", "2017-12-01")).read_text())
    assert [tree.texts[at] for at, _ in tree.all("h1")] == ["lists as of 2017-12-01"]
    assert [tree.texts[at] for at, _ in tree.all("h2")] == ["Broken", "Held"]
    cells = [tree.texts.get(at, "") for kind in ("th", "td") for at, _ in tree.all(kind)]
    assert "user_id values must never be null." in cells
    assert "kind values must belong to this set: a b." in cells
    assert "1 of 2 rows unexpected; for example '<script>alert(1)</script>'" in cells
    assert "Failed: 1 of 3 checks are broken" in tree.texts[0]
    assert "one row per user" in tree.texts[0]


def test_the_index_lists_every_audit_by_table_newest_first(docs):
    tree = check((docs / "index.html").read_text())
    assert [tree.texts[at] for at, _ in tree.all("h2")] == ["Failed", "lists", "others"]
    links = {given["href"]: tree.texts[at] for at, given in tree.all("a") if "/" in given["href"]}
    assert list(links.values()) == [
        "lists as of 2017-12-01", "lists as of 2017-11-30", "lists as of 2017-11-29T13", "others as of 2017-11-30",
    ]  # fmt: skip
    assert all((docs / link).exists() for link in links)
    words = [tree.texts[at] for at, _ in tree.all("span")]
    assert (words.count("passed"), words.count("failed")) == (3, 2)  # the failed one stands above, too
    assert {given["href"] for _, given in tree.all("a")} >= {"#table-lists", "#table-others"}


def test_the_pages_of_an_earlier_version_are_written_anew_and_listed(docs, tmp_path):
    old = tmp_path / "data_docs"
    shutil.copytree(docs, old)
    (old / site.LINES).unlink()
    for folder in ("static", "expectations"):
        (old / folder).mkdir()
    hour = old / site.page_of("lists", "v3", "2017-11-29T13")
    for page in old.rglob("*.html"):
        page.write_text("<script src='https://example.org/bootstrap.js'></script>")
    damaged = next((old / "results" / "others").rglob("*.json"))
    damaged.write_text("{")
    judged(old, "v5", "2017-12-02")
    assert len(site.audits(old)) == 4
    assert "lists as of 2017-11-29T13" in hour.read_text()
    assert not any("https://" in page.read_text() for page in (old / "validations" / "lists").rglob("*.html"))
    assert not (old / "static").exists()


def test_the_index_of_many_audits_is_short_and_says_so():
    line = {"table": "lists", "asof": "2017-11-30", "checked": 3, "failed": 0}
    text = site.index_page([line | {"version": f"{at}", "page": f"{at}.html"} for at in range(150)])
    assert text.count("<tr>") == site.INDEX_LENGTH + 1
    assert "50 older ones stay on disk" in text


def test_an_expectation_without_words_is_shown_as_the_contract_has_it(docs, monkeypatch):
    from narrows.audit import words

    monkeypatch.setattr("great_expectations.expectations.registry.get_renderer_impl", lambda *_: None)
    config = type("Config", (), {"type": "expect_x", "kwargs": {"column": "c", "batch_id": "b"}})
    assert words.rule(config) == "expect_x(column='c')"


def test_a_line_of_the_index_is_plain_json(docs):
    lines = [json.loads(line) for line in (docs / site.LINES).read_text().splitlines()]
    assert lines[0] == {
        "table": "lists", "asof": "2017-11-30", "version": "v1", "checked": 3, "failed": 0, "warned": 0,
        "page": "validations/lists/v1/20171130T000000.000000Z/lists.html",
    }  # fmt: skip


def test_a_browser_shows_them_whole_without_a_request(docs, tmp_path):
    with browser(tmp_path / "profile") as tab:
        for name in ("index.html", site.page_of("lists", "v2", "2017-12-01")):
            for width in (1600, 800, 400):
                url = (docs / name).as_uri()
                tab.open(url, width)
                assert tab.overflow() == 0, (name, width)
                assert tab.requests() == [url]
                assert not tab.problems()
        assert tab.names("table")
        assert "Failed: 1 of 3 checks are broken" in tab.value("document.body.innerText")
