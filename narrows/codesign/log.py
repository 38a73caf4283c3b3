"""A flow log: for each request the candidates that a cascade had, and how far each of them came."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from narrows.codesign.errors import CodesignError

Array = np.ndarray
ABOUT, REQUESTS, ROWS = "log.json", "requests.parquet", "rows.parquet"
VERSION = 1


class FlowLogError(CodesignError):
    """A flow log that cannot be read or split: the message says what to do."""


@dataclass(frozen=True)
class FlowLog:
    """Requests with the candidates that a cascade had for each: flat arrays grouped by request, oldest request first."""

    stages: tuple[str, ...]
    """Of the logged cascade, in order, such as ("recall", "prerank", "rank")."""
    columns: tuple[str, ...]
    """Names of the candidates' features."""
    seen_from: Array
    """int8 [columns]: 0 = all stages see it, 1 = only the ranker does."""
    bounds: Array
    """int64 [requests + 1]: the rows of request r are those from ``bounds[r]`` to ``bounds[r + 1]``."""
    user: Array
    """int64 [requests]: the number of the user; the bootstrap draws users."""
    time: Array
    """int64 [requests]: seconds since 1970, ascending; splits go by time."""
    sequence: Array
    """int32 [requests, length]: codes of the user's latest items, the latest last, 0 = none."""
    item: Array
    """int32 [rows]: codes from 1."""
    features: Array
    """float32 [rows, columns], NaN = missing."""
    reached: Array
    """int8 [rows]: how many of the stages the candidate passed; ``len(stages)`` = it was shown."""
    label: Array
    """float32 [rows]: 1 = wanted."""
    weight: Array
    """float32 [rows]: 1 / the probability that the sample has the row."""
    score: Array
    """float32 [rows, stages]: scores of the logged cascade, NaN = none."""
    rank: Array
    """int32 [rows, stages]: ranks in the logged cascade from 1, 0 = none."""
    value: Array | None = None
    """float64 [rows]: the true expected positives where it is shown and examined; None = nobody knows it."""
    examined: Array | None = None
    """float64 [positions]: the probability that each position of a list is examined; None as of ``value``."""
    oracle: Array | None = None
    """float64 [requests, positions]: the values of the best items of the whole catalogue; None as of ``value``."""
    channels: tuple[str, ...] = ()
    """Names of the recall channels that are known to have given the candidates."""
    channel_rank: Array | None = None
    """int32 [rows, channels]: the rank in each channel's own list from 1, 0 = it did not give the candidate; None = no channel
    is known."""
    request_weight: Array | None = None
    """float64 [requests]: 1 / the probability that the sample has the request; None = 1 each."""

    def __len__(self) -> int:
        return len(self.user)

    @property
    def sizes(self) -> Array:
        """int64 [requests]: how many candidates each request has."""
        return np.diff(self.bounds)

    @property
    def request(self) -> Array:
        """int64 [rows]: the request of each row."""
        return np.repeat(np.arange(len(self)), self.sizes)

    @property
    def row_request_weight(self) -> Array | None:
        """float64 [rows]: the weight of each row's request; None = 1 each."""
        return None if self.request_weight is None else np.repeat(self.request_weight, self.sizes)

    def take(self, requests: Array) -> FlowLog:
        """These requests (numbers or a mask), in the order given."""
        chosen = np.flatnonzero(requests) if requests.dtype == bool else np.asarray(requests)
        sizes = self.sizes[chosen]
        bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        rows = np.arange(bounds[-1]) + np.repeat(self.bounds[chosen] - bounds[:-1], sizes)
        return replace(self, bounds=bounds, **self._parts(REQUEST_ARRAYS, chosen), **self._parts(ROW_ARRAYS, rows))

    def only(self, rows: Array) -> FlowLog:
        """The same requests with some of their candidates (bool [rows]) alone; the oracle stays that of the catalogue."""
        bounds = np.concatenate([[0], np.cumsum(rows)])[self.bounds].astype(np.int64)
        return replace(self, bounds=bounds, **self._parts(ROW_ARRAYS, rows))

    def _parts(self, names: Sequence[str], chosen: Array) -> dict[str, Any]:
        arrays = {name: getattr(self, name) for name in names}
        return {name: None if array is None else array[chosen] for name, array in arrays.items()}

    def split(self, shares: Sequence[float] = (0.7, 0.15, 0.15)) -> tuple[FlowLog, ...]:
        """Parts by time, the oldest first: train, validation, test.

        Requests of one instant stay in one part, so shares are met as nearly as the instants allow.

        Args:
            shares: of the requests, positive; they are scaled to sum to 1.

        Raises:
            FlowLogError: there are fewer instants than parts.
        """
        instants, first = np.unique(self.time, return_index=True)
        parts = len(shares)
        if len(instants) < parts:
            raise FlowLogError(
                f"this flow log has requests of {len(instants)} instants, too few for {parts} parts by time: "
                "log more as-ofs"
            )
        cuts: list[int] = []
        edges = np.append(first, len(self))
        for part, wanted in enumerate(np.cumsum(shares)[:-1] / np.sum(shares), start=1):
            nearest = int(np.abs(edges - wanted * len(self)).argmin())
            after = cuts[-1] + 1 if cuts else 1
            cuts.append(min(max(nearest, after), len(instants) - (parts - part)))
        ends = [0, *(int(edges[cut]) for cut in cuts), len(self)]
        return tuple(self.take(np.arange(low, high)) for low, high in pairwise(ends))

    def save(self, folder: Path) -> None:
        """Write the log as two Parquet files and one of JSON; a log that is there is replaced."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.mkdir(parents=True, exist_ok=True)
        requests = {"size": self.sizes, "user": self.user, "time": self.time, "sequence": _matrix(self.sequence)}
        if self.oracle is not None:
            requests["oracle"] = _matrix(self.oracle)
        if self.request_weight is not None:
            requests["weight"] = self.request_weight
        arrays = {name: getattr(self, name) for name in ROW_ARRAYS}
        rows = {name: array for name, array in arrays.items() if array is not None and array.ndim == 1}
        rows |= {f"feature {name}": self.features[:, place] for place, name in enumerate(self.columns)}
        for place, stage in enumerate(self.stages):
            rows |= {f"score {stage}": self.score[:, place], f"rank {stage}": self.rank[:, place]}
        if self.channel_rank is not None:
            rows |= {f"channel {name}": self.channel_rank[:, place] for place, name in enumerate(self.channels)}
        pq.write_table(pa.table(requests), folder / REQUESTS, compression="zstd")
        pq.write_table(pa.table(rows), folder / ROWS, compression="zstd")
        about = {
            "version": VERSION, "stages": self.stages, "columns": self.columns, "seen_from": self.seen_from.tolist(),
            "examined": None if self.examined is None else self.examined.tolist(), "channels": self.channels,
        }  # fmt: skip
        (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FlowLog:
        """The log that `save` wrote.

        Raises:
            FlowLogError: there is none, or it is damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            if about["version"] != VERSION:
                raise FlowLogError(f"{folder} holds a flow log of version {about['version']}; this is {VERSION}")
            requests, rows = (pq.read_table(folder / name).combine_chunks() for name in (REQUESTS, ROWS))
            stages, columns, channels = map(tuple, (about["stages"], about["columns"], about.get("channels", ())))
            count = requests.num_rows
            flat = {name: rows[name].to_numpy() for name in rows.column_names}
            named = {field.name: flat[field.name] for field in fields(cls) if field.name in flat}
            return cls(
                stages=stages, columns=columns, seen_from=np.array(about["seen_from"], np.int8),
                bounds=np.concatenate([[0], np.cumsum(requests["size"].to_numpy())]).astype(np.int64),
                user=requests["user"].to_numpy(), time=requests["time"].to_numpy(),
                sequence=_rows_of(requests["sequence"], count),
                features=_stacked(flat, "feature", columns, np.float32),
                score=_stacked(flat, "score", stages, np.float32), rank=_stacked(flat, "rank", stages, np.int32),
                examined=None if about["examined"] is None else np.array(about["examined"]),
                oracle=_rows_of(requests["oracle"], count) if "oracle" in requests.column_names else None,
                channels=channels, channel_rank=_stacked(flat, "channel", channels, np.int32) if channels else None,
                request_weight=requests["weight"].to_numpy() if "weight" in requests.column_names else None, **named,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
            raise FlowLogError(f"{folder} holds no readable flow log ({error})") from error


def channels_of(folder: Path) -> tuple[str, ...]:
    """The recall channels of the log in a folder; none where they are unknown.

    Raises:
        FlowLogError: there is no log.
    """
    try:
        return tuple(json.loads((folder / ABOUT).read_text(encoding="utf-8")).get("channels", ()))
    except (OSError, ValueError, AttributeError) as error:
        raise FlowLogError(f"{folder} holds no readable flow log ({error})") from error


ROW_ARRAYS = ("item", "features", "reached", "label", "weight", "score", "rank", "value", "channel_rank")
"""Those that have a row for each candidate; the last two may be None."""
REQUEST_ARRAYS = ("user", "time", "sequence", "oracle", "request_weight")
"""Those that have one for each request; the last two may be None."""


def _matrix(array: Array) -> object:
    """A matrix as an Arrow column of lists of one length."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), array.shape[1])


def _rows_of(column: object, count: int) -> Array:
    import pyarrow as pa

    assert isinstance(column, pa.ChunkedArray)
    values = pa.concat_arrays([chunk.flatten() for chunk in column.chunks]) if column.chunks else pa.array([])
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(count, column.type.list_size)


def _stacked(flat: dict[str, Array], prefix: str, names: tuple[str, ...], dtype: type) -> Array:
    count = len(flat["item"])
    return np.stack([flat[f"{prefix} {name}"] for name in names], 1) if names else np.zeros((count, 0), dtype)
