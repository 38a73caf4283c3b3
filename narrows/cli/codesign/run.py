"""``narrows codesign FILE``: run an experiment, or go on with it, and write what it says."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.codesign.experiment import Planned
    from narrows.codesign.log import FlowLog
    from narrows.codesign.summary import Summary
    from narrows.settings import Settings

TEXT = "Run an experiment: train each design alike, judge and price it, and say which to run."


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows codesign run``."""
    parser.add_argument(
        "experiment", type=Path, metavar="FILE",
        help="the experiment (TOML), or the name of a ready one, such as widths; all: docs/codesign.md",
    )  # fmt: skip
    parser.add_argument(
        "--log",
        type=Path,
        metavar="DIR",
        help="another flow log than the file's (narrows codesign log); results are named after it",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="designs that are trained at once (default 1)")
    parser.add_argument(
        "--design", type=int, metavar="N", help="run this one alone, counted from 1, and write no report"
    )
    parser.add_argument(
        "--list", action="store_true", dest="only_list", help="say which designs it has, and run nothing"
    )
    as_json(parser)


def run(settings: Settings, args: argparse.Namespace) -> int:
    """Run the experiment; a second call goes on with what is not there yet."""
    from narrows.codesign.errors import CodesignError
    from narrows.codesign.experiment import read

    planned = read(args.experiment, args.log)
    if args.jobs < 1:
        raise CodesignError(f"--jobs {args.jobs}: give 1 or more")
    if args.only_list:
        return _listed(planned, args.json)
    only = None
    if args.design is not None:
        only = args.design - 1
        if not 0 <= only < len(planned.designs):
            raise CodesignError(f"--design {args.design}: {planned.file} has the designs 1 to {len(planned.designs)}")
    from narrows.cli.codesign.tables import of_runs
    from narrows.codesign.execute import execute
    from narrows.codesign.matching import matched
    from narrows.codesign.source import prepare

    def runs(asof: str) -> FlowLog:
        return of_runs(settings, asof)

    if any(design.cost == "equal" for design in planned.designs):
        planned = matched(planned, prepare(planned, settings.state, runs))
    results = execute(planned, settings.state, jobs=args.jobs, only=only, runs=runs)
    if only is not None:
        print(planned.names[only])
        return 0
    from narrows.codesign.summary import summarise

    summary = summarise(planned, results)
    report = publish(settings, summary)
    print(json.dumps(facts(summary, report), indent=1) if args.json else text(summary, report))
    return 0


def publish(settings: Settings, summary: Summary) -> Path:
    """Write the results' folder and the report, and log the experiment to MLflow; the report's path."""
    from narrows.cli.codesign.views import experiment_tags
    from narrows.codesign import report, tracked
    from narrows.codesign.tables import save
    from narrows.tracking.runs import tracking

    file = report.write(summary, settings.state)
    save(summary, settings.state)
    artifacts = None if settings.mlflow.tracking_uri else settings.state / "mlartifacts"
    experiment = tracked.log(summary, file, settings.tracking_uri, artifacts)
    client = tracking(settings.tracking_uri)
    for name, value in experiment_tags(summary).items():
        client.set_experiment_tag(experiment, name, value)
    return file


def facts(summary: Summary, report: Path) -> dict[str, Any]:
    """What was found, as JSON values."""
    from narrows.codesign.tables import row_of
    from narrows.codesign.verdict import verdict

    return {
        "experiment": summary.planned.experiment.name, "report": str(report), "verdict": verdict(summary),
        "designs": [row_of(summary, at) for at in range(len(summary.rows))],
    }  # fmt: skip


def text(summary: Summary, report: Path) -> str:
    """The same for a person."""
    from narrows.cli.layout import Block
    from narrows.codesign.verdict import plain, verdict

    metric, currency = summary.planned.experiment.main_metric, summary.planned.experiment.prices.currency
    rows = [
        (row.name, plain(row.quality), f"{row.money:.3g}", f"{row.metrics['flops'] / 1e6:.3g}", "front" if at in summary.front else "")
        for at, row in sorted(enumerate(summary.rows), key=lambda each: -each[1].quality.value)
    ]  # fmt: skip
    width = max(20, *(len(row[0]) for row in rows)) + 1
    header = ("design", f"{metric} [95%]", f"{currency}/1e9 requests", "MFLOP/request", "")
    table = Block("", (-min(width, 40), 26, 18, 14, 7), header, rows)
    return "\n".join([*table.lines(), "", *verdict(summary), "", f"Report: {report}"])


def _listed(planned: Planned, as_json: bool) -> int:
    from narrows.codesign.designs import flat

    if as_json:
        print(
            json.dumps(
                [
                    {"design": at, "name": name, **flat(design)}
                    for at, (name, design) in enumerate(zip(planned.names, planned.designs, strict=True), 1)
                ]
            )
        )
        return 0
    print("\n".join(f"{at:>3} {name}" for at, name in enumerate(planned.names, 1)))
    return 0


ACTION = Command(
    "run",
    TEXT,
    run,
    arguments,
    (
        ("narrows codesign widths", "a ready experiment: how many candidates should each stage keep?"),
        ("narrows codesign my-question.toml --jobs 2", "your own, two designs at once; again: goes on where it was"),
        ("narrows codesign scheme --log flow", "a ready one, on the log that `narrows codesign log` wrote"),
        ("narrows codesign my-question.toml --list", "its designs, without running them"),
    ),
)
