"""Drafts that are wrong as a whole are stopped or warned of, by the expectation that is meant for it; sound ones pass."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import DAY, KNOWN, Asof
from narrows.audit.contract import Audit, BrokenContract, ContractError, contract
from narrows.audit.observations import MEASURES, observe
from narrows.audit.observations.subject import WEEK, Around
from narrows.audit.worker import audit_draft
from narrows.stage import Table
from stages import PIPELINE

ROOMS = {room.name: room for room in PIPELINE}
USERS, ITEMS, LENGTH = 60, 200, 10
TODAY = Asof.parse("2024-03-14")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Shop:
    """Drafts of a small shop, and what was published of it before."""

    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: {"n": LENGTH})

    def write(self, name: str, asof: Asof, rows: pa.Table) -> Table:
        folder = self.folder / name / str(asof) / "data"
        if KNOWN in rows.column_names:
            pq.write_to_dataset(rows, folder, partition_cols=[KNOWN])
        else:
            folder.mkdir(parents=True)
            pq.write_table(rows, folder / "part-00000.parquet")
        return Table(name, asof, "v", folder.parent, {"rows": rows.num_rows})

    def publish(self, name: str, rows: pa.Table, asof: Asof) -> None:
        """A partition that came before: only its observations are made."""
        table = self.write(name, asof, rows)
        terms = contract(ROOMS[name]).over(rows.column_names, self.settings)
        around = self.around(name, asof)
        self.seen.setdefault(name, {})[asof] = observe(terms, table.dataset(), around)[1]
        self.tables[name] = table

    def audit(self, name: str, rows: pa.Table, asof: Asof = TODAY) -> Audit:
        """The audit of a draft."""
        folder = self.write(name, asof, rows)._folder / "data"
        given = (name, contract(ROOMS[name]), folder, self.folder / "docs", "v", str(asof), self.settings)
        return audit_draft(*given, self.around(name, asof), seen=self.seen)

    def around(self, name: str, asof: Asof) -> Around:
        return Around(asof, WEEK, self.settings, self.tables, self.tables.get(name), self.seen.get(name, {}))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    made = Shop(tmp_path)
    users, items = ([f"{kind}{n}" for n in range(count)] for kind, count in (("u", USERS), ("i", ITEMS)))
    profiles = {"user_id": users, "days_since_last_event": pa.array([1.0] * USERS, pa.float32())}
    made.tables["user_profiles"] = made.write("known_users", TODAY, pa.table(profiles))
    made.tables["item_profiles"] = made.write("known_items", TODAY, pa.table({"item_id": items}))
    made.tables["rerank"] = made.tables["item_profiles"]
    return made


@cache
def sold(last: Asof, seed: int = 1) -> dict[str, np.ndarray]:
    """The columns of six weeks of sales up to a day, about 300 a day, as arrays."""
    rng, days = np.random.default_rng(seed), []
    for back in range(42):
        count = int(rng.normal(300, 12))
        start = last.end - (back + 1) * DAY
        days.append((start, rng.uniform(8, 20, count)))
    start = np.concatenate([np.full(len(hours), np.datetime64(day.replace(tzinfo=None), "us")) for day, hours in days])
    hours = np.concatenate([hours for _, hours in days])
    count = len(hours)
    return {
        "user": rng.integers(0, USERS, count), "item": rng.integers(0, ITEMS, count), "day": start,
        "at": start + (hours * 3.6e9).astype("timedelta64[us]"), "price": rng.lognormal(1, 0.5, count),
    }  # fmt: skip


def events(sales: dict[str, np.ndarray], keep: Any = None) -> pa.Table:
    """Sales as the table of events."""
    some = sales if keep is None else {name: values[keep] for name, values in sales.items()}
    count, at = len(some["user"]), pa.array(some["at"]).cast(pa.timestamp("us", "UTC"))
    text = pa.nulls(count, pa.string())
    return pa.table({
        "user_id": [f"u{n}" for n in some["user"]], "item_id": [f"i{n}" for n in some["item"]], "event_time": at,
        "ingested_at": at, "event_type": ["sale"] * count, "value": pa.array([1.0] * count), "price": some["price"],
        "context": text, "session_id": [str(n) for n in range(count)], "position": pa.nulls(count, pa.int32()),
        "propensity": pa.nulls(count, pa.float64()), "kind": ["positive"] * count,
        "weight": pa.array([1.0] * count, pa.float32()), KNOWN: np.datetime_as_string(some["day"], "D"),
    })  # fmt: skip


def scored(kind: str, asof: Asof, scores: Any = None, user: str = "u", item: str = "i") -> pa.Table:
    """Candidates with the scores of a room, twenty for each user."""
    rng, each = np.random.default_rng(asof.period), 20
    count = USERS * each
    ids = {
        "user_id": [f"{user}{n // each}" for n in range(count)],
        "item_id": [f"{item}{n % each}" for n in range(count)],
    }
    values = rng.uniform(0, 1, count) if scores is None else np.full(count, scores)
    ranks = pa.array([n % each + 1 for n in range(count)], pa.int32())
    return pa.table({**ids, f"{kind}_score": values, f"{kind}_rank": ranks, "kept": [True] * count,
                     "reason": pa.nulls(count, pa.string())})  # fmt: skip


def lists(
    asof: Asof, users: int = USERS, length: int = LENGTH, user: str = "u", item: str = "i", **given: Any
) -> pa.Table:
    """Published lists: of each user's own ten items about a third change from week to week."""
    rng = np.random.default_rng(given.get("seed", asof.period))
    rows = []
    for who in range(users):
        own = np.random.default_rng(who + given.get("other", 0)).permutation(ITEMS)[:14]
        chosen = given["shared"] if "shared" in given else rng.permutation(own)[:length]
        rows += [(f"{user}{who}", f"{item}{number}", place + 1) for place, number in enumerate(chosen[:length])]
    ids, items, places = zip(*rows, strict=True)
    count, base = len(rows), {"release_id": "r", "batch_id": "b", "scene": "home", "reason": "own", "segment": "all"}
    return pa.table({
        **{name: [value] * count for name, value in base.items()}, "user_id": ids, "item_id": items,
        "expires_at": pa.array([NOW] * count, pa.timestamp("us", "UTC")), "rank": pa.array(places, pa.int32()),
        "score": rng.uniform(0, 1, count), "propensity": [1.0] * count,
    })  # fmt: skip


