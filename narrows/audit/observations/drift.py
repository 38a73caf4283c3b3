"""How far the distribution of a column has moved: the population stability index.

For shares p of the reference and q of the new rows in the bins of the reference's deciles, nulls a bin of their own,
PSI = sum((q - p) * ln(q / p)) (Siddiqi, Credit Risk Scorecards, 2006; twice a symmetrised Kullback-Leibler divergence).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from narrows.audit.observations.periods import REFERENCE, by_period, new_periods, slots
from narrows.audit.observations.subject import LEAST, Measured, Subject

SAMPLE = 5_000
"""Rows that a distribution is sketched from, evenly spread over the table."""
BINS = 10
SCALES = (1.0, 0.9, 1.1)
NO_SHARE = 1e-4
"""Stands for the share of an empty bin, whose logarithm there is not."""
CATEGORIES = 20
"""Values of a text column up to which they are bins; others have no drift."""
UNTRIED = 1.0
"""What a column that is named in full may drift while fewer than three earlier partitions say how much it does."""
FEWEST = 20
"""Rows below which there is no distribution to speak of."""
LITTLE = 0.01
"""A column had values where more than this share of its rows did."""
AGE = ("age(", ")")


def drift(subject: Subject, columns: str, period: str = "") -> Measured:
    """The PSI of each column, less what chance makes of so few rows, and less twice the most that it has drifted before.

    How much it drifts three earlier partitions say. Until then the columns of a pattern are left out (days since the first
    event move with every partition), and one that is named in full may drift by 1.

    Against the partition of the same weekday and hour, else of the same hour, else the one before; with ``period``, a
    column that names the rows' folders, of the rows of new periods against those of the same weekdays or hours before.
    ``age(x)`` is the time in days from an instant x to the end of the period by which the row was known.
    """
    measure = f"drift({columns}, {period})" if period else f"drift({columns})"
    earlier = subject.earlier(measure)
    if period:
        now, reference = _of_periods(subject, columns, period)
        against = "such periods before"
    else:
        names = subject.columns(columns)
        now, alike = sampled(subject.batches(names), names, subject.rows), subject.alike(earlier)
        reference, against = earlier[alike]["sketches"] if alike else {}, str(alike)
    values, moved, sketches = [], {}, {}
    for name, rows in now.items():
        before, sketch = reference.get(name), sketched(rows)
        if before is not None and not isinstance(before, dict):
            before = sketched(before)
        if sketch and not period:
            sketches[name] = sketch
        if not before or len(rows) < FEWEST or before["rows"] < FEWEST:
            continue
        moved[name] = round(index(before, rows), 4)
        usual = [each["moved"][name] for each in earlier.values() if name in each["moved"]]
        if len(usual) < LEAST and name != columns:
            continue
        allowed = 2 * max(usual) if len(usual) >= LEAST else UNTRIED
        said = f"{name} moved by a PSI of {moved[name]:.3g} against {against}, {_usual(usual)}"
        values.append((said, moved[name] - allowed))
    return Measured(values, {"moved": moved, "sketches": sketches})


def emptied(subject: Subject, columns: str) -> Measured:
    """Of each column 1 where it has no value and had some in every earlier partition that is known, else 0."""
    now = _filled(subject, subject.columns(columns))
    earlier = list(subject.earlier(f"emptied({columns})").values())
    values = []
    for name, share in now.items() if earlier and subject.rows else ():
        before = [each[name] for each in earlier if name in each]
        if before and min(before) > LITTLE:
            said = (
                f"{name} has no value; it had one in {min(before):.0%} of the rows"
                if not share
                else f"{name} has values"
            )
            values.append((said, float(not share)))
    return Measured(values, now)


def sketched(rows: Any) -> dict[str, Any] | None:
    """The bins of a sample and the share of each, the last of nulls; None of a column without bins."""
    import numpy as np
    import pyarrow.compute as pc

    if _is_text(rows):
        values = pc.unique(rows.drop_null())
        if len(values) > CATEGORIES:
            return None
        bins: dict[str, Any] = {"values": sorted(values.to_pylist())}
    else:
        numbers = _numbers(rows)
        numbers = numbers[~np.isnan(numbers)]
        edges = np.quantile(numbers, np.arange(1, BINS) / BINS) if len(numbers) else []
        bins = {"edges": " ".join(dict.fromkeys(f"{edge:.6g}" for edge in edges))}
    return {**bins, "shares": " ".join(f"{share:.5g}" for share in shares(bins, rows)), "rows": len(rows)}


def shares(bins: Mapping[str, Any], rows: Any, scale: float = 1.0) -> list[float]:
    """The share of rows, numbers times ``scale``, in each bin: up to an edge, above the last, or a value, any other; and of nulls."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    missing, count = rows.null_count, max(len(rows), 1)
    if "values" in bins:
        present = rows.drop_null().cast(pa.string()) if _is_text(rows) else pa.array([], pa.string())
        at = pc.fill_null(pc.index_in(present, pa.array(bins["values"], pa.string())), len(bins["values"]))
        places, width = at.to_numpy(), len(bins["values"]) + 1
    else:
        numbers = _numbers(rows) if not _is_text(rows) else np.array([])
        missing = len(rows) - int((~np.isnan(numbers)).sum())
        edges = np.array(bins["edges"].split(), float)
        places, width = np.searchsorted(edges, scale * numbers[~np.isnan(numbers)]), len(edges) + 1
    return [*(np.bincount(places, minlength=width) / count).tolist(), missing / count]


