"""``narrows codesign advise``: which training scheme a flow log is likely to gain from, how sure that is, and what would settle it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json, asof_optional
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.codesign.advise import Advice, Rule
    from narrows.settings import Settings

TEXT = "Say which training scheme is likely to pay on your flow log, how sure that is, and what would settle it."
MOST_REQUESTS = 6_000
"""The latest requests that the signs are computed from: minutes, not hours."""


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows codesign advise``."""
    parser.add_argument(
        "--log", type=Path, metavar="DIR", help="a flow log (narrows codesign log); without it, that of the runs so far"
    )
    asof_optional(parser)
    parser.add_argument(
        "--widths",
        type=int,
        nargs=2,
        default=(30, 20),
        metavar=("FIRST", "LAST"),
        help="of the cascade (default 30 20)",
    )
    as_json(parser)


def advise(settings: Settings, args: argparse.Namespace) -> int:
    """Compute the signs and apply the rule."""
    import numpy as np

    from narrows.codesign.advise import advice, load
    from narrows.codesign.design import Design
    from narrows.codesign.log import FlowLog
    from narrows.codesign.signs import signs

    rule = load()
    if args.log:
        log = FlowLog.load(args.log)
    else:
        from narrows.cli.codesign.tables import of_runs

        log = of_runs(settings, args.asof)
    if len(log) > MOST_REQUESTS:
        log = log.take(np.arange(len(log) - MOST_REQUESTS, len(log)))
    found = signs(log, Design(widths=tuple(args.widths)))
    said = advice(rule, found.values)
    if args.json:
        print(json.dumps({"signs": found.values, **asdict(said), "rule": facts(rule)}, indent=1))
        return 0
    print(text(found.values, said, rule, str(args.log) if args.log else ""))
    return 0


def facts(rule: Rule) -> dict[str, Any]:
    """How good the rule was."""
    return {name: getattr(rule, name) for name in ("worlds", "tested", "right", "commonest", "note")}


def text(values: dict[str, float], said: Advice, rule: Rule, log: str) -> str:
    """The advice for a person."""
    from narrows.codesign.signs import SIGNS

    lines = [f"{values[name]:>9.3f}  {name.replace('_', ' ')}: {meaning}" for name, meaning in SIGNS.items()]
    ranked = sorted(said.probabilities.items(), key=lambda each: -each[1])
    lines += ["", f"Likeliest to win at equal serving cost: {said.scheme} ({said.probability:.0%}). In order:"]
    lines += [
        f"  {name:<12} wins with {share:.0%}; predicted value {said.leads[name]:+.1%} of independent training's"
        for name, share in ranked
    ]
    dearer = [name for name in said.leads if name not in said.probabilities]
    lines += [f"  {name:<12} costs more to serve; predicted value {said.leads[name]:+.1%}" for name in dearer]
    lines += [
        "", f"The rule was fitted on {rule.worlds} generated worlds. Of {rule.tested} others it named the winner in {rule.right:.0%}; always "
        f"naming the commonest is right in {rule.commonest:.0%}.",
    ]  # fmt: skip
    if rule.right <= rule.commonest:
        lines.append("It is no better than that: take its order as a guess.")
    if said.beyond:
        lines.append(
            f"Your log lies outside of those worlds in {', '.join(name.replace('_', ' ') for name in said.beyond)}: a guess."
        )
    where = log or "DIR"
    before = "" if log else "narrows codesign log --out DIR, then "
    lines.append(f"What would settle it: {before}narrows codesign scheme --log {where}")
    return "\n".join(lines)


ACTION = Command(
    "advise",
    TEXT,
    advise,
    arguments,
    (
        ("narrows codesign advise", "on the runs so far"),
        ("narrows codesign advise --log flow --json", "on a flow log, as JSON"),
    ),
)
