"""Features of examples: a few rows at a time have those of all at once, and are what the run wrote."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.pair import FEATURES
from narrows.columns import ASOF, ITEM, USER
from stages.examples.featured import featured


def test_rows_in_small_batches_have_the_features_that_the_run_gave_them(line, tmp_path):
    """Batches end within a user's rows, and some hold two as-ofs."""
    store = line.runner.store
    made = [store.current("examples", asof).arrow() for asof in store.partitions("examples")]
    rows = pa.concat_tables(made, promote_options="permissive").sort_by([(n, "ascending") for n in (ASOF, USER, ITEM)])
    asofs = [asof for asof in store.partitions("user_profiles") if str(asof) in set(rows[ASOF].to_pylist())]
    assert len(asofs) > 1
    profiles = {asof: tuple(store.current(f"{who}_profiles", asof) for who in ("user", "item")) for asof in asofs}
    given = [name for name in rows.column_names if name not in FEATURES or name.endswith("_score")]  # of the channels
    batches = rows.select(given).combine_chunks().to_batches(max_chunksize=37)
    featured(profiles, given, line.runner.horizon, (), "")(iter(batches), tmp_path)
    files = [pq.read_table(file, partitioning=None) for file in sorted(tmp_path.rglob("*.parquet"))]
    assert len(files) == len(asofs)
    found, made = (pl.DataFrame(pl.from_arrow(table)).fill_nan(None) for table in (pa.concat_tables(files), rows))
    assert found.sort(ASOF, USER, ITEM).equals(made.select(found.columns))
