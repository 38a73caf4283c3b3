"""Why an item was or was not in a user's list: what a run knows of the two, and its words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from narrows.cli.layout import WIDTH, Row
from narrows.columns import ITEM, KEPT, PROPENSITY, RANK, REASON, SCORE, USER, stage_rank, stage_score
from narrows.reasons import Reasons
from narrows.stage import Table
from stages.recall.channels import CHANNELS

LABEL = 12
"""Columns of what a line is about."""


def trace(user: str, item: str, tables: Mapping[str, Table | pa.Table], reasons: Reasons) -> dict[str, Any]:
    """All that a run knows of one user and one item, as JSON values; ``words`` puts it in words.

    Args:
        user: user_id.
        item: item_id.
        tables: the run's user_profiles, item_profiles, recommendations, and those of its narrowing rooms in order.
        reasons: what the reason codes of these rooms mean.
    """
    profile = _rows(tables["user_profiles"], USER, user)
    known = _rows(tables["item_profiles"], ITEM, item)
    facts: dict[str, Any] = {
        "user": user,
        "item": item,
        "user_known": bool(profile),
        "item_known": bool(known),
    }
    facts |= {"title": None, "history": None, "channels": [], "candidates": 0, "stages": [], "shown": None}
    # what the serving database says now, where it is asked: a takedown's reason, a place that the fallback fills or 0
    facts |= {"taken_down": None, "fallback": None}
    if known:
        facts["title"] = known[0].get("title") or known[0].get("subcategory") or known[0].get("category")
    owned = (profile[0].get("history_item") or []) if profile else []
    if item in owned:
        at, row = owned.index(item), profile[0]
        facts["history"] = {"days": row["history_count"][at], "last_days": row["history_last_days"][at]}
    facts["rooms"] = [name for name, table in tables.items() if KEPT in _columns(table)]
    facts["has_flow"] = _has_flow(next((tables[name] for name in facts["rooms"]), None), user)
    for room in facts["rooms"]:
        pool = _rows(tables[room], USER, user)
        rows = [row for row in pool if row[ITEM] == item]
        if room == facts["rooms"][0]:
            facts["candidates"] = len(pool)
            facts["channels"] = [
                _place(row, name) | {"of": sum(each.get(stage_rank(name)) is not None for each in pool)}
                for row in rows
                for name in CHANNELS
                if stage_score(name) in row
            ]
        if not rows:
            break
        place = _place(rows[0], room)
        if RANK in rows[0]:  # this room composes the list
            place |= {"score": rows[0].get(SCORE), "rank": rows[0].get(RANK)}
        reason = rows[0].get(REASON)
        place |= {
            "of": len(pool),
            "keeps": sum(each[KEPT] for each in pool),
            "kept": rows[0][KEPT],
            "list": RANK in rows[0],
        }
        facts["stages"].append(place | {"reason": reason, "meaning": reasons.meaning(reason)})
    published = _rows(tables["recommendations"], USER, user)
    facts["list_length"] = len(published)
    for row in published:
        if row[ITEM] == item:
            facts["shown"] = {name: row.get(name) for name in (RANK, SCORE, PROPENSITY, REASON)}
            facts["shown"]["meaning"] = reasons.meaning(row.get(REASON))
    return facts


def words(facts: Mapping[str, Any], width: int = WIDTH) -> list[str]:
    """A trace in sentences, each wrapped to lines of ``width`` columns."""
    user, item, past = facts["user"], facts["item"], facts["history"]
    lines = [f"user {user} · item {item}" + (f" · {facts['title']}" if facts["title"] else "")]
    parts: list[tuple[str, str]] = []
    if not facts["user_known"]:
        parts.append(("user", f"user {user} had done nothing by the as-of, so no stage ran for them"))
    if not facts["item_known"]:
        parts.append(("item", f"item {item} was not in the catalogue at the as-of, so no channel could propose it"))
    if past:
        parts.append(("history", f"user {user} took this item on {_days(past['days'])}, {_ago(past['last_days'])}"))
    elif facts["user_known"] and facts["item_known"]:
        parts.append(("history", f"new to user {user}"))
    if facts["channels"]:
        proposed = [each for each in facts["channels"] if each["score"] is not None or each["rank"] is not None]
        silent = [each["name"] for each in facts["channels"] if each not in proposed]
        by = [f"{each['name']}{_at(each)}{_score(each)}" for each in proposed]
        text = f"proposed by {', '.join(by)}" if by else "proposed by no channel"
        parts.append(("channels", text + (f"; not by {', '.join(silent)}" if silent else "")))
    parts += [(stage["name"], _stage(stage)) for stage in facts["stages"]]
    parts.append(("=>", _verdict(facts)))
    for label, text in parts:
        head, rest = f"  {label:<{LABEL - 2}}", " " * LABEL
        lines += textwrap.wrap(text, width, initial_indent=head, subsequent_indent=rest, break_on_hyphens=False)
    return lines


def _stage(stage: Row) -> str:
    """What a narrowing room did: where it put the item among how many, and what became of it."""
    why = _because(stage)
    if stage["list"]:
        if stage["kept"]:
            return f"put it at position {stage['rank']} of the list of {stage['keeps']}: {why}"
        return f"left it out of the list of {stage['keeps']}: {why}"
    where = f"put it{_at(stage)}{_score(stage)}" if stage["rank"] is not None else f"had {stage['of']:,} candidates"
    if stage["kept"]:
        return f"{where}; kept, with {stage['keeps'] - 1:,} others"
    if stage["reason"] == f"{stage['name']}_cut" and (stage["rank"] or 0) > stage["keeps"]:
        return f"{where}; the cut is at {stage['keeps']:,}"
    return f"{where} and removed it: {why}"


def _because(row: Row) -> str:
    """The meaning of a reason and its code, or what of them there is."""
    if not row["reason"]:
        return "no reason given"
    return f"{row['meaning']} ({row['reason']})" if row["meaning"] else str(row["reason"])


def _days(count: int) -> str:
    return f"{count} day{'s' * (count != 1)}"


def _ago(days: float) -> str:
    """Days before the end of the as-of: the last one of it is day 0."""
    return "last on the last day of the as-of" if days < 1 else f"last {_days(int(days))} ago"


def _at(place: Row) -> str:
    return f" at place {place['rank']} of {place['of']:,}" if place["rank"] is not None else ""


def _score(place: Row) -> str:
    return f" (score {place['score']:.4g})" if place["score"] is not None else ""


def _verdict(facts: Mapping[str, Any]) -> str:
    shown, stages = facts["shown"], facts["stages"]
    if facts["taken_down"] is not None:
        verdict = f"taken down{': ' if facts['taken_down'] else ''}{facts['taken_down']}; no reader sees it"
        return verdict + (f". The run had put it at position {shown[RANK]} of {facts['list_length']}" if shown else "")
    if shown:
        verdict = f"shown at position {shown[RANK]} of {facts['list_length']}"
        verdict += f": {_because(shown)}" if shown[REASON] else ""
        sure = shown[PROPENSITY] is None or shown[PROPENSITY] == 1
        return verdict if sure else f"{verdict}. Its probability of being there was {shown[PROPENSITY]:.4g}"
    if not facts["list_length"]:
        verdict = "no list of their own; the fallback list applies"
        if facts["fallback"] is None:
            return verdict
        place = f"shows it now at position {facts['fallback']}" if facts["fallback"] else "does not show it now"
        return f"{verdict}, and {place}"
    if facts["fallback"]:
        return f"shown now at position {facts['fallback']}, where the fallback list fills up theirs"
    if not facts["item_known"]:
        return "not shown"
    if not facts["has_flow"]:
        return "not shown; the run kept the full flow of a sample of users, and this one is not among them"
    if not stages:
        return f"not shown: no channel proposed it (this user had {facts['candidates']:,} candidates)"
    last = stages[-1]
    if not last["kept"]:
        return f"not shown: {last['name']} removed it: {_because(last)}"
    after = (*facts["rooms"], "the published list")[len(stages)]
    return f"not shown: {last['name']} kept it, but it is not in {after}"


def _place(row: Row, name: str) -> dict[str, Any]:
    return {"name": name, "score": row.get(stage_score(name)), "rank": row.get(stage_rank(name))}


def _has_flow(first: Table | pa.Table | None, user: str) -> bool:
    """Whether the rooms' tables have what they did for the user: of everybody, or of the flow sample alone."""
    sample = None if first is None or isinstance(first, pa.Table) else first.requests
    return sample is None or bool(_rows(sample, USER, user))


def _columns(table: Table | pa.Table) -> list[str]:
    return (table if isinstance(table, pa.Table) else table.arrow(where=pc.scalar(False))).column_names


def _rows(table: Table | pa.Table, column: str, value: str) -> list[dict[str, Any]]:
    where = pc.field(column) == value
    return (table.filter(where) if isinstance(table, pa.Table) else table.arrow(where=where)).to_pylist()
