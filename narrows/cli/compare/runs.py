"""``narrows compare``: two or more runs side by side: settings, quality, survival, cost, lists."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.cli.compare.judged import Judged, Side
    from narrows.settings import Settings

COSTS = ("seconds", "cpu_seconds", "peak_mb", "rows_out", "past_seconds")
DEFAULT = "(default)"


def arguments(parser: ArgumentParser, pipeline: Pipeline) -> None:
    """The runs, and how to print them."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a number, run id or as-of; PATH or PATH:RUN elsewhere")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page that needs nothing else")
    as_json(parser)


def compare(settings: Settings, args: Namespace) -> int:
    """Two or more runs side by side."""
    from narrows.store.partitions import StoreError, write_text

    if len(args.runs) < 2:
        raise StoreError("give two runs or more: narrows compare 1 2. The newest have the highest numbers")
    if len(args.runs) > len(ascii_uppercase):
        raise StoreError(f"give at most {len(ascii_uppercase)} runs")
    facts = comparison([find(settings.state, text) for text in args.runs])
    if args.html:
        from narrows.cli.compare.page import page

        write_text(args.html, page(facts))
    if args.json:
        print(json.dumps(facts, indent=1))
    elif args.html:
        print(args.html)
    else:
        from narrows.cli.compare.text import text

        print(text(facts))
    return 0


def find(state: Path, which: str) -> Side:
    """The run that an argument names.

    Args:
        state: the state folder of the settings.
        which: a number, run id or as-of there; or another state folder, or that, a colon and one of the three.

    Raises:
        StoreError: there is no such run; says which there are.
    """
    from narrows.cli.compare.judged import Side
    from narrows.cli.report import record
    from narrows.store.partitions import StoreError

    folder, _, name = which.rpartition(":")
    for place, run in ((Path(which), ""), (Path(folder), name)):
        if which and str(place) != "." and (place / record.FOLDER).is_dir():
            known = record.read_all(place)
            if not known:
                raise StoreError(f"no run is recorded in {place}. Run: narrows run --asof ASOF")
            return Side(place, record.read(place, run) if run else known[-1])
    if "/" in which or (folder and Path(folder).exists()):
        raise StoreError(f"{folder or which} is no state folder with records: it has no folder {record.FOLDER}/")
    return Side(state, record.read(state, which))


def comparison(sides: Sequence[Side]) -> dict[str, Any]:
    """All that the command says, as JSON values.

    Returns:
        ``runs``: what is compared, by ``letter``; ``k`` and ``confidence``; ``settings``: those that differ; ``quality``:
        one row per list, metric and run, with ``difference`` to the first run; ``survival`` and ``cost`` likewise per
        stage; ``overlap`` of the published lists with those of the first run; ``notes``.
    """
    from narrows.cli.compare.judged import judge, overlap

    base = sides[0]
    settings, k = base.settings, max(base.settings.cutoffs)
    judged = [judge(side, settings) if side.is_judged else None for side in sides]
    runs = [_run(letter, side) for letter, side in zip(ascii_uppercase, sides, strict=False)]
    alike = [
        {"run": run["letter"], **overlap(base, side, k, settings.scene)}
        for run, side in zip(runs[1:], sides[1:], strict=True)
    ]
    return {
        "runs": runs, "k": k, "confidence": settings.confidence, "settings": different_settings(sides),
        "quality": _quality(judged, settings), "survival": _survival(sides), "cost": _cost(sides),
        "overlap": alike, "notes": _notes(sides, judged),
    }  # fmt: skip


def _run(letter: str, side: Side) -> dict[str, Any]:
    kept = ("number", "run_id", "asof", "name", "source", "horizon", "code", "recorded_at", "design")
    record = {key: side.record[key] for key in kept}
    serving = side.record["facts"]["serving"]
    return {"letter": letter, **record, "state": str(side.state), "judged": side.is_judged,
            "users": side.record["facts"]["users"], "release": serving.get("release_id", "")}  # fmt: skip