def profiles(asof: Asof, **changes: Any) -> pa.Table:
    """Profiles of items: what of it the contract does not name is a feature like another."""
    rng = np.random.default_rng(asof.period)
    count, age = 1000, (asof.end - NOW) / DAY
    last = rng.uniform(0, 30, count)
    own = {
        "item_id": [f"i{n}" for n in range(count)], "days_since_first_event": age + last, "days_since_last_event": last,
        "days_since_available": pa.nulls(count, pa.float32()), "price": rng.lognormal(1, 0.5, count),
        "users_1x": rng.poisson(20, count), "viewers": np.zeros(count, int), "viewers_long": np.zeros(count, int),
        "days_since_last_view": pa.nulls(count, pa.float32()),
    }  # fmt: skip
    return pa.table(own | changes)


def weeks(number: int = 5) -> list[Asof]:
    """As-ofs a week apart, the last of them today."""
    return [TODAY - back * WEEK for back in range(number - 1, -1, -1)]


def told(audit: Audit, measure: str) -> bool:
    """Whether just the expectations over a measure are broken."""
    lines = [*audit.failed, *audit.alarms, *audit.warnings]
    return bool(lines) and all(f"column='{measure}'" in line for line in lines)


def test_sound_days_are_not_warned_of(shop):
    for back in (4, 3, 2, 1):
        shop.publish("events", events(sold(TODAY), until(back)), TODAY - back * DAY)
    found = shop.audit("events", events(sold(TODAY)))
    assert found.success
    assert found.warnings == []


def until(back: int) -> np.ndarray:
    """The sales that were known so many days ago."""
    return sold(TODAY)["day"] < np.datetime64((TODAY.end - back * DAY).replace(tzinfo=None))


def before_today(shop: Shop) -> None:
    shop.publish("events", events(sold(TODAY), until(1)), TODAY - DAY)


