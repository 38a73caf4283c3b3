"""The profiles once more, in plain Python loops over a list of events: slow, and simple enough to trust."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from statistics import fmean
from typing import Any

Row = dict[str, Any]
DAYS = {"64th": 7 / 64, "16th": 7 / 16, "4th": 7 / 4, "1x": 7, "4x": 28, "16x": 112, "64x": 448}
"""The steps of the ladder for a horizon of a week."""


def known(events: list[Row], asof: date) -> list[Row]:
    """What had happened and arrived by the end of the as-of, with the age in days and in whole days."""
    end = datetime(asof.year, asof.month, asof.day, tzinfo=UTC) + timedelta(days=1)
    return [
        {**e, "age": (end - e["event_time"]).total_seconds() / 86_400, "day": e["event_time"].date(),
         "day_age": (asof - e["event_time"].date()).days, "session": e["session_id"] or str(e["event_time"].date())}
        for e in events if e["event_time"] < end and e["ingested_at"] < end
    ]  # fmt: skip


def by(rows: Iterable[Row], *keys: str) -> dict[Any, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys) if len(keys) > 1 else row[keys[0]]].append(row)
    return dict(groups)


def mean(values: Iterable[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return fmean(given) if given else None


def smallest(values: Iterable[float], pick: Callable[..., float] = min) -> float | None:
    return pick(values, default=None)


def user_profiles(
    events: list[Row], items: list[Row], users: list[Row], asof: date, lengths: dict[str, int]
) -> list[Row]:
    about = {item["item_id"]: item for item in items}
    segment = {user["user_id"]: user["segment"] for user in users}
    groups = by(known(events, asof), "user_id")
    return [
        _user(user, groups.get(user, []), segment.get(user), about, lengths) for user in sorted({*groups, *segment})
    ]


def _user(user: str, mine: list[Row], segment: str | None, about: dict[str, Row], lengths: dict[str, int]) -> Row:
    def within(step: str) -> list[Row]:
        return [e for e in mine if e["age"] <= DAYS[step]]

    days = sorted(by(mine, "day").items(), reverse=True)
    visit = {day: number for number, (day, _) in enumerate(days, 1)}
    made: Row = {"user_id": user, "segment": segment, "events": len(mine), "visits": len(days)}
    for step in ("16th", "4th", "1x", "4x", "16x"):
        made[f"events_{step}"] = len(within(step))
    for step in ("1x", "4x", "16x"):
        made[f"sessions_{step}"] = len({e["session"] for e in within(step)})
        if step != "1x":
            made[f"visits_{step}"] = len({e["day"] for e in within(step)})
    made["distinct_items"] = len({e["item_id"] for e in mine})
    made["days_since_last_event"] = smallest(e["age"] for e in mine)
    made["days_since_first_event"] = smallest((e["age"] for e in mine), max)
    made["mean_price"] = mean(e["price"] for e in mine)
    made["visit_days"] = [min(e["age"] for e in rows) for _, rows in days][: lengths["visits"]]
    shops = by((e for e in mine if e["context"] is not None), "context")
    made["favourite_context"] = min(
        shops,
        default=None,
        key=lambda shop: (
            -len({e["day"] for e in shops[shop] if e["age"] <= DAYS["16x"]}), -len({e["day"] for e in shops[shop]}),
            min(e["age"] for e in shops[shop]), shop,
        ),
    )  # fmt: skip
    made |= {"viewed_item": [], "viewed_count": [], "viewed_last_days": []}
    newest = sorted(mine, key=lambda e: (e["age"], e["item_id"]))[: lengths["sequence"]][::-1]
    made["sequence_item"], made["sequence_days"] = [e["item_id"] for e in newest], [e["age"] for e in newest]
    for thing in ("item_id", "category", "subcategory", "brand"):
        prefix, name, length = ("history", "item", "history") if thing == "item_id" else (thing, "name", "kinds")
        named = [
            {**e, "thing": e["item_id"] if thing == "item_id" else about.get(e["item_id"], {}).get(thing)} for e in mine
        ]
        entries = [_thing(value, rows, visit) for value, rows in by(named, "thing").items() if value is not None]
        entries = sorted(entries, key=lambda e: (e["last_days"], e[""]))[: lengths[length]]
        for key in _thing("", [], {}):
            made[f"{prefix}_{key or name}"] = [entry[key] for entry in entries]
    return made


def _thing(value: str, rows: list[Row], visit: dict[date, int]) -> Row:
    days = sorted(by(rows, "day").items(), reverse=True)
    ages = [min(e["age"] for e in events) for _, events in days]
    sums = [sum(v) if (v := [e["value"] for e in events if e["value"] is not None]) else None for _, events in days]
    return {
        "": value, "count": len(days), "last_days": smallest(ages), "first_days": smallest(ages, max),
        "previous_days": sorted(ages)[1] if len(ages) > 1 else None,
        "decayed_1x": sum(0.5 ** (events[0]["day_age"] / 7) for _, events in days),
        "decayed_4x": sum(0.5 ** (events[0]["day_age"] / 28) for _, events in days),
        "decayed_16x": sum(0.5 ** (events[0]["day_age"] / 112) for _, events in days),
        "last_visits": min((visit[day] for day, _ in days), default=1) - 1,
        "first_visits": max((visit[day] for day, _ in days), default=0), "value": mean(sums),
    }  # fmt: skip


def item_profiles(events: list[Row], items: list[Row], users: list[Row], asof: date) -> list[Row]:
    segment = {user["user_id"]: user["segment"] for user in users}
    about = {item["item_id"]: item for item in items}
    groups = by(known(events, asof), "item_id")
    end = datetime(asof.year, asof.month, asof.day, tzinfo=UTC) + timedelta(days=1)
    at = {item: row["available_at"] for item, row in about.items()}
    made = []
    for item in sorted({*groups, *(item for item in about if at[item] is None or at[item] < end)}):
        mine = groups.get(item, [])
        row: Row = {"item_id": item}
        row |= {
            key: about.get(item, {}).get(key) for key in ("title", "category", "subcategory", "brand", "department")
        }
        since = (end - at[item]).total_seconds() / 86_400 if at.get(item) else -1.0
        row["days_since_available"] = since if since > 0 else None
        for step, length in DAYS.items():
            row[f"users_{step}"] = len({e["user_id"] for e in mine if e["age"] <= length})
            if length >= 7:
                row[f"events_{step}"] = sum(e["age"] <= length for e in mine)
        row["days_since_last_event"] = smallest(e["age"] for e in mine)
        row["days_since_first_event"] = smallest((e["age"] for e in mine), max)
        row |= {"viewers": 0, "viewers_long": 0, "days_since_last_view": None}
        row["price"] = mean(e["price"] for e in mine)
        row["recent_price"] = mean(e["price"] for e in mine if e["age"] <= 7)
        pairs = [(len(by(rows, "day")), [e["age"] for e in rows]) for rows in by(mine, "user_id").values()]
        again = [(days, max(ages) - min(ages)) for days, ages in pairs if days >= 2]
        row["repeat_share"] = len(again) / len(pairs) if pairs else None
        row["mean_gap_days"] = sum(span for _, span in again) / sum(days - 1 for days, _ in again) if again else None
        row["visits_per_user"] = mean(days for days, _ in pairs)
        for group in ("context", "segment"):
            named = [{**e, "segment": segment.get(e["user_id"])} for e in mine if e["age"] <= DAYS["16x"]]
            lists = sorted(by((e for e in named if e[group] is not None), group).items())
            row[f"{group}_name"] = [name for name, _ in lists]
            for step in ("4th", "1x", "4x", "16x"):
                within = [[e for e in rows if e["age"] <= DAYS[step]] for _, rows in lists]
                row[f"{group}_users_{step}"] = [len({e["user_id"] for e in rows}) for rows in within]
        made.append(row)
    return made
