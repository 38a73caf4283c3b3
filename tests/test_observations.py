"""Drafts that are wrong as a whole are stopped or warned of, by the expectation that is meant for it; sound ones pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from narrows.asof import DAY, KNOWN, Asof
from narrows.audit.contract import Audit, BrokenContract, ContractError, contract
from narrows.audit.observations import MEASURES, observe, periods
from narrows.audit.observations.subject import WEEK
from tests.shop import LENGTH, ROOMS, TODAY, Shop, events, lists, opened, profiles, scored, sold


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return opened(tmp_path)


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
        ({"shared": range(LENGTH)}, "same_list(user_id, item_id)", False),
        ({"users": 1}, "coverage(user_id, user_profiles, days_since_last_event)", True),
        ({"users": 50}, "coverage(user_id, user_profiles, days_since_last_event)", False),
        ({"length": LENGTH // 2}, "unusual(list_length(user_id))", False),
        ({"item": "x"}, "unknown(item_id, item_profiles)", True),
        ({"user": "x"}, "unknown(user_id, user_profiles)", True),
        ({"seed": (TODAY - WEEK).period}, "overlap(user_id, item_id, rank, batch_id)", False),
        ({"other": 1000}, "unusual(overlap(user_id, item_id, rank, batch_id))", False),
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
    shop.tables["items"] = listed(shop, "i0", "i1")
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
    shop.tables["items"] = listed(shop, "i0", "i1")
    for asof in weeks(5)[:-1]:
        shop.publish("item_profiles", profiles(asof), asof)
    rows = profiles(TODAY)
    found = shop.audit("item_profiles", profiles(TODAY, **{column: change(rows[column])}))
    assert found.success
    assert any(f"column='{measure}'" in line and column in line for line in found.warnings)


def listed(shop, *items, available=None):
    """The table of items; ``available`` has the instants of the last ones."""
    instants = pa.array([None] * (len(items) - len(available or [])) + (available or []), pa.timestamp("us", "UTC"))
    return shop.write("listed", TODAY, pa.table({"item_id": list(items), "available_at": instants}))


def test_items_that_come_later_are_not_missed(shop):
    """Announced ones, say: they are in the table of items, and in the profiles from the day on which they are available."""
    shop.tables["items"] = listed(shop, "i0", "soon", available=[TODAY.end])
    assert shop.audit("item_profiles", profiles(TODAY)).success


def test_items_that_are_available_are_missed(shop):
    shop.tables["items"] = listed(shop, "i0", "out", available=[TODAY.end - WEEK])
    found = shop.audit("item_profiles", profiles(TODAY))
    assert "1 of 2 ids of items until 2024-03-14 are there" in found.alarms[0]


def test_items_that_vanish_are_noticed(shop):
    shop.tables["items"] = listed(shop, "i0", "gone")
    shop.publish("item_profiles", profiles(TODAY - WEEK), TODAY - WEEK)
    found = shop.audit("item_profiles", profiles(TODAY).slice(0, 500))
    assert "coverage(item_id, items, available_at)" in found.alarms[0]
    assert any("growth()" in line for line in found.warnings)


def test_what_was_found_is_on_the_page_and_in_the_lines(shop):
    found = shop.audit("recommendations", lists(TODAY, shared=range(LENGTH)))
    page = Path(found.page).read_text()
    assert "60 of 60 users have the same items" in page
    assert any("60 of 60 users have the same items" in line for line in found.warnings)
    assert "Warned of" in page


class Days:
    """The files of days, as far as their rows are counted."""

    def __init__(self, last: Asof, days: int, **unusual: float) -> None:
        """``unusual``: by how much more rows there are on a day, its name without dashes."""
        asofs = [last - back * DAY for back in reversed(range(days))]
        rng = np.random.default_rng(5)
        rows = {asof: int(rng.normal(300, 12) * unusual.get(f"d{asof.day:%Y%m%d}", 1.0)) for asof in asofs}
        self.files = {asof: [SimpleNamespace(count_rows=partial(int, count))] for asof, count in rows.items()}

    def z(self, asof: Asof) -> float:
        seen = periods.unusual_rows(self.files, [asof])
        assert seen
        return seen.z


def test_a_holiday_is_usual_where_it_was_one_a_year_before():
    day = Asof.parse("2024-12-25")
    assert Days(day, 60, d20241225=3.0).z(day) > 6, "nothing is known of the year before"
    assert Days(day, 500, d20241225=3.0).z(day) > 6, "a year before nothing was unusual"
    assert abs(Days(day, 500, d20241225=3.0, d20231225=2.8).z(day)) < 4, "the same date"
    assert abs(Days(day, 500, d20241225=0.3, d20231227=0.33).z(day)) < 4, "the same weekday"
    assert Days(day, 500, d20241225=0.3, d20231225=3.0).z(day) < -6, "it was the other way round"
    assert Days(day, 500, d20231225=3.0).z(day) == pytest.approx(Days(day, 500).z(day)), "an ordinary day stays one"
    leap = Asof.parse("2024-02-29")
    assert abs(Days(leap, 500, d20240229=3.0, d20230302=3.0).z(leap)) < 4


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
