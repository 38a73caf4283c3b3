"""What a run says about one user: their list, and why an item was or was not in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from narrows.cli.layout import Row, cells, short
from narrows.columns import ITEM, KEPT, PROPENSITY, RANK, REASON, SCORE, USER, stage_rank, stage_score
from narrows.stage import Table
from stages.recall.channels import CHANNELS

MEANING = {
    "policy:block": "a rule of the policy blocks it",
    "policy:cap": "its category had filled its places",
    "policy:boost": "a boosted item took its place",
    "policy:pin": "a pinned item took its place",
    "diversity": "a less similar item took its place",
    "pinned": "the policy pins it to this place",
    "exploration": "the exploration slot drew another item",
    "prerank_cut": "not among the best by prerank's score",
    "rank_cut": "not among the best by rank's score",
    "quota": "recalled, but outside the quota of the merge",
    "not_eligible": "nobody has had it lately, or it may not be offered again",
    "explore": "drawn to learn about it",
}
"""Reason codes in plain words, but for those of recall's channels; a code may carry details after a colon."""


def trace(user: str, item: str, tables: Mapping[str, Table | pa.Table]) -> dict[str, Any]:
    """All that a run knows of one user and one item, as JSON values; ``words`` puts it in words.

    Args:
        user: user_id.
        item: item_id.
        tables: the run's user_profiles, item_profiles, recommendations, and those of its narrowing rooms in order.
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
    for room in facts["rooms"]:
        pool = _rows(tables[room], USER, user)
        rows = [row for row in pool if row[ITEM] == item]
        if room == facts["rooms"][0]:
            facts["candidates"] = len(pool)
            facts["channels"] = [_place(row, name) for row in rows for name in CHANNELS if stage_score(name) in row]
        if not rows:
            break
        place = _place(rows[0], room)
        if RANK in rows[0]:  # this room composes the list
            place |= {"score": rows[0].get(SCORE), "rank": rows[0].get(RANK)}
        facts["stages"].append(place | {"of": len(pool), "kept": rows[0][KEPT], "reason": rows[0].get(REASON)})
    published = _rows(tables["recommendations"], USER, user)
    facts["list_length"] = len(published)
    for row in published:
        if row[ITEM] == item:
            facts["shown"] = {name: row.get(name) for name in (RANK, SCORE, PROPENSITY, REASON)}
    return facts


def words(facts: Mapping[str, Any]) -> list[str]:
    """A trace in plain words, line by line."""
    user, item, past = facts["user"], facts["item"], facts["history"]
    lines = [f"user {user} · item {item}" + (f" · {facts['title']}" if facts["title"] else "")]
    if not facts["user_known"]:
        lines.append(f"  user {user} had done nothing by the as-of, so no stage ran for them")
    if not facts["item_known"]:
        lines.append(f"  item {item} was not in the catalogue at the as-of, so no channel could propose it")
    if past:
        ago = f"the last {past['last_days']:.1f} days before the end of the as-of"
        lines.append(f"  history   the user has it on {past['days']} day{'s' * (past['days'] != 1)}, {ago}")
    elif facts["user_known"] and facts["item_known"]:
        lines.append("  history   new to the user")
    proposed = [each for each in facts["channels"] if each["score"] is not None or each["rank"] is not None]
    if facts["channels"]:
        silent = [each["name"] for each in facts["channels"] if each not in proposed]
        parts = [f"{each['name']}{_placed(each)}" for each in proposed]
        parts += [f"not {', '.join(silent)}"] if silent else []
        lines.append(f"  channels  {' · '.join(parts)}")
    for stage in facts["stages"]:
        outcome = "kept" if stage["kept"] else f"removed: {with_meaning(stage['reason'])}"
        lines.append(f"  {stage['name']:<10}{outcome}{_placed(stage)}, of {stage['of']:,} candidates")
    return [*lines, f"  => {_verdict(facts)}"]


def show(user: str, rows: Iterable[Row]) -> str:
    """A user's list as text.

    Args:
        user: whose list it is.
        rows: rank, item_id, and where known title, score, propensity and reason.
    """
    ordered = sorted(rows, key=lambda row: row[RANK])
    if not ordered:
        return f"user {user} has no list of their own: the product shows the fallback list"
    widths = (4, -16, -36, 8, 8, -28)
    lines = [f"user {user}", cells(("", "  item", "title", "score", "chance", "  reason"), widths)]
    for row in ordered:
        numbers = (short(row.get(SCORE)), short(row.get(PROPENSITY)), f"  {row.get(REASON) or ''}")
        lines.append(
            cells((str(row[RANK]), f"  {row[ITEM]}", (row.get("title") or "")[:35], *numbers), widths).rstrip()
        )
    return "\n".join(lines)


def with_meaning(reason: str | None) -> str:
    """A reason code with its meaning, where it has one."""
    known = MEANING | {channel.reason: channel.meaning for channel in reversed(CHANNELS.values())}
    meanings = [text for code, text in known.items() if reason and (reason == code or reason.startswith(f"{code}:"))]
    return f"{reason} ({meanings[0]})" if meanings else reason or "no reason given"


def _verdict(facts: Mapping[str, Any]) -> str:
    shown, stages = facts["shown"], facts["stages"]
    if facts["taken_down"] is not None:
        verdict = f"taken down{': ' if facts['taken_down'] else ''}{facts['taken_down']}; no reader sees it"
        return verdict + (f". The run had put it at position {shown[RANK]} of {facts['list_length']}" if shown else "")
    if shown:
        verdict = f"shown at position {shown[RANK]} of {facts['list_length']}"
        verdict += f", reason {shown[REASON]}" if shown[REASON] else ""
        return verdict + (f", shown with probability {shown[PROPENSITY]:.4g}" if shown[PROPENSITY] is not None else "")
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
    if not stages:
        return f"not shown: no channel proposed it (this user had {facts['candidates']:,} candidates)"
    last = stages[-1]
    if not last["kept"]:
        return f"not shown: {last['name']} removed it, {with_meaning(last['reason'])}"
    after = (*facts["rooms"], "the published list")[len(stages)]
    return f"not shown: {last['name']} kept it, but it is not in {after}"


def _place(row: Row, name: str) -> dict[str, Any]:
    return {"name": name, "score": row.get(stage_score(name)), "rank": row.get(stage_rank(name))}


def _placed(place: Row) -> str:
    parts = [f"score {place['score']:.4g}"] if place["score"] is not None else []
    parts += [f"rank {place['rank']}"] if place["rank"] is not None else []
    return f" ({', '.join(parts)})" if parts else ""


def _columns(table: Table | pa.Table) -> list[str]:
    return (table if isinstance(table, pa.Table) else table.arrow(where=pc.scalar(False))).column_names


def _rows(table: Table | pa.Table, column: str, value: str) -> list[dict[str, Any]]:
    where = pc.field(column) == value
    return (table.filter(where) if isinstance(table, pa.Table) else table.arrow(where=where)).to_pylist()
