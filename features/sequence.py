"""A user's latest events as rectangular arrays. NumPy and Arrow only."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.lookup import Array, flat


def pad(values: Array, start: Array, stop: Array, length: int, empty: float) -> Array:
    """The last `length` values before each `stop`, not before `start`: [rows, length], `empty` in front of the first."""
    place = stop[:, None] - np.arange(length, 0, -1)
    real = place >= start[:, None]
    if not len(values):
        return np.full(place.shape, empty, values.dtype)
    return np.where(real, values[np.where(real, place, 0)], values.dtype.type(empty))


def sequence_item(users: pa.Table, catalogue_code: Array, length: int) -> Array:
    """Codes of the user's last `length` events' items, oldest first: [users, length], -1 where there are fewer.

    `catalogue_code`: the code of every entry of the users' flat `sequence_item` lists.
    """
    offsets, _ = flat(users, "sequence_item")
    return pad(catalogue_code, offsets[:-1], offsets[1:], length, -1)


def sequence_days(users: pa.Table, length: int) -> Array:
    """Ages of the same events in days, float32 [users, length], 0 where there are fewer."""
    offsets, values = flat(users, "sequence_days")
    ages = values.cast(pa.float32()).to_numpy(zero_copy_only=False)
    return pad(ages, offsets[:-1], offsets[1:], length, 0)
