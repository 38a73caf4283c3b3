"""``narrows init``: what it takes the columns of somebody's files for, what it says, and that the file it writes runs."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from narrows.cli.main import main
from narrows.settings import load_settings
from narrows.source.files import open_source
from narrows.source.guess_kinds import guessed_kinds
from stages.events.side_tables import with_instant
from tests.source_files import typed_events

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    """Runs ``narrows init`` in an empty folder: the exit status, what it printed and the lines of its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, list[str]]:
        status = main(["init", *argv])
        said = capsys.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def write(path, rows: list[dict]):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def weekly(users: int = 20, weeks: int = 12) -> list[tuple[str, str, datetime]]:
    """Users who come once a week, and items that last."""
    draw = random.Random(1)
    return [
        (f"u{user}", f"i{draw.randrange(30)}", START + timedelta(days=7 * week + user % 7, minutes=n))
        for user in range(users) for week in range(weeks) for n in range(3)
    ]  # fmt: skip


def orders(**more) -> list[dict]:
    return [
        {"customer": user, "SKU": item, "ordered_at": f"{at:%Y-%m-%d %H:%M:%S}", "qty": 1 + n % 2, "amount": 2.5,
         "order_no": f"{user}-{at:%Y%m%d}", **{key: value(n) for key, value in more.items()}}
        for n, (user, item, at) in enumerate(weekly())
    ]  # fmt: skip


def source(folder):
    return load_settings(folder / "narrows.toml", {}).source


def test_a_shop_in_csv(init, tmp_path, spark):
    write(tmp_path / "orders.csv", orders())
    products = [
        {
            "SKU": f"i{n}",
            "product_name": f"Item {n}",
            "category": "Food > Dairy" if n % 2 else f"Food > {n}",
            "released": f"{n + 1}.12.2010 08:26",
        }
        for n in range(30)
    ]
    write(tmp_path / "products.csv", products)
    write(tmp_path / "customers.csv", [{"customer": f"u{n}", "plan": "gold" if n % 2 else "free"} for n in range(20)])
    status, printed, _ = init("orders.csv", "--items", "products.csv", "--users", "customers.csv")
    assert status == 0
    given = source(tmp_path)
    assert given.event_columns == {
        "user_id": "customer", "item_id": "SKU", "event_time": "ordered_at", "value": "qty",
        "price": "try_divide(try_cast(amount as double), try_cast(qty as double))", "session_id": "order_no",
    }  # fmt: skip
    assert given.item_columns == {
        "item_id": "SKU", "title": "product_name", "category": "trim(split(category, '[>]')[0])", "subcategory": "category",
        "available_at": given.item_columns["available_at"],
    }  # fmt: skip
    assert given.user_columns == {"user_id": "customer", "segment": "plan"}
    assert (given.events, given.items, given.users) == ("orders.csv", "products.csv", "customers.csv")
    assert (given.horizon, given.grain, given.event_type) == ("7d", "day", "purchase")
    for words in ("720 events of 20 users and 30 items", "Users come back after 7 days", "doctor", "run"):
        assert words in printed
    opened = open_source(load_settings(tmp_path / "narrows.toml", {}))
    rows = typed_events(opened, spark)
    assert (len(rows), {row["price"] for row in rows}) == (720, {2.5, 1.25})
    items = opened.items(spark)
    assert {row["category"] for row in items.collect()} == {"Food"}
    days = [row["available_at"] for row in with_instant(items).orderBy("item_id").collect()]
    assert (min(days), len(set(days))) == (datetime(2010, 12, 1, 8, 26), 30)


def test_news_in_parquet(init, tmp_path):
    """Articles live for hours: the events of an hour are of what appeared in it and just before."""
    draw = random.Random(1)
    rows = [
        {"visitorId": draw.randrange(3000), "articleId": hour - draw.randrange(3), "ts": int((START + timedelta(hours=hour, seconds=n)).timestamp() * 1000),
         "device": "phone"}
        for hour in range(3, 400) for n in range(0, 3600, 6)
    ]  # fmt: skip
    write(tmp_path / "clicks.parquet", rows)
    status, printed, _ = init("clicks.parquet")
    assert status == 0
    given = source(tmp_path)
    assert given.event_columns == {
        "user_id": "visitorId",
        "item_id": "articleId",
        "event_time": "ts",
        "context": "device",
    }
    assert (given.horizon, given.grain, given.event_type) == ("1h", "hour", "click")
    assert "Items get old fast" in printed
    assert "No table of items" in printed


