"""What designs came to, kept so that nothing is computed twice: one Parquet and one JSON file each, named by a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from narrows.codesign.design import Design
from narrows.codesign.designs import flat
from narrows.codesign.log import Array, FlowLog
from narrows.run.code import Code
from narrows.run.fingerprint import digest
from narrows.store.partitions import write_json

FOLDER = "codesign"
ROOTS = ("narrows.codesign.run", "narrows.codesign.losses", "narrows.codesign.compress", "narrows.codesign.cost")
"""Modules that decide what a design comes to, with all that they import."""
OF_WORLDS = ("narrows.codesign.worldlog", "narrows.world.settings")


@dataclass(frozen=True)
class Result:
    """What one training of a design came to."""

    metrics: dict[str, float]
    """Of the cascade (`narrows.codesign.evaluate.evaluate`) and of its cost (`StageCost.flat`); see `narrows.codesign.execute`."""
    by_request: dict[str, Array]
    """float64 [judged requests]"""
    user: Array
    """int64 [judged requests]"""
    design: dict[str, Any]
    """The settings, as they were tuned."""


@dataclass(frozen=True)
class Outcomes:
    """The results of all experiments of a state folder."""

    state: Path

    @property
    def folder(self) -> Path:
        return self.state / FOLDER / "outcomes"

    @cached_property
    def code(self) -> str:
        """A hash of the code that trains, compresses, judges and counts."""
        return self._hash(ROOTS)

    @cached_property
    def code_of_worlds(self) -> str:
        """A hash of the code that makes a world's log."""
        return self._hash(OF_WORLDS)

    def _hash(self, roots: tuple[str, ...]) -> str:
        code = Code(frozenset({"narrows"}), self.state / "code.json")
        modules = {name: text for root in roots for name, text in code.of(root).items()}
        return digest(sorted(modules.items()))

    def fingerprint(self, design: Design, log: str, seed: int, **more: Any) -> str:
        """Of one piece of work: the design, the log, the seed, the code, and what else decides it."""
        return digest(flat(design), log, seed, self.code, more)

    def read(self, fingerprint: str) -> Result | None:
        """The result, if it is there whole."""
        import pyarrow.parquet as pq

        try:
            about = json.loads((self.folder / f"{fingerprint}.json").read_text(encoding="utf-8"))
            if not about["requests"]:
                return Result(about["metrics"], {}, np.zeros(0, np.int64), about["design"])
            table = pq.read_table(self.folder / f"{fingerprint}.parquet")
        except (OSError, ValueError, KeyError):
            return None
        columns = {name: table[name].to_numpy() for name in table.column_names}
        user = columns.pop("user")
        return Result(about["metrics"], columns, user, about["design"])

    def write(self, fingerprint: str, result: Result, about: Mapping[str, Any]) -> Result:
        """Keep a result, and return it as it will be read; the JSON file comes last: without it nothing is there."""
        import os

        import pyarrow as pa
        import pyarrow.parquet as pq

        self.folder.mkdir(parents=True, exist_ok=True)
        if len(result.user):
            draft = self.folder / f".{fingerprint}-{os.getpid()}"
            pq.write_table(pa.table({"user": result.user, **result.by_request}), draft, compression="zstd")
            draft.replace(self.folder / f"{fingerprint}.parquet")
        metrics = {name: value for name, value in result.metrics.items() if np.isfinite(value)}
        whole = {**about, "design": result.design, "metrics": metrics, "requests": len(result.user)}
        write_json(self.folder / f"{fingerprint}.json", whole)
        return replace(result, metrics=metrics)


def fingerprint_of(log: FlowLog) -> str:
    """Of the content of a flow log."""
    found = hashlib.sha256(repr((log.stages, log.columns, log.channels)).encode())
    for name in log.__dataclass_fields__:
        value = getattr(log, name)
        if isinstance(value, np.ndarray):
            found.update(f"{name} {value.dtype} {value.shape}".encode())
            found.update(np.ascontiguousarray(value).data)
    return found.hexdigest()
