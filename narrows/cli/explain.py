"""What a run says about one user: their list, and why an item was or was not in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from narrows.cli.report import Row, cells, short
from narrows.columns import ITEM, KEPT, PROPENSITY, RANK, REASON, SCORE, USER, stage_rank, stage_score
from narrows.stage import Table
from stages.evaluation.ledger import NARROWING
from stages.recall.channels import CHANNELS

MEANING = {
    "policy:block": "a rule of the policy blocks it",
    "policy:cap": "its category had filled its places",
    "policy:boost": "a boosted item took its place",
    "policy:pin": "a pinned item took its place",
    "diversity": "a less similar item took its place",
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
        tables: the run's user_profiles, item_profiles, recall, prerank, rank, rerank and recommendations.
    """
    profile = _rows(tables["user_profiles"], USER, user)
    known = _rows(tables["item_profiles"], ITEM, item)
    story: dict[str, Any] = {
        "user": user,
        "item": item,
        "user_known": bool(profile),
        "item_known": bool(known),
    }
    story |= {"title": None, "history": None, "channels": [], "candidates": 0, "stages": [], "shown": None}
    # what the serving database says now, where it is asked: a takedown's reason, a place that the fallback fills or 0
    story |= {"taken_down": None, "fallback": None}
    if known:
        story["title"] = known[0].get("title") or known[0].get("subcategory") or known[0].get("category")
    owned = (profile[0].get("history_item") or []) if profile else []
    if item in owned:
        at, row = owned.index(item), profile[0]
        story["history"] = {"days": row["history_count"][at], "last_days": row["history_last_days"][at]}
    for room in NARROWING:
        pool = _rows(tables[room], USER, user)
        found = [row for row in pool if row[ITEM] == item]
        if room == "recall":
            story["candidates"] = len(pool)
            story["channels"] = [_place(row, name) for row in found for name in CHANNELS if stage_score(name) in row]
        if not found:
            break
        place = _place(found[0], room)
        if room == "rerank":
            place |= {"score": found[0].get(SCORE), "rank": found[0].get(RANK)}
        story["stages"].append(place | {"of": len(pool), "kept": found[0][KEPT], "reason": found[0].get(REASON)})
    published = _rows(tables["recommendations"], USER, user)
    story["list_length"] = len(published)
    for row in published:
        if row[ITEM] == item:
            story["shown"] = {name: row.get(name) for name in (RANK, SCORE, PROPENSITY, REASON)}
    return story


def words(story: Mapping[str, Any]) -> list[str]:
    """A trace in plain words, line by line."""
    user, item, past = story["user"], story["item"], story["history"]
    lines = [f"user {user} · item {item}" + (f" · {story['title']}" if story["title"] else "")]
    if not story["user_known"]:
        lines.append(f"  user {user} had done nothing by the as-of, so no stage ran for them")
    if not story["item_known"]:
        lines.append(f"  item {item} was not in the catalogue at the as-of, so no channel could propose it")
    if past:
        ago = f"the last {past['last_days']:.1f} days before the end of the as-of"
        lines.append(f"  history   the user has it on {past['days']} day{'s' * (past['days'] != 1)}, {ago}")
    elif story["user_known"] and story["item_known"]:
        lines.append("  history   new to the user")
    proposed = [each for each in story["channels"] if each["score"] is not None or each["rank"] is not None]
    if story["channels"]:
        silent = [each["name"] for each in story["channels"] if each not in proposed]
        told = [f"{each['name']}{_placed(each)}" for each in proposed] + (
            [f"not {', '.join(silent)}"] if silent else []
        )
        lines.append(f"  channels  {' · '.join(told)}")
    for stage in story["stages"]:
        fate = "kept" if stage["kept"] else f"removed: {explain(stage['reason'])}"
        lines.append(f"  {stage['name']:<10}{fate}{_placed(stage)}, of {stage['of']:,} candidates")
    return [*lines, f"  => {_verdict(story)}"]


def why(user: str, item: str, tables: Mapping[str, Table | pa.Table]) -> list[str]:
    """``trace`` in plain words, line by line."""
    return words(trace(user, item, tables))


def show(user: str, rows: Iterable[Row], titles: Mapping[str, str] | None = None) -> str:
    """A user's list as text.

    Args:
        user: whose list it is.
        rows: rank, item_id, and where known title, score, propensity, reason and ``taken`` (it was a good
            item).
        titles: of items by item_id, for rows without one.
    """
    ordered = sorted(rows, key=lambda row: row[RANK])
    if not ordered:
        return f"user {user} has no list of their own: the product shows the fallback list"
    widths = (4, -16, -36, 8, 8, -28)
    lines = [f"user {user}", cells(("", "  item", "title", "score", "chance", "  reason"), widths)]
    for row in ordered:
        title = row.get("title") or (titles or {}).get(row[ITEM]) or ""
        reason = f"  {row.get(REASON) or ''}{' · taken' if row.get('taken') else ''}"
        numbers = (short(row.get(SCORE)), short(row.get(PROPENSITY)), reason)
        lines.append(cells((str(row[RANK]), f"  {row[ITEM]}", title[:35], *numbers), widths).rstrip())
    return "\n".join(lines)


def explain(reason: str | None) -> str:
    """A reason code with its meaning, where it has one."""
    known = MEANING | {channel.reason: channel.meaning for channel in reversed(CHANNELS.values())}
    meanings = [told for code, told in known.items() if reason and (reason == code or reason.startswith(f"{code}:"))]
    return f"{reason} ({meanings[0]})" if meanings else reason or "no reason given"


def _verdict(story: Mapping[str, Any]) -> str:
    shown, stages = story["shown"], story["stages"]
    if story["taken_down"] is not None:
        said = f"taken down{': ' if story['taken_down'] else ''}{story['taken_down']}; no reader sees it"
        return said + (f". The run had put it at position {shown[RANK]} of {story['list_length']}" if shown else "")
    if shown:
        said = f"shown at position {shown[RANK]} of {story['list_length']}"
        said += f", reason {shown[REASON]}" if shown[REASON] else ""
        return said + (f", shown with probability {shown[PROPENSITY]:.4g}" if shown[PROPENSITY] is not None else "")
    if not story["list_length"]:
        said = "no list of their own; the fallback list applies"
        if story["fallback"] is None:
            return said
        place = f"shows it now at position {story['fallback']}" if story["fallback"] else "does not show it now"
        return f"{said}, and {place}"
    if story["fallback"]:
        return f"shown now at position {story['fallback']}, where the fallback list fills up theirs"
    if not story["item_known"]:
        return "not shown"
    if not stages:
        return f"not shown: no channel proposed it (this user had {story['candidates']:,} candidates)"
    last = stages[-1]
    if not last["kept"]:
        return f"not shown: {last['name']} removed it, {explain(last['reason'])}"
    after = (*NARROWING, "the published list")[len(stages)]
    return f"not shown: {last['name']} kept it, but it is not in {after}"


def _place(row: Row, name: str) -> dict[str, Any]:
    return {"name": name, "score": row.get(stage_score(name)), "rank": row.get(stage_rank(name))}


def _placed(place: Row) -> str:
    said = [f"score {place['score']:.4g}"] if place["score"] is not None else []
    said += [f"rank {place['rank']}"] if place["rank"] is not None else []
    return f" ({', '.join(said)})" if said else ""


def _rows(table: Table | pa.Table, column: str, value: str) -> list[dict[str, Any]]:
    where = pc.field(column) == value
    return (table.filter(where) if isinstance(table, pa.Table) else table.arrow(where=where)).to_pylist()