def test_types_of_events_are_counted_and_what_they_mean_is_guessed(init, tmp_path):
    types = ("buy", "view", "return", "impression", "zap")
    rows = orders(action=lambda n: types[n % 10] if n % 10 < 5 else "view")
    write(tmp_path / "events.csv", rows)
    status, printed, _ = init("events.csv")
    text = (tmp_path / "narrows.toml").read_text()
    assert status == 0
    assert (
        "Types of events in the file: view 432, buy 72, impression 72, return 72, zap 72. What each means"
        in text.replace("\n# ", " ")
    )
    assert "event types: buy positive; view, zap context; impression exposure; return undo (a guess" in printed
    assert "!! event_type zap: taken for context, as the name says nothing." in printed
    given = source(tmp_path)
    assert given.event_columns["event_type"] == "action"
    kinds = {"buy": "positive", "view": "context", "zap": "context", "impression": "exposure", "return": "undo"}
    assert given.kinds.kind_of == kinds


@pytest.mark.parametrize(
    ("types", "kinds"),
    [
        (["purchase", "view", "add_to_cart", "refund"], {"positive": ["purchase"], "context": ["view", "add_to_cart"], "undo": ["refund"]}),
        (["click", "impression"], {"positive": ["click"], "exposure": ["impression"]}),
        (["page_view", "scroll"], {"positive": ["page_view"], "context": ["scroll"]}),
        (["view", "cart"], {"positive": ["cart"], "context": ["view"]}),
        (["like", "unlike"], {"positive": ["like"], "undo": ["unlike"]}),
        (["a", "b"], {}),
        (["view"], {}),
    ],
)  # fmt: skip
def test_what_a_type_means_is_guessed_from_its_name(types, kinds):
    assert guessed_kinds(types)[0] == kinds


def test_what_the_events_say_of_items_is_their_table(init, tmp_path, spark):
    """As in a log of clicks that carries the category and the brand of its item."""
    number = {(user, item, at): int(item[1:]) for user, item, at in weekly()}
    rows = orders()
    for row, of_item in zip(rows, number.values(), strict=True):
        row |= {"category": f"c{of_item % 3}", "brand": f"b{of_item % 5}", "name": f"n{len(rows) % 7}"}
    rows = [row | {"title": f"changes {n}"} for n, row in enumerate(rows)]
    write(tmp_path / "events.csv", rows)
    assert init("events.csv")[0] == 0
    given = source(tmp_path)
    assert given.items == given.events
    assert given.item_columns == {"item_id": "SKU", "category": "category", "brand": "brand"}


@pytest.mark.parametrize(
    ("texts", "spark_says"),
    [
        (["12/1/2010 8:26", "12/31/2010 23:59"], "M/d/yyyy H:m"),
        (["31.12.2010 08:26", "1.2.2011 09:00"], "d.M.yyyy H:m"),
        (["2010/12/01 08:26:00", "2010/12/02 08:26:00"], "yyyy/M/d H:m:s"),
    ],
)
def test_times_that_a_run_would_not_read_get_an_expression(texts, spark_says, init, tmp_path, spark):
    rows = [
        {"InvoiceNo": 1, "StockCode": f"s{n}", "InvoiceDate": texts[n % 2], "CustomerID": n % 7, "Quantity": -1 if n == 5 else 2,
         "UnitPrice": 1.5} for n in range(40)
    ]  # fmt: skip
    write(tmp_path / "retail.csv", rows)
    status, printed, _ = init("retail.csv")
    assert status == 0
    columns = source(tmp_path).event_columns
    assert columns["event_time"] == f"try_to_timestamp(trim(`InvoiceDate`), '{spark_says}')"
    assert (columns["user_id"], columns["item_id"], columns["price"]) == ("CustomerID", "StockCode", "UnitPrice")
    assert "Quantity is below zero in 2.5% of the sampled rows" in printed
    read = typed_events(open_source(load_settings(tmp_path / "narrows.toml", {})), spark)
    assert all(row["event_time"] and row["event_time"].year in (2010, 2011) for row in read)