def test_half_of_the_last_events_is_missed(shop):
    before_today(shop)
    sales = sold(TODAY)
    keep = (sales["day"] < sales["day"].max()) | (np.arange(len(sales["day"])) % 2 == 0)
    found = shop.audit("events", events(sales, keep))
    assert found.success  # it is published, and warned of
    assert told(found, "volume_together(known)") or any("volume(known)" in line for line in found.warnings)
    assert any("150 rows" in line or "14" in line for line in found.warnings)


@pytest.mark.parametrize("days", [1, 2, 3])
def test_a_day_without_events_is_warned_of_and_three_are_an_alarm(shop, days):
    rows = events(sold(TODAY), until(days))
    shop.publish("events", rows, TODAY - days * DAY)
    found = shop.audit("events", rows)
    assert found.success == (days < 3)
    assert any("days_without_rows(known)" in line for line in (found.warnings if days < 3 else found.alarms))
    if days == 3:
        with pytest.raises(BrokenContract, match="--force"):
            found.require()
        assert found.lenient().require().warnings[0] == found.alarms[0]


def test_days_that_are_always_empty_are_not_missed(shop):
    sales = sold(TODAY)
    weekday = sales["day"].astype("datetime64[D]").astype(int) % 7
    keep = weekday != weekday[0]  # the shop is closed on this day of the week
    assert shop.audit("events", events(sales, keep)).warnings == []


def test_an_empty_hour_is_normal(tmp_path):
    shop, hour = Shop(tmp_path), Asof.parse("2024-03-14T13", timedelta(hours=1))
    sales = sold(TODAY)
    text = np.char.replace(np.datetime_as_string(sales["at"], "h"), " ", "T")
    rows = events(sales, keep := (text <= "2024-03-14T12"))
    rows = rows.set_column(rows.column_names.index(KNOWN), KNOWN, pa.array(text[keep]))
    assert shop.audit("events", rows, hour).warnings == []


def test_times_that_are_a_year_off_are_noticed(shop):
    before_today(shop)
    sales = sold(TODAY)
    new = sales["day"] == sales["day"].max()
    found = shop.audit("events", events(sales | {"at": sales["at"] - new * np.timedelta64(365, "D")}))
    assert told(found, "drift(age(event_time), known)")


def test_prices_times_a_hundred_are_noticed(shop):
    before_today(shop)
    sales = sold(TODAY)
    new = sales["day"] == sales["day"].max()
    assert told(
        shop.audit("events", events(sales | {"price": sales["price"] * np.where(new, 100, 1)})), "drift(price, known)"
    )


@pytest.mark.parametrize("room", ["prerank", "rank"])
def test_equal_scores_stop_a_draft(shop, room):
    shop.publish(room, scored(room, TODAY - WEEK), TODAY - WEEK)
    assert shop.audit(room, scored(room, TODAY - DAY), TODAY - DAY).warnings == []
    found = shop.audit(room, scored(room, TODAY, 0.5))
    assert f"distinct({room}_score)" in found.alarms[0]
    assert f"drift({room}_score)" in found.warnings[0]


@pytest.mark.parametrize(("ids", "measure"), [({"item": "x"}, "unknown(item_id, item_profiles)"),
                                              ({"user": "x"}, "unknown(user_id, user_profiles)")])  # fmt: skip
def test_unknown_ids_stop_candidates(shop, ids, measure):
    found = shop.audit("rank", scored("rank", TODAY, **ids))
    assert told(found, measure)
    assert not found.success
    assert "x0" in found.alarms[0]


def test_sound_lists_are_not_warned_of(shop):
    for asof in weeks(5)[:-1]:
        shop.publish("recommendations", lists(asof), asof)
    found = shop.audit("recommendations", lists(TODAY))
    assert found.success
    assert found.warnings == []


