"""Vectors for items that came after the towers were fitted: by what is known of them, without fitting and without a new index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from features.lookup import Catalogue, codes
from stages.recall.network import Towers

Array = np.ndarray
USERS = "users_64x"
"""The column with an item's users, of which the fit asks for ``min_users``."""


@dataclass(frozen=True)
class Known:
    """What the towers knew of items when they were fitted, beside their own weights."""

    names: Mapping[str, pa.Array]
    """The categories, subcategories and brands in the order of the towers' codes."""
    passed_over: pa.Array
    """Ids of the items that had users enough by their profile and no vector all the same: of a sample of the users."""
    line: tuple[float, float]
    """An item's bias by its users: intercept, and slope of log(1 + users)."""
    min_users: int
    """Users that an item must have."""

    def save(self, folder: Path) -> None:
        """Ids and names as Parquet, numbers as JSON."""
        pq.write_table(pa.table({"item_id": self.passed_over}), folder / "passed_over.parquet")
        for level, names in self.names.items():
            pq.write_table(pa.table({"name": names}), folder / f"{level}.parquet")
        numbers = {"levels": list(self.names), "line": self.line, "min_users": self.min_users}
        (folder / "known.json").write_text(json.dumps(numbers))


def load(folder: Path) -> Known:
    """What `Known.save` wrote."""
    numbers = json.loads((folder / "known.json").read_text())
    names = {level: _column(folder / f"{level}.parquet") for level in numbers["levels"]}
    return Known(names, _column(folder / "passed_over.parquet"), tuple(numbers["line"]), numbers["min_users"])


def _column(file: Path) -> pa.Array:
    """The one column of a file."""
    return pq.read_table(file).column(0).combine_chunks()


def known(towers: Towers, catalogue: Catalogue, chosen: Array, min_users: int) -> Known:
    """Of fitted towers, and of the catalogue of which the items ``chosen`` have a vector."""
    enough = _users(catalogue) >= min_users
    enough[chosen] = False
    passed_over = catalogue.ids.take(pa.array(np.flatnonzero(enough)))
    return Known(dict(catalogue.vocabulary), passed_over, _line(towers, catalogue, chosen), min_users)


def _line(towers: Towers, catalogue: Catalogue, chosen: Array) -> tuple[float, float]:
    """The least squares of the biases of the items ``chosen`` on log(1 + users)."""
    bias = towers.item_bias.detach().numpy().astype(float)
    users = np.log1p(_users(catalogue)[chosen])
    if len(bias) < 2 or np.ptp(users) == 0:
        return float(bias.mean()) if len(bias) else 0.0, 0.0
    slope, intercept = np.polyfit(users, bias, 1)
    return float(intercept), float(slope)


def newcomers(towers: Towers, items: pa.Array, seen: Known, catalogue: Catalogue) -> tuple[Array, Tensor, Tensor]:
    """Items that have users enough by now and no vector, and of which a category, subcategory or brand is known.

    An item's input is the sum of the embeddings of its parts, as in `Towers.inputs`; for a part that the towers do not know, the id
    above all, stands the mean of the items that they know. Its bias is that of items with as many users.

    Args:
        towers: fitted.
        items: ids of the items with a vector.
        seen: at the fit.
        catalogue: as it is now.

    Returns:
        Rows of the catalogue, int64 [new]; inputs, float32 [new, embedding_size]; vectors, float32 [new, embedding_size + 1].
    """
    new = (
        (_users(catalogue) >= seen.min_users)
        & (codes(catalogue.ids, items) < 0)
        & (codes(catalogue.ids, seen.passed_over) < 0)
    )
    rows = np.flatnonzero(new)
    parts = np.zeros((len(rows), towers.parts.shape[1]), np.int64)
    for place, (level, code) in enumerate(catalogue.code.items(), 1):
        then = np.append(codes(catalogue.vocabulary[level], seen.names[level]) + 1, 0)[code[rows]]
        learned = np.isin(then, towers.parts[:, place].numpy())
        parts[:, place] = np.where(learned, then, 0)
    some = parts.any(1)
    rows, parts = rows[some], parts[some]
    inputs = sum(
        torch.where(torch.from_numpy(part > 0)[:, None], table(torch.from_numpy(part)), table(usual).mean(0))
        for table, part, usual in zip(towers.embeddings, parts.T, towers.parts.T, strict=True)
    )
    assert isinstance(inputs, Tensor)
    bias = seen.line[0] + seen.line[1] * np.log1p(_users(catalogue)[rows])
    vectors = torch.cat([towers.item_layer(inputs) + inputs, torch.from_numpy(bias.astype(np.float32))[:, None]], 1)
    return rows, inputs, vectors


def _users(catalogue: Catalogue) -> Array:
    """The users of each item, float32; nobody's where the profiles do not say."""
    if USERS not in catalogue.items.column_names:
        return np.zeros(len(catalogue.ids), np.float32)
    return np.nan_to_num(catalogue.column(USERS))
