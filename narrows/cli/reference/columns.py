"""The columns of every table, for ``docs/tables.md``: names and types of a finished run, kept in ``docs/columns.json``.

python -m narrows.cli.reference.columns     # writes that file from the newest run of the state folder
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from narrows.asof import Asof
from narrows.settings import load_settings
from narrows.store.partitions import Store, open_store

FILE = Path(__file__).parents[3] / "docs" / "columns.json"
MEANINGS = {
    "asof": "the as-of at which the candidates were offered",
    "available_at": "when the item could be had first (UTC); null = the source does not say",
    "batch_id": "the partition that wrote the row",
    "brand": "the item's brand",
    "category": "the item's category",
    "columns": "the source's columns with their types, as JSON of Spark's schema",
    "context": "where it happened: a shop, a device, a region",
    "department": "the item's department",
    "detail": "what the number is of, where the other columns do not say it: a segment, a bin, a reason",
    "event_time": "when it happened (UTC)",
    "event_type": "what happened",
    "expires_at": "until when the row may be served (UTC)",
    "file": "a file of the source's events",
    "high": "upper end of the 95 % interval",
    "ingested_at": "when it arrived (UTC)",
    "item_id": "the item",
    "k": "the length of the list that is judged; 0 = no length",
    "kept": "whether the row goes on to the next room",
    "kind": "of an event: what its type means; in the evaluation what is measured: a stage, a channel, a baseline, a difference",
    "known": "the day or hour by which it had happened and arrived; names the folder",
    "label": "1 = the user took the item within the horizon",
    "list": "whose list",
    "low": "lower end of the 95 % interval",
    "metric": "the measure",
    "new": "whether the user had not had the item before",
    "open": "whether the file has rows that the as-of does not know yet",
    "passed": "how many stages the item passed",
    "population": "whose users: all, those served, a segment",
    "label_weight": "of a positive the weight of its event type, else 1",
    "position": "the place in the published list; of an exposure the place where it was shown",
    "price": "price of one",
    "propensity": "the exact probability that the item is in the list; of an exposure that it was shown, by the source",
    "rank": "the place in the list, 1 = first",
    "reason": "why the row was removed; in lists: what put it there",
    "recall_reason": "the reason of the channel that ranks the item best",
    "release_id": "the release",
    "scene": "the surface of the product",
    "score": "the probability that the user takes the item within the horizon",
    "segment": "the user's segment",
    "session_id": "the basket or session",
    "shadow_score": "what the room's model scores, also where a simple order takes its place; later rooms do not receive it",
    "stage_reached": "the last stage that kept the item",
    "stamp": "the file's size, and its time or ETag",
    "subcategory": "the item's subcategory",
    "title": "the item's title",
    "user_id": "the user",
    "users": "how many users the number is of",
    "value": "the number; in events: the quantity",
    "weight": "the inverse of the share that was sampled; of an event the label weight of a positive",
}
"""Of columns that are no feature."""


def columns(store: Store, asof: Asof, rooms: Sequence[str]) -> dict[str, dict[str, str]]:
    """Column names and Arrow types by table; a side table is named ``room/side``."""
    found: dict[str, dict[str, str]] = {}
    for room in rooms:
        table = store.current(room, asof)
        assert table is not None, f"no {room} as of {asof}"
        found[room] = {field.name: str(field.type) for field in table.dataset().schema}
        for side in table.sides:
            found[f"{room}/{side}"] = {field.name: str(field.type) for field in table.side(side).dataset().schema}
    return found


def lines(room: str) -> list[str]:
    """The columns of a room's table and of its side tables, as Markdown tables."""
    known = json.loads(FILE.read_text())
    text: list[str] = []
    for name in [room, *(name for name in known if name.startswith(f"{room}/"))]:
        if name not in known:
            continue
        if name != room:
            text += [f"Beside it: `{name.partition('/')[2]}`", ""]
        text += ["| column | type | what |", "|---|---|---|"]
        text += [f"| `{column}` | {kind} | {_meaning(column)} |" for column, kind in known[name].items()] + [""]
    return text


def _meaning(column: str) -> str:
    if column in MEANINGS:
        return MEANINGS[column]
    for ending, what in (("_score", "score"), ("_rank", "place, 1 = best")):
        if column.endswith(ending):
            return f"{what} by {column.removesuffix(ending)}; null = not proposed"
    if column.startswith("rank_after_"):
        return f"place after the step {column.removeprefix('rank_after_')}"
    return "see [features](features.md)"


if __name__ == "__main__":
    settings = load_settings()
    store = open_store(settings)
    newest = store.partitions(settings.pipeline.names[-1])[-1]
    FILE.write_text(json.dumps(columns(store, newest, settings.pipeline.names), indent=1) + "\n")
