"""``narrows codesign offpolicy``: what another policy would have earned, from a file of a log with propensities."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.codesign.offpolicy import Logged

TEXT = "Estimate what another policy would have earned from a log with propensities, with intervals."
NEEDED, OPTIONAL = ("reward", "propensity", "evaluated"), ("round", "position", "cluster", "predicted", "expected")


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows codesign offpolicy``."""
    parser.add_argument(
        "log", type=Path, metavar="FILE",
        help="Parquet or CSV, a row for each shown item: reward, propensity (of the policy that showed it), evaluated (the "
        "other policy's probability of the same); and, where there are, round, position, cluster (such as the user), "
        "predicted and expected (of a reward model)",
    )  # fmt: skip
    parser.add_argument(
        "--clip", type=float, default=10.0, metavar="W", help="largest weight of clipped and of switch (default 10)"
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=0,
        metavar="N",
        help="resamples of the clusters; 0 = normal intervals (default)",
    )
    as_json(parser)


def offpolicy(settings: None, args: argparse.Namespace) -> int:
    """Print every estimate that the file allows."""
    from narrows.codesign.offpolicy import every

    log = read(args.log)
    found = every(log, clip=args.clip, bootstrap=args.bootstrap)
    if args.json:
        print(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    from narrows.cli.layout import Block, print_blocks

    rows = [
        (each.estimator, f"{each.value:.5g}", f"[{each.low:.5g}, {each.high:.5g}]", f"{each.effective_size:,.0f}", f"{each.largest_weight:,.3g}")
        for each in found
    ]  # fmt: skip
    observed = log.reward.sum() / log.rounds
    title = f"{log.rounds:,} rounds, {len(log.reward):,} rows; the logging policy earned {observed:.5g} a round"
    print_blocks([
        Block(
            title, (-15, 12, 26, 16, 16), ("estimator", "value", "95% interval", "effective rows", "largest weight"), rows,
            [
                "", "ips, snips and doubly_robust are consistent; clipped and switch trade bias for width, and their intervals",
                "do not hold the bias, nor does that of direct (the reward model alone).",
            ],
        )
    ])  # fmt: skip
    return 0


def read(file: Path) -> Logged:
    """The log of a file.

    Raises:
        OffPolicyError: it cannot be read, or lacks a column.
    """
    import numpy as np
    import polars as pl

    from narrows.codesign.offpolicy import Logged, OffPolicyError

    try:
        frame = pl.read_csv(file) if file.suffix == ".csv" else pl.read_parquet(file)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise OffPolicyError(f"{file} cannot be read ({str(error).splitlines()[0]}): give Parquet or CSV") from error
    lacking = [name for name in NEEDED if name not in frame.columns]
    if lacking:
        raise OffPolicyError(f"{file} has no column {', '.join(lacking)}: it needs {', '.join(NEEDED)}")
    columns: dict[str, Any] = {name: frame[name].to_numpy() for name in NEEDED}
    for name in OPTIONAL:
        if name in frame.columns:
            column = frame[name]
            whole = name in ("round", "position", "cluster")
            columns[name] = column.rank("dense").cast(pl.Int64).to_numpy() if whole else column.to_numpy()
    columns.setdefault("round", np.arange(len(frame)))
    columns.setdefault("position", np.zeros(len(frame), np.int64))
    try:
        return Logged(
            **{
                name: np.asarray(column, None if name in ("round", "position", "cluster") else float)
                for name, column in columns.items()
            }
        )
    except OffPolicyError as error:
        raise OffPolicyError(f"{file}: {error}") from error


ACTION = Command(
    "offpolicy",
    TEXT,
    offpolicy,
    arguments,
    (
        ("narrows codesign offpolicy log.parquet", "IPS, SNIPS and what else the columns allow"),
        ("narrows codesign offpolicy log.csv --clip 5 --bootstrap 1000 --json", "bootstrap intervals, as JSON"),
    ),
    reads_settings=False,
)
