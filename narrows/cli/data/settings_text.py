"""The text of a guessed ``narrows.toml``, and the lines that say what was guessed."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping

from narrows import durations
from narrows.columns import EVENT_TIME, EVENT_TYPE, INGESTED_AT, ITEM, SESSION, USER, VALUE
from narrows.source.guess import Guess
from narrows.source.guess_kinds import guessed_kinds, in_words
from narrows.source.looked import Looked, day
from narrows.source.mapped import COLUMNS
from narrows.source.rhythm import Rhythm, guessed_horizon
from narrows.source.urls import redacted

WIDTH = 116
SECTIONS = {"events": "event_columns", "items": "item_columns", "users": "user_columns"}
KINDS = {"order": "purchase", "purchase": "purchase", "transaction": "purchase", "sale": "purchase", "click": "click",
         "rating": "rating", "review": "review", "view": "view", "play": "play", "watch": "view", "listen": "listen"}  # fmt: skip
"""What the name of a file or of the value says of its events."""
RATING = re.compile(r"rating|stars|score", re.I)
KNOWN = {"items": 0.9, "users": 0.1}
"""A side table that has a smaller share of the events' ids may be another one's; few sources know all their users."""
LISTED_KINDS = 12


def settings_text(tables: Mapping[str, Looked], known: Mapping[str, float], more: str = "") -> tuple[str, list[str]]:
    """The settings file, and what to say on the terminal.

    Args:
        tables: the tables that were looked at: ``events``, and ``items`` and ``users`` where there are any.
        known: of the sampled events' ids the share that a table has, by the table.
        more: sections to add.
    """
    events = tables["events"]
    seen = events.rhythm
    horizon, why = guessed_horizon(seen)
    grain = "hour" if horizon < durations.parse("1d") else "day"
    notes = warnings(events, tables, known)
    facts = (
        f"{seen.events:,} events of {seen.users:,} users and {seen.items:,} items, "
        f"{day(seen.begins)} to {day(seen.ends)} (UTC)."
    )
    lines = [
        f"# Settings of Narrows, guessed by `narrows init` from {plain(redacted(events.url))}. All keys: docs/settings.md.",
        "",
        "[source]",
        'name = "files"',
    ]
    lines += [*comment(facts), f"events = {toml(events.url)}"]
    lines += [f"{name} = {toml(tables[name].url)}" for name in ("items", "users") if name in tables]
    lines += ["", "# The horizon: how long a list serves, is labelled with and judged on. A guess:"]
    lines += [line for reason in why for line in comment(reason)]
    lines += [f"horizon = {toml(durations.text(horizon))}", f"grain = {toml(grain)}", ""]
    lines += list(_kinds(events))
    for name, looked in tables.items():
        lines += [
            "",
            f"[source.{SECTIONS[name]}]  # our name = your column, or a Spark SQL expression over your columns",
        ]
        lines += _columns(name, looked)
    lines += list(_kinds_table(events))
    lines += ["", "[store]", 'root = "var"  # the state folder: tables, models, the serving database', ""]
    if notes:
        lines += ["# What to look at:", *(line for note in notes for line in comment(f"- {note}")), ""]
    kinds, _ = guessed_kinds(_types(events))
    meant = [f"event types: {plain(in_words(kinds))} (a guess from their names: [source.kinds])"] if kinds else []
    return "\n".join([*lines, more]) if more else "\n".join(lines), [
        *_table(tables),
        *meant,
        "",
        *said(facts, durations.in_words(horizon), grain, why, notes, seen),
    ]


def said(facts: str, horizon: str, grain: str, why: list[str], notes: list[str], seen: Rhythm) -> list[str]:
    """What the terminal says below the table of columns."""
    lines = [facts, f"horizon {horizon}, grain {grain}, because:", *[f"  {line}" for line in why]]
    return [*lines, *[line for note in notes for line in textwrap.wrap(f"!! {note}", WIDTH, subsequent_indent="   ")]]


def warnings(events: Looked, tables: Mapping[str, Looked], known: Mapping[str, float]) -> list[str]:
    """What could not be guessed, or may be wrong."""
    notes = []
    found = events.guesses.found
    time = found[EVENT_TIME]
    if time.written and time.written.either:
        notes.append(f"{time.column}: every value could be day/month or month/day; {time.written.spark} was taken.")
    if time.written and time.written.share < 1:
        notes.append(f"{time.column}: {1 - time.written.share:.1%} of the sampled times cannot be read.")
    if len(events.kinds) > 1:
        kinds, unsure = guessed_kinds(_types(events))
        if not kinds:
            notes.append(
                "Every row counts as a positive, whatever its event_type: say in [source.kinds] what each means."
            )
        elif unsure:
            notes.append(
                f"event_type {', '.join(map(plain, unsure[:5]))}: taken for context, as the name says nothing."
            )
    if VALUE in found and (rated := RATING.search(found[VALUE].column)):
        low = '[source] where = "value >= 4" would leave it out'
        notes.append(f"Every row counts as a positive, also a low {rated[0].lower()}: {low}.")
    if below := events.share_below_zero():
        notes.append(
            f"{found[VALUE].column} is below zero in {below:.1%} of the sampled rows (returns?). Every row counts as a positive: "
            '[source] where = "value > 0" would leave these out.'
        )
    if missing := events.share_without_user():
        remedy = (
            "[source] anonymous = true makes users of their sessions"
            if SESSION in found
            else "map a column that has one"
        )
        notes.append(f"{found[USER].column} is empty in {missing:.1%} of the sampled rows: {remedy}.")
    for name, key in (("items", ITEM), ("users", USER)):
        share = known.get(name, 1.0)
        if share < KNOWN[name]:
            theirs, ours = tables[name].guesses.found[key].column, found[key].column
            doubt = "" if theirs == ours else f" Is {theirs} the same id as {ours}?"
            notes.append(f"{name}: only {share:.0%} of the sampled events' {key} are in it.{doubt}")
    if "items" not in tables:
        notes.append("No table of items: lists know no categories, so no caps by category and less diversity.")
    return notes


def _table(tables: Mapping[str, Looked]) -> Iterator[str]:
    for name, looked in tables.items():
        yield f"{name}: {redacted(looked.url)}"
        mapping = looked.mapping()
        for ours in COLUMNS[SECTIONS[name]]:
            guess = looked.guesses.found.get(ours)
            text = mapping[ours] if guess else "-"
            yield f"  {ours:<12} {text:<32}  {_why(guess) if guess else 'not found; optional'}"
        if name != "items" or looked.url != tables["events"].url:
            yield from textwrap.wrap(
                f"unused: {', '.join(looked.guesses.unused) or 'none'}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent="    ",
            )


def _why(guess: Guess) -> str:
    return guess.why + (f"; or {', '.join(guess.others)}?" if guess.others else "")


def _columns(name: str, looked: Looked) -> Iterator[str]:
    mapping = looked.mapping()
    for ours in COLUMNS[SECTIONS[name]]:
        guess = looked.guesses.found.get(ours)
        if guess:
            yield f"{ours} = {toml(mapping[ours])}  # {plain(_why(guess))}"
        elif ours != INGESTED_AT and not (ours == EVENT_TYPE and name == "events"):
            yield f'# {ours} = "..."  # not found; optional'
        elif ours == INGESTED_AT:
            yield '# ingested_at = "..."  # when the row arrived; not found: events count as arrived when they happened'


def _kinds(events: Looked) -> Iterator[str]:
    if kinds := events.kinds:
        shown = ", ".join(f"{plain(kind) or 'none'} {count:,}" for kind, count in kinds[:LISTED_KINDS])
        rest = f" and {len(kinds) - LISTED_KINDS} more" if len(kinds) > LISTED_KINDS else ""
        yield from comment(f"Types of events in the file: {shown}{rest}. What each means: [source.kinds] below.")
        return
    hints = [
        events.url.rsplit("/", 1)[-1].lower(),
        events.guesses.found[VALUE].column.lower() if VALUE in events.guesses.found else "",
    ]
    kind = next((kind for hint in hints for word, kind in KINDS.items() if word in hint), "event")
    yield f"event_type = {toml(kind)}  # the type of every event, as no column tells it"


def _types(events: Looked) -> list[str]:
    """The event types as a run reads them: a row without one is an ``event``."""
    return [kind or "event" for kind, _ in events.kinds]


def _kinds_table(events: Looked) -> Iterator[str]:
    """The section ``[source.kinds]``, where the types' names say what they mean."""
    kinds, _ = guessed_kinds(_types(events))
    if kinds:
        yield ""
        yield "[source.kinds]  # what each event type means, guessed from its name"
        for kind, names in kinds.items():
            yield f"{kind} = [{', '.join(map(toml, names))}]"


def comment(text: str) -> list[str]:
    """A text as lines of a TOML comment."""
    return textwrap.wrap(plain(text), WIDTH, initial_indent="# ", subsequent_indent="# ")


def plain(text: str) -> str:
    """A text from a file, fit for a comment of one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def toml(text: str) -> str:
    """A TOML string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