def test_a_day_that_could_be_a_month_is_said(init, tmp_path):
    write(tmp_path / "e.csv", [{"user": n % 5, "item": n % 3, "date": "01/02/2024"} for n in range(20)])
    assert "every value could be day/month or month/day" in init("e.csv")[1]


def test_a_needed_column_that_cannot_be_told_is_asked_for(init, tmp_path):
    write(tmp_path / "e.csv", [{"a": f"x{n % 5}", "item": n % 3, "time": "2024-01-01"} for n in range(20)])
    status, _, (line,) = init("e.csv")
    assert status == 2
    assert "cannot tell which column" in line
    assert line.endswith("It has: a, item, time. Say it: --column user_id=NAME")
    assert not (tmp_path / "narrows.toml").exists()
    assert init("e.csv", "--column", "user_id=a")[0] == 0
    assert source(tmp_path).event_columns["user_id"] == "a"
    for wrong, says in (
        ("user_id=b", "has no column 'b'"),
        ("who=a", "Our names are: user_id"),
        ("user_id", "Our names"),
    ):
        status, _, (line,) = init("e.csv", "--force", "--column", wrong)
        assert (status, says in line) == (2, True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("user;item;time\n1;2;2024-01-01\n", "separated by ';'"),
        ("user,item,time\n", "has no rows"),
        ("", "cannot be read"),
        ("user,item,time\n\xff,2,2024-01-01\n", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(content, says, init, tmp_path):
    (tmp_path / "e.csv").write_bytes(content.encode("latin-1"))
    status, _, (line,) = init("e.csv")
    assert (status, says in line) == (2, True), line


def test_a_file_that_is_there_is_kept(init, tmp_path):
    write(tmp_path / "orders.csv", orders())
    (tmp_path / "narrows.toml").write_text("# mine")
    status, printed, (line,) = init("orders.csv")
    assert (status, printed) == (2, "")
    assert "is there already, and is kept. Replace it with --force" in line
    assert init("orders.csv", "--out", "my/other.toml")[0] == 0
    assert (tmp_path / "narrows.toml").read_text() == "# mine"
    assert load_settings(tmp_path / "my/other.toml", {}).source.events == str(tmp_path / "orders.csv")
    assert init("orders.csv", "--force")[0] == 0
    assert source(tmp_path).events == "orders.csv"


def test_a_broken_settings_file_can_be_replaced(init, tmp_path):
    write(tmp_path / "orders.csv", orders())
    (tmp_path / "narrows.toml").write_text("[source]\nno_such_key = 1\n")
    assert init("orders.csv", "--force")[0] == 0


def test_what_the_shell_makes_of_a_glob_is_one_glob_again(init, tmp_path):
    rows = orders()
    write(tmp_path / "log/orders-1.csv", rows[:400])
    write(tmp_path / "log/orders-2.csv", rows[400:])
    write(tmp_path / "log/other.csv", rows[:1])
    assert init("log/orders-1.csv", "log/orders-2.csv")[0] == 0
    assert source(tmp_path).events == "log/orders-*.csv"
    status, _, (line,) = init("log/orders-1.csv", "log/other.csv", "--force")
    assert (status, "give one glob" in line) == (2, True)


def test_names_from_the_file_do_no_harm_in_the_settings(init, tmp_path):
    odd = 'kind\n"]x = 1 \x7f'
    rows = [
        {"user id": n % 5, 'item "id"': n % 3, "time": "2024-01-01", "type": odd if n % 2 else "b"} for n in range(20)
    ]
    write(tmp_path / "e.parquet", rows)
    assert init("e.parquet")[0] == 0
    assert source(tmp_path).event_columns["item_id"] == 'item "id"'