@pytest.mark.parametrize(
    ("change", "measure", "stops"),
    [
        ({"shared": range(LENGTH)}, "same_list(user_id, item_id)", True),
        ({"users": 1}, "coverage(user_id, user_profiles, days_since_last_event)", True),
        ({"users": 50}, "coverage(user_id, user_profiles, days_since_last_event)", False),
        ({"length": LENGTH // 2}, "unusual(list_length(user_id))", False),
        ({"item": "x"}, "unknown(item_id, rerank)", True),
        ({"user": "x"}, "unknown(user_id, user_profiles)", True),
        ({"seed": (TODAY - WEEK).period}, "overlap(user_id, item_id)", False),
        ({"other": 1000}, "unusual(overlap(user_id, item_id))", False),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)
def test_wrong_lists_are_noticed(shop, change, measure, stops):
    for asof in weeks(5)[:-1]:
        shop.publish("recommendations", lists(asof), asof)
    found = shop.audit("recommendations", lists(TODAY, **change))
    assert found.success != stops
    assert any(f"column='{measure}'" in line for line in (found.alarms if stops else found.warnings))


def test_sound_profiles_are_not_warned_of(shop):
    shop.tables["items"] = shop.tables["item_profiles"]
    for asof in weeks(5)[:-1]:
        shop.publish("item_profiles", profiles(asof), asof)
    found = shop.audit("item_profiles", profiles(TODAY))
    assert found.success
    assert found.warnings == []


@pytest.mark.parametrize(
    ("column", "change", "measure"),
    [
        ("price", lambda price: pa.nulls(len(price), pa.float64()), "emptied(*)"),
        ("price", lambda price: price.to_numpy() * 10, "drift(*)"),
        ("users_1x", lambda users: users.to_numpy() * 10, "drift(*)"),
    ],
)
def test_wrong_features_are_noticed(shop, column, change, measure):
    shop.tables["items"] = shop.tables["item_profiles"]
    for asof in weeks(5)[:-1]:
        shop.publish("item_profiles", profiles(asof), asof)
    rows = profiles(TODAY)
    found = shop.audit("item_profiles", profiles(TODAY, **{column: change(rows[column])}))
    assert found.success
    assert any(f"column='{measure}'" in line and column in line for line in found.warnings)


def test_items_that_vanish_are_noticed(shop):
    shop.tables["items"] = shop.write("listed", TODAY, pa.table({"item_id": ["i0", "gone"]}))
    shop.publish("item_profiles", profiles(TODAY - WEEK), TODAY - WEEK)
    found = shop.audit("item_profiles", profiles(TODAY).slice(0, 500))
    assert "coverage(item_id, items)" in found.alarms[0]
    assert any("growth()" in line for line in found.warnings)


def test_what_was_found_is_on_the_page_and_in_the_lines(shop):
    found = shop.audit("recommendations", lists(TODAY, shared=range(LENGTH)))
    page = Path(found.page).read_text()
    assert "60 of 60 users have the same items" in page
    assert "60 of 60 users have the same items" in found.alarms[0]
    assert "Warned of" in page


def test_batches_of_any_size_give_the_same(shop, monkeypatch):
    shop.publish("recommendations", lists(TODAY - WEEK), TODAY - WEEK)
    table = shop.write("recommendations", TODAY, lists(TODAY))
    terms = contract(ROOMS["recommendations"]).over(table.columns, {})
    whole = observe(terms, table.dataset(), shop.around("recommendations", TODAY))
    monkeypatch.setattr("narrows.audit.observations.subject.READ_ROWS", 7)
    names = [name for name in whole[0] if "drift" not in name]
    pieces = observe(terms, table.dataset(), shop.around("recommendations", TODAY))
    assert len(names) == 6
    for name in names:
        assert pieces[0][name].values[0][1] == pytest.approx(whole[0][name].values[0][1])


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("volumes(known)", "volume"),
        ("drift(prize, known)", "no column 'prize'"),
        ("unknown(item_id, catalogue)", "no table"),
    ],
)
def test_a_measure_that_cannot_be_made_is_one_clear_line(shop, measure, message):
    kind = "expect_column_values_to_be_between"
    terms = replace(contract(ROOMS["events"]), observations=((kind, {"column": measure, "max_value": 1}),))
    table = shop.write("events", TODAY, events(sold(TODAY), until(39)))
    with pytest.raises(ContractError, match=message):
        observe(terms, table.dataset(), shop.around("events", TODAY))


def test_the_page_names_every_measure():
    page = (Path(__file__).parents[1] / "docs" / "contracts.md").read_text(encoding="utf-8")
    assert [name for name in MEASURES if f"`{name}(" not in page] == []