def index(before: Mapping[str, Any], rows: Any) -> float:
    """The PSI of rows against a sketch, less what it is by chance in all but few cases: chi-square with a sample of each.

    Of numbers the least of the rows as they are and a tenth larger or smaller: values that many rows share lie on the edges
    of bins, and a hair moves them all to the next.
    """
    import numpy as np

    was = np.array(before["shares"].split(), float)
    p = np.maximum(was, NO_SHARE)
    free = max(int((was > 0).sum()) - 1, 1)
    chance = (free + 3 * np.sqrt(2 * free)) * (1 / before["rows"] + 1 / len(rows))
    found = []
    for scale in SCALES if "edges" in before else (1.0,):
        q = np.maximum(shares(before, rows, scale), NO_SHARE)
        found.append(float(((q - p) * np.log(q / p)).sum() - chance))
    return max(min(found), 0.0)


def sampled(batches: Iterable[Any], names: list[str], rows: int) -> dict[str, Any]:
    """Some rows of each column, evenly spread, as one Arrow array each."""
    import numpy as np
    import pyarrow as pa

    step, parts = max(1, rows // SAMPLE), []
    for batch in batches:
        parts.append(pa.table(batch).take(pa.array(np.arange(0, batch.num_rows, step))))
    table = pa.concat_tables(parts) if parts else None
    return (
        {name: pa.concat_arrays(table[name].chunks) for name in names} if table is not None and table.num_rows else {}
    )


def _of_periods(subject: Subject, column: str, period: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of a column, by its name, in new periods and in those that they are compared with."""
    files = by_period(subject, period)
    new = [each for each in new_periods(subject, files) if each in files]
    before = dict.fromkeys(slot for each in new for slot in slots(files, each, REFERENCE) if slot not in new)
    return tuple(_values(subject, column, files, asofs) for asofs in (new, before))  # type: ignore[return-value]


def _values(subject: Subject, column: str, files: Mapping[Any, Any], asofs: Iterable[Any]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    aged = column.startswith(AGE[0]) and column.endswith(AGE[1])
    source = column.removeprefix(AGE[0]).removesuffix(AGE[1]) if aged else column
    subject.columns(source)
    found = []
    for asof in asofs:
        for file in files.get(asof, ()):
            part = sampled(file.to_batches(columns=[source]), [source], file.count_rows())
            values = part.get(source)
            if values is None:
                continue
            if aged:
                end = pa.scalar(asof.end, values.type)
                values = pc.divide(pc.microseconds_between(values, end).cast(pa.float64()), 86_400e6)
            found.append(values)
    return {column: pa.concat_arrays(found)} if found else {}


def _filled(subject: Subject, names: list[str]) -> dict[str, float]:
    """The share of rows that have a value in each column, by the footers of the files."""
    missing, rows = dict.fromkeys(names, 0), 0
    for file in subject.data.get_fragments():
        footer = file.metadata
        places = {footer.schema.column(at).path: at for at in range(footer.num_columns)}
        rows += footer.num_rows
        for group in range(footer.num_row_groups):
            for name in names:
                statistics = footer.row_group(group).column(places[name]).statistics if name in places else None
                missing[name] += statistics.null_count if statistics and statistics.has_null_count else 0
    return {name: round(1 - missing[name] / rows, 4) for name in names} if rows else {}


def _is_text(rows: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(rows.type) or pa.types.is_large_string(rows.type) or pa.types.is_dictionary(rows.type)


def _numbers(rows: Any) -> Any:
    """A column as float64; of instants their microseconds."""
    import pyarrow as pa

    if pa.types.is_temporal(rows.type):
        rows = rows.cast(pa.int64())
    return rows.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _usual(usual: list[float]) -> str:
    return f"at most {max(usual):.3g} before" if len(usual) >= LEAST else "and what is usual is not known yet"
