"""``python -m bench.rank_fit [--rows 2000000]``: rank's fit on the examples of a finished run, and on as many as asked for.

Further rows are the same ones under other user ids. Prints Markdown, a part of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

from bench import machine
from narrows.asof import Asof
from narrows.columns import USER
from narrows.engine.cost import meter
from narrows.run import reads
from narrows.run.runner import Runner
from narrows.sampling import bounded
from narrows.settings import load_settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.rank_fit", description=__doc__)
    parser.add_argument("--asof", type=Asof.parse, default=Asof.parse("2017-11-30"), help="a day that was run")
    parser.add_argument("--file", type=Path, help="the settings file (default: narrows.toml here, if there is one)")
    parser.add_argument("--rows", type=int, default=2_000_000, help="the examples of the larger fit")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    runner = Runner(load_settings(args.file))
    room: Any = runner.room("rank")
    tables = reads.resolve(runner, room, room.fit, args.asof)
    given = reads.arguments(runner, room.fit, tables, args.asof)
    print(f"Machine: {machine.processor()}.\n")
    print(
        "| examples | users | seconds: median (least to most) | CPU s | peak of the process, MB |\n|---|---|---|---|---|"
    )
    own = sum(table.rows for table in given["examples"].values())
    for copies in sorted({1, max(1, math.ceil(args.rows / own))}):
        spent = []
        for _ in range(args.runs):
            rows, profiles = several(given, copies)
            count, users = rows.num_rows, len(rows[USER].unique())
            with meter() as cost:
                started = time.perf_counter()
                fit(room, rows, profiles, given)
                spent.append(time.perf_counter() - started)
            del rows, profiles
        times = machine.Times(tuple(spent))
        print(f"| {count:,} | {users:,} | {times.per(1)} | {cost.cpu_seconds:.1f} | {cost.peak_mb:,.0f} |", flush=True)


def several(given: dict[str, Any], copies: int) -> tuple[Any, dict[Any, Any]]:
    """The examples, and the users' profiles by as-of, as often as asked for, each time under other user ids."""
    import pyarrow as pa

    from stages.rank.windows import sequences_of

    rows = bounded(given["examples"], 1 << 62)
    profiles = sequences_of(rows, given["user_profiles"])
    return (
        pa.concat_tables([renamed(rows, copy) for copy in range(copies)]),
        {asof: pa.concat_tables([renamed(table, copy) for copy in range(copies)]) for asof, table in profiles.items()},
    )


def renamed(table: Any, copy: int) -> Any:
    """The same rows of other users; those of copy 0 as they are."""
    import pyarrow.compute as pc

    if not copy:
        return table
    names = pc.binary_join_element_wise(table[USER], f"copy {copy}", "|")
    return table.set_column(table.column_names.index(USER), USER, names)


def fit(room: Any, rows: Any, profiles: dict[Any, Any], given: dict[str, Any]) -> None:
    """As the room does."""
    from stages.rank.fit import fitted, prepared

    fitted(room, prepared(room, rows, profiles), given["item_profiles"].arrow(), given["horizon"])


if __name__ == "__main__":
    main()
