"""The command ``gc``: what no window, run, release or reader needs is listed, or removed."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.run.needed import Kept
    from narrows.settings import Settings
    from narrows.store.partitions import Store

KEEP_RUNS = 5
GRACE = "1h"
UNITS = ("B", "KB", "MB", "GB", "TB")
WIDTHS = (-18, -17, -34, 10, -14)


def gc(settings: Settings, args: Namespace) -> int:
    """List what nothing needs; with ``--yes`` remove it."""
    from narrows.store.partitions import open_store

    store = open_store(settings)
    with store.lock("narrows gc"):
        facts = collected(settings, store, args.keep_runs, args.grace, args.yes)
    print(json.dumps(facts, indent=1) if args.json else "\n".join(lines(facts)))
    return 0


def collected(settings: Settings, store: Store, keep_runs: int, grace: str, yes: bool) -> dict[str, Any]:
    """What is left over, as JSON values, and with ``yes`` removed; only for who holds the store's lock.

    Returns:
        ``removed``: whether anything could be; ``leftovers``: ``kind``, ``table``, ``asof``, ``name``, ``size`` in bytes,
        ``ready`` (False: it goes with a later call, see ``grace``) and ``removed``; ``audits``: pages of the data docs of
        versions that are gone; ``size`` of all tables before, ``free``: bytes that the leftovers take; ``kept``: numbers
        of runs, ids of releases, the ``newest`` lists and how many versions.
    """
    from datetime import timedelta

    from narrows.audit import site
    from narrows.durations import parse
    from narrows.run.needed import needed
    from narrows.store.garbage import garbage_of

    garbage = garbage_of(store, parse(grace) if grace != "0" else timedelta())
    versions, (runs, releases) = garbage.versions(), roots(settings, keep_runs)
    newest = newest_lists(settings, store, releases)
    names = needed(settings, versions, [*runs.values(), *(kept for kept, _ in releases.values())], newest)
    leftovers, size = garbage.leftovers(names), garbage.size()
    done = set(garbage.remove(leftovers) if yes else [])
    docs = settings.state / "data_docs"
    gone = {(each.table, each.asof, each.name) for each in leftovers if each in done or (not yes and each.ready)}
    stay = {each.name for each in versions if (each.table, each.asof, each.name) not in gone}
    outdated = site.outdated(docs, stay)
    if yes and outdated:
        with site.alone(docs):
            site.forget(docs, site.outdated(docs, stay))
    return {
        "removed": yes,
        "leftovers": [
            {"kind": each.kind, "table": each.table, "asof": each.asof, "name": each.name, "size": each.size,
             "ready": each in done or (each.ready and not yes), "removed": each in done}
            for each in leftovers
        ],
        "audits": len(outdated), "size": size, "free": sum(each.size for each in leftovers), "grace": grace,
        "kept": {"runs": list(runs), "releases": list(releases), "newest": str(newest or ""),
                 "versions": len(versions) - sum(each.kind == "version" for each in leftovers)},
    }  # fmt: skip


def roots(settings: Settings, keep_runs: int) -> tuple[dict[int, Kept], dict[str, tuple[Kept, bool]]]:
    """The runs to keep, by number, and the releases that the serving database has, each with whether it is live."""
    from narrows.asof import Asof
    from narrows.cli.report import record
    from narrows.config.sections import PipelineSettings, length_of
    from narrows.durations import parse
    from narrows.run.needed import Kept, windows
    from narrows.serving import kept as in_database
    from narrows.store.partitions import VERSION_DIGITS

    runs = {}
    for made in record.read_all(settings.state)[::-1][:keep_runs]:
        count = windows(settings, made["design"].get("pipeline.windows", PipelineSettings().windows))
        versions = tuple(table["version"] for table in made["tables"].values())
        asof = Asof.parse(made["asof"], length_of(made["grain"]))
        runs[made["number"]] = Kept(asof, parse(made["horizon"]), count, versions)
    releases = {}
    for row in in_database.releases(settings.serving_url):
        try:
            asof = settings.asof(row["asof"])
        except ValueError:
            continue  # of another grain, whose partitions stay
        inputs = filter(_is_text, row["manifest"].get("inputs", {}).values())
        own = str(row["manifest"].get("fingerprint", ""))[:VERSION_DIGITS]
        kept = Kept(asof, settings.source.horizon_length, windows(settings), (own, *inputs))
        releases[row["release_id"]] = kept, row["live"]
    return runs, releases


def newest_lists(settings: Settings, store: Store, releases: dict[str, tuple[Kept, bool]]) -> Asof | None:
    """The as-of of the live release, else of the newest lists: a replay far ahead is not where the next run goes on."""
    from narrows.run.missed import publisher

    lists = store.partitions(publisher(settings.pipeline))
    live = [kept.asof for kept, is_live in releases.values() if is_live and kept.asof in lists]
    return live[0] if live else lists[-1] if lists else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def lines(facts: dict[str, Any]) -> list[str]:
    """What was found or done, in words."""
    from narrows.cli.layout import cells

    found, kept = facts["leftovers"], facts["kept"]
    said = []
    if found:
        said.append(cells(("table", "as of", "what", "size", ""), WIDTHS))
    for each in found:
        what = f"{each['kind']} {each['name']}"
        state = "removed" if each["removed"] else "" if each["ready"] else "  later"
        said.append(cells((each["table"], each["asof"], what, size(each["size"]), f"  {state.strip()}"), WIDTHS))
    runs = f"the last {len(kept['runs'])} run{'s' * (len(kept['runs']) != 1)}"
    said.append(
        f"kept: {kept['versions']:,} versions, for {runs}, {len(kept['releases'])} releases of the serving database"
        + (f", and the next runs after {kept['newest']}" if kept["newest"] else "")
    )
    free, all_of_it = size(facts["free"]), size(facts["size"])
    later = [each for each in found if not each["ready"]]
    if not found and not facts["audits"]:
        return [*said, f"nothing is left over; the tables take {all_of_it}"]
    audits = f" and {facts['audits']} pages of the data docs" if facts["audits"] else ""
    if later:
        said.append(
            f"{len(later)} ({size(sum(each['size'] for each in later))}) go later: a reader may have opened them less than "
            f"{facts['grace']} ago. Run narrows gc --yes again then"
        )
    if facts["removed"]:
        done = [each for each in found if each["removed"]]
        freed = size(sum(each["size"] for each in done))
        return [*said, f"removed: {len(done)} of {len(found)} leftovers, {freed} of {all_of_it}{audits}"]
    return [
        *said,
        f"{len(found)} leftovers, {free} of {all_of_it}{audits}. Nothing was removed: narrows gc --yes does it",
    ]


def size(count: float) -> str:
    """Bytes for people: ``12.3 MB``."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.1f} {UNITS[unit]}" if unit else f"{count:.0f} B"


def _whole(text: str) -> int:
    """A count from 0 on."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)


def _duration(text: str) -> str:
    """0, or a duration."""
    from narrows.durations import parse

    try:
        return text if text == "0" else text * bool(parse(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{str(error).rstrip('.')}, or 0") from None


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``gc``."""
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="only list what nothing needs (the default)")
    way.add_argument("--yes", action="store_true", help="remove it")
    parser.add_argument(
        "--keep-runs", type=_whole, default=KEEP_RUNS, metavar="N",
        help=f"how many of the last recorded runs stay readable and comparable (default {KEEP_RUNS})",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=_duration, default=GRACE, metavar="DURATION",
        help=f"how long a reader may go on with a version after its pointer has moved, such as 30m, 1h or 0 (default {GRACE})",
    )  # fmt: skip
    as_json(parser)


COMMAND = Command(
    "gc", "List, or remove, the versions of tables that nothing needs.", gc, arguments, (
        ("narrows gc", "what no window, recorded run or release needs, with its size"),
        ("narrows gc --yes --keep-runs 2", "remove it; the last two runs stay comparable"),
    ),
)  # fmt: skip
