"""``narrows codesign log``: the flow log of finished runs, out of the tables of the rooms that narrow."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json, asof_optional
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings

TEXT = "Write the flow log of the runs up to an as-of: candidates, how far each came, features, what was wanted."
CANDIDATES = 80
"""Of a request, by default."""


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows codesign log``."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to; a log there is replaced")
    asof_optional(parser)
    as_json(parser)
    parser.add_argument(
        "--candidates", type=int, default=CANDIDATES, metavar="N",
        help=f"of a request, as evenly as can be of those that each room removed; 0 = all (default {CANDIDATES})",
    )  # fmt: skip
    parser.add_argument(
        "--windows", type=int, default=0, metavar="N", help="the latest as-ofs that are logged; 0 = all (default)"
    )
    parser.add_argument(
        "--ranker-only", default="", metavar="FEATURES",
        help="features, separated by commas, that a design's pre-ranker is not to see",
    )  # fmt: skip


def write(settings: Settings, args: argparse.Namespace) -> int:
    """Write the log and say what it holds."""
    from narrows.cli.codesign.tables import Choice, of_runs
    from narrows.codesign.errors import CodesignError

    if args.candidates < 0 or args.windows < 0:
        raise CodesignError("--candidates and --windows are 0 or more")
    hidden = tuple(name.strip() for name in args.ranker_only.split(",") if name.strip())
    log = of_runs(settings, args.asof, Choice(args.candidates, args.windows, hidden))
    log.save(args.out)
    wanted = log.label.sum() / max(len(log), 1)
    passed = {stage: float((log.reached > at).mean()) for at, stage in enumerate(log.stages)}
    if args.json:
        facts = {"out": str(args.out), "requests": len(log), "candidates": len(log.item), "wanted": float(wanted)}
        print(json.dumps(facts | {"passed": passed, "channels": log.channels}))
        return 0
    print(f"{args.out}: {len(log):,} requests, {len(log.item):,} candidates, {wanted:.2f} of them wanted a request")
    print(f"Of these passed: {', '.join(f'{stage} {share:.1%}' for stage, share in passed.items())}")
    if log.channels:
        print(f"Recall channels, for quotas: {', '.join(log.channels)}")
    return 0


ACTION = Command(
    "log", TEXT, write, arguments, (
        ("narrows codesign log --out flow", "of all as-ofs whose horizon has passed"),
        ("narrows codesign log --asof 2017-11-30 --candidates 0 --out whole", "with every candidate"),
    ),
)  # fmt: skip
