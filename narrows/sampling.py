"""Which users and lists are drawn where there are more than can be kept or learned from: by a hash, so the same every time.

This module decides the content of tables, so its code is part of the fingerprint of every room that narrows.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from narrows.columns import ASOF, REQUEST_WEIGHT, USER

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from narrows.store.table import Past, Table

LIKELY_SHARE = 0.8
"""Of the users that are drawn, the share that is known or likely to have something to learn from."""


def uniform(texts: list[str], salt: str = "") -> np.ndarray:
    """One number in [0, 1) for each text, from the salt and the text alone: float64 (texts,)."""
    prefix = hashlib.blake2b(salt.encode(), digest_size=8)
    digests = []
    for text in texts:
        digest = prefix.copy()
        digest.update(text.encode())
        digests.append(digest.digest())
    return (np.frombuffer(b"".join(digests), ">u8") >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shares(count: int, likely: int, others: int) -> tuple[float, float]:
    """The probabilities by which a likely user and another are drawn, so that ``count`` are expected in all.

    ``LIKELY_SHARE`` of them are likely ones; where either kind has fewer users than its part, the other gets the rest.
    """
    of_likely = max(min(likely, LIKELY_SHARE * count), count - others)
    of_others = min(others, count - of_likely)
    return min(of_likely / max(likely, 1), 1.0), min(of_others / max(others, 1), 1.0)


def drawn(users: pa.Array, likely: np.ndarray, count: int) -> pa.Table:
    """Some ``count`` of the users, in their order, with ``request_weight`` = 1 / the probability of being drawn.

    A user's hash is the same at every as-of, so mostly the same users are drawn.

    Args:
        users: user_id, string.
        likely: bool (users,), of whom a larger share is drawn.
        count: how many are expected.
    """
    import pyarrow as pa

    of_likely, of_others = shares(count, int(likely.sum()), int((~likely).sum()))
    share = np.where(likely, of_likely, of_others)
    chosen = uniform(users.to_pylist()) < share
    weight = pa.array(1 / share[chosen], pa.float32())
    return pa.table({USER: users.filter(pa.array(chosen)), REQUEST_WEIGHT: weight})


def some_users(users: Table, most: int) -> ds.Expression | None:
    """A dataset filter that about ``most`` of the table's users pass, drawn by a hash; None = all, where they are no more."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    if users.rows <= most:
        return None
    chosen = [
        batch[USER].filter(pa.array(uniform(batch[USER].to_pylist(), "users") < most / users.rows))
        for batch in users.batches([USER])
    ]
    return ds.field(USER).isin(pa.chunked_array(chosen, pa.string()))


def bounded(partitions: Past, most: int) -> pa.Table:
    """The rows of all partitions, of a share of the lists where they are more than ``most``; a list is whole or left out.

    A list is an (as-of, user) and is drawn by its hash. Every list has the same chance, so no weight changes. The rows are
    read batch by batch: those that are left out are never in memory together.
    """
    import pyarrow as pa

    from narrows.engine.memory import give_back

    total = sum(table.rows for table in partitions.values())
    if total <= most:
        rows = partitions.arrow()
    else:
        parts = []
        for table in partitions.values():
            chosen = [_of_lists(batch, most / total) for batch in table.batches()]
            parts += [part for part in chosen if part.num_rows]
        rows = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    give_back()  # what reading files takes beside its rows is more than they
    return rows


def _of_lists(batch: pa.RecordBatch, share: float) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.table(batch)
    keys = pc.binary_join_element_wise(rows[ASOF].cast(pa.string()), rows[USER], "|").combine_chunks()
    coded = keys.dictionary_encode()
    coded = coded.chunk(0) if isinstance(coded, pa.ChunkedArray) else coded
    kept = uniform(coded.dictionary.to_pylist(), "list") < share
    return rows.filter(pa.array(kept[coded.indices.to_numpy()]))