def different_settings(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """The settings that are not the same in all runs, with the value of each."""
    flat = [_flat(side.record["settings"]) | side.record["design"] for side in sides]
    flat = [
        {key: side.record[key] for key in ("source", "horizon", "grain")} | each
        for side, each in zip(sides, flat, strict=True)
    ]
    names = dict.fromkeys(name for each in flat for name in each)
    rows = [{"name": name, "values": [each.get(name, DEFAULT) for each in flat]} for name in names]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def _quality(judged: Sequence[Judged | None], settings: Any) -> list[dict[str, Any]]:
    from narrows.cli.compare.judged import differences

    base = judged[0]
    against = [
        differences(base, each, settings) if at and base and each else {} for at, each in enumerate(judged)
    ]  # fmt: skip
    keys = dict.fromkeys(key for each in judged if each for key in each.values)
    return [
        {"list": name, "metric": metric, "run": letter, "value": float(each.values[name, metric].mean()),
         "difference": against[at].get((name, metric))}
        for name, metric in keys
        for at, (letter, each) in enumerate(zip(ascii_uppercase, judged, strict=False))
        if each and (name, metric) in each.values
    ]  # fmt: skip


def _survival(sides: Sequence[Side]) -> list[dict[str, Any]]:
    facts = [side.record["facts"] for side in sides]
    found = [
        {stage["room"]: stage["survival"] for stage in each["stages"]} | {"joint": each["joint_survival"]}
        for each in facts
    ]
    rooms = [*dict.fromkeys(room for each in facts for room in each["narrowing"]), "joint"]
    return [
        {
            "stage": room,
            "run": letter,
            "value": each.get(room),
            "difference": _less(each.get(room), found[0].get(room), at),
        }
        for room in rooms
        for at, (letter, each) in enumerate(zip(ascii_uppercase, found, strict=False))
    ]


def _cost(sides: Sequence[Side]) -> list[dict[str, Any]]:
    """One row per stage and run, then the totals; ``shared``: the same version as the first run's."""
    stages = [{stage["room"]: stage for stage in side.record["facts"]["stages"]} for side in sides]
    versions = [{room: table["version"] for room, table in side.record["tables"].items()} for side in sides]
    for each in stages:
        total: dict[str, Any] = {
            key: sum(stage[key] or 0 for stage in each.values()) for key in COSTS if "seconds" in key
        }
        each["all"] = total | {"peak_mb": max(stage["peak_mb"] or 0 for stage in each.values()), "rows_out": None}
    rows = []
    for room in dict.fromkeys(room for each in stages for room in [*list(each)[:-1]]) | {"all": None}:
        for at, (letter, each) in enumerate(zip(ascii_uppercase, stages, strict=False)):
            if room in each:
                first = stages[0].get(room, {})
                rows.append({
                    "stage": room, "run": letter, **{key: each[room][key] for key in COSTS},
                    "difference": {key: _less(each[room][key], first.get(key), at) for key in COSTS},
                    "shared": bool(at) and room in versions[at] and versions[at][room] == versions[0].get(room),
                })  # fmt: skip
    return rows


def _less(value: float | None, first: float | None, at: int) -> float | None:
    return None if not at or value is None or first is None else value - first


def _notes(sides: Sequence[Side], judged: Sequence[Judged | None]) -> list[str]:
    lines, base = [], sides[0]
    for letter, side, each in list(zip(ascii_uppercase, sides, judged, strict=False))[1:]:
        if not (each and judged[0]):
            waits = "A" if not judged[0] else letter
            lines.append(f"{letter}: no quality to compare: run {waits} is not judged yet")
        elif judged[0].pairs_with(each):
            lines.append(f"{letter}: the same {len(each.users):,} users judge both; differences are paired")
        else:
            why = "as-ofs differ" if side.asof != base.asof else "judged users differ"
            lines.append(f"{letter}: the {why}, so quality is compared unpaired: intervals are wider")
        if side.settings.cutoffs != base.settings.cutoffs or side.settings.scene != base.settings.scene:
            lines.append(f"{letter}: judged here with the cut-offs and the scene of A")
    return lines


COMMAND = Command(
    "compare",
    "Runs side by side, each against the first: settings, quality, cost, lists.",
    compare,
    arguments,
    (
        ("narrows compare 1 2", "two runs by number, run id or as-of (the newest run of it)"),
        ("narrows compare 1 2 3 --html compare.html", "three runs as a page"),
        ("narrows compare 2 ../other/var", "with the newest run of another state folder"),
        ("narrows compare 2 ../other/var:3 --json", "with its run 3"),
    ),
)
