"""A room's contract: `contract.yml` beside the code, audited by Great Expectations before publication.

    grain: one row per user and item, as of the partition
    expectations:
      - expect_compound_columns_to_be_unique: {column_list: [user_id, item_id]}
      - expect_column_pair_values_to_be_equal: {column_A: length(items), column_B: length(counts)}
      - expect_column_min_to_be_between: {column: own_rank, min_value: 1, meta: {optional: true}}

Expectations carry Great Expectations' own names and arguments, with three additions. Where one names a column
it may also name `length(x)`, `min(x)` or `max(x)` of a list column x: one value per row, null where the list
is null (min and max also where it is empty). And `meta: {optional: true}` skips it where the table lacks a
column it names, for columns that come and go with the settings. A value `{$PARAMETER: n}` is the room's
setting n. Every row of the named columns is checked, never a sample.

A third key, `observations`, has expectations over measures of the whole draft (`narrows/audit/observations`), many of
them beside earlier partitions:

    observations:
      - expect_column_values_to_be_between: {column: volume(known), min_value: -4, max_value: 4, severity: warning}
      - expect_column_values_to_be_between: {column: unknown(item_id, items), max_value: 0}

What has Great Expectations' `severity: warning` is published and warned of; all else stops the draft.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyspark.sql import DataFrame

    from narrows.audit.observations import Around

OBSERVATIONS = "observations"
LIST_WORD = re.compile(r"(length|min|max)\((\w+)\)")


class ContractError(ValueError):
    """A contract.yml that cannot be used: it names the file, the entry and the remedy."""


class BrokenContract(RuntimeError):
    """A table that breaks its room's contract; nothing of it is published."""


@dataclass(frozen=True)
class Audit:
    """What one audit found."""

    room: str
    version: str
    success: bool
    """True if every expectation held."""
    checked: int
    """How many expectations were evaluated."""
    failed: list[str]
    """One line per broken expectation: its name and arguments, what was seen, examples."""
    page: str
    """Path of the audit's page in the data docs."""
    contract: str = ""
    """Path of the contract."""
    alarms: list[str] = field(default_factory=list)
    """Of the observations the broken ones that are no warnings, a line each: who forces the run lets them pass."""
    warnings: list[str] = field(default_factory=list)
    """What is broken and no more than a warning, a line each."""
    observations: dict[str, Any] = field(default_factory=dict)
    """What later audits compare with, by measure."""

    def to_json(self) -> str:
        """The audit as one JSON object."""
        known = {key: value for key, value in asdict(self).items() if key != "observations"}
        return json.dumps(known, ensure_ascii=False)

    def lenient(self) -> Audit:
        """The same with its alarms as warnings."""
        return replace(self, alarms=[], warnings=[*self.alarms, *self.warnings], success=not self.failed)

    def require(self) -> Audit:
        """Return self if the contract held.

        Raises:
            BrokenContract: otherwise, with every broken expectation, the page of the data docs and the remedy.
        """
        if self.success:
            return self
        lines = [*self.failed, *self.alarms]
        broken = f"{len(lines)} of the {self.checked} expectations of its contract"
        force = "" if self.failed else ", or let it pass this once with --force"
        raise BrokenContract(
            "\n  - ".join([f"{self.room} {self.version} breaks {broken}:", *lines])
            + f"\nNothing was published; the previous version still stands. Details: {self.page}\n"
            f"Remedy: repair what feeds {self.room} and run it again{force}; where the contract is what is wrong, "
            f"change {self.contract}."
        )


@dataclass(frozen=True)
class Contract:
    """A contract.yml as read."""

    path: Path
    grain: str
    """What one row is, in one sentence."""
    expectations: tuple[tuple[str, dict[str, Any]], ...]
    """(name, arguments) in the order of the file."""
    observations: tuple[tuple[str, dict[str, Any]], ...] = ()
    """The same over measures of the whole draft."""

    def columns(self) -> list[str]:
        """The columns the contract reads; of a list word the list's."""
        words = [word for _, arguments in self.expectations for word in named(arguments)]
        return list(dict.fromkeys(source(word) for word in words))

    def over(self, present: Collection[str], settings: Mapping[str, Any] | None) -> Contract:
        """The contract for a table with these columns and a room with these settings; see `audit`.

        Raises:
            ContractError: it names a setting the room does not have.
        """
        return replace(
            self,
            expectations=tuple(self._meant(self.expectations, present, settings)),
            observations=tuple(self._meant(self.observations, None, settings)),
        )

    def of_measures(self, measured: Collection[str]) -> Contract | None:
        """The observations over measures that have values, as expectations; None where there are none."""
        some = tuple(each for each in self.observations if each[1].get("column") in measured)
        return replace(self, expectations=some, observations=()) if some else None

    def _meant(
        self,
        entries: tuple[tuple[str, dict[str, Any]], ...],
        present: Collection[str] | None,
        settings: Mapping[str, Any] | None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for kind, arguments in entries:
            optional = present is not None and (arguments.get("meta") or {}).get("optional")
            if optional and any(source(word) not in present for word in named(arguments)):  # type: ignore[operator]
                continue
            asked = {key: value["$PARAMETER"] for key, value in arguments.items() if _is_parameter(value)}
            if asked and settings is None:
                continue
            for key, setting in asked.items():
                if setting not in settings:  # type: ignore[operator]
                    raise ContractError(f"{self.path}: {kind} names {setting!r}, no setting of the room")
                arguments = {**arguments, key: settings[setting]}  # type: ignore[index]
            yield kind, arguments

    def words(self, present: Collection[str]) -> list[str]:
        """The columns and list words named, each once, whose column is present."""
        words = (word for _, arguments in self.expectations for word in named(arguments))
        return [word for word in dict.fromkeys(words) if source(word) in present]


def named(arguments: dict[str, Any]) -> Iterator[str]:
    """The columns and list words that an expectation's arguments name, its row condition's included."""
    for key, value in arguments.items():
        if key == "row_condition" and isinstance(value, str):
            yield from re.findall(r"col\([\"']([^\"']+)[\"']\)", value)
        elif isinstance(value, dict) and key != "meta":
            yield from named({"column": value["name"]} if "name" in value else value)
        elif isinstance(value, list) and key == "conditions":
            for condition in value:
                yield from named(condition)
        elif key.startswith("column") and key != "column_index":
            yield from map(str, value if isinstance(value, list) else [value])


def _is_parameter(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"$PARAMETER"}


def source(word: str) -> str:
    """The column that a column's name or a list word reads: `history_item` of `length(history_item)`."""
    listed = LIST_WORD.fullmatch(word)
    return listed[2] if listed else word


def contract_file(room: type[Any], table: str = "") -> Path:
    """Where the contract of a room's table, or of a side table, stands: beside the room's code.

    ``contract.yml`` in the folder of a room that is a package of its own, ``<table>.yml`` else.
    """
    module = Path(inspect.getfile(room))
    own = not table and module.name == "__init__.py"
    return module.parent / ("contract.yml" if own else f"{table or room.name}.yml")


def contract(room: type[Any], table: str = "") -> Contract:
    """The contract of a room's table, or of one of its side tables.

    A room outside a package may go without a file: then the table must have a row.
    """
    path = contract_file(room, table)
    if not path.exists() and path.name != "contract.yml" and not table:
        grain = (inspect.getdoc(room) or "one row").splitlines()[0].rstrip(".")
        return Contract(path, grain, (("expect_table_row_count_to_be_between", {"min_value": 1}),))
    return read(path)


def read(path: Path) -> Contract:
    """Read a contract.yml. Names and arguments of the expectations are judged at the audit.

    Raises:
        ContractError: the file is missing, is no YAML, or is not a grain and a list of one-key entries.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ContractError(f"{path} is missing: every room states its grain and what must hold") from None
    except yaml.YAMLError as error:
        raise ContractError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict) or set(raw) | {OBSERVATIONS} != {"grain", "expectations", OBSERVATIONS}:
        raise ContractError(
            f"{path}: the keys must be exactly `grain` and `expectations`, and where wanted `observations`"
        )
    if not isinstance(raw["grain"], str) or not raw["grain"].strip():
        raise ContractError(f"{path}: `grain` must be one sentence, like `one row per user`")
    observations = _entries(path, raw[OBSERVATIONS], OBSERVATIONS) if OBSERVATIONS in raw else ()
    return Contract(path, raw["grain"].strip(), _entries(path, raw["expectations"], "expectations"), observations)


def _entries(path: Path, raw: Any, key: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    if not isinstance(raw, list) or not raw:
        raise ContractError(f"{path}: `{key}` must be a list with at least one entry")
    entries = []
    for number, entry in enumerate(raw, 1):
        one = isinstance(entry, dict) and len(entry) == 1
        name, arguments = next(iter(entry.items())) if one else ("", None)
        if not isinstance(arguments, dict):
            what = f"{key.rstrip('s')} {number}"
            raise ContractError(f"{path}: {what} must read `expect_...: {{argument: value}}`")
        entries.append((str(name), arguments))
    return tuple(entries)


def audit(
    room: str,
    data: DataFrame | pa.Table | ds.Dataset,
    docs: Path,
    version: str,
    asof: str,
    terms: Contract,
    settings: Mapping[str, Any] | None = None,
    around: Around | None = None,
    fresh: ds.Dataset | None = None,
) -> Audit:
    """Check a draft against its room's contract and add the result's page to the data docs.

    Args:
        room: the table's name.
        data: the draft. An Arrow table, or the Arrow dataset of a draft's Parquet files, is checked in memory, reading only
            the columns the contract names: 1 to 2 s per million rows. A Spark DataFrame is checked by Spark jobs where it
            lies, for what does not fit one machine; persist it first.
        docs: folder of the static HTML site, made if missing. All rooms and runs share it, also across processes.
        version: the draft's version; a rerun of the same version replaces its page.
        asof: the partition's text, such as `2017-12-01T13`.
        terms: the contract.
        settings: the room's settings, by name; without them the expectations that name a `$PARAMETER` are left out.
        around: what an Arrow dataset of a draft is compared with; without it its observations are not made.
        fresh: the rows of ``data`` that no earlier audit has checked; None = all.

    Returns:
        The audit, also when the contract is broken; `.require()` then raises.

    Raises:
        ContractError: the contract itself cannot be used.
    """
    from narrows.audit import suite as expectations
    from narrows.audit import words

    present = data.columns if hasattr(data, "sparkSession") else data.schema.names
    terms = terms.over(present, settings)
    measured: dict[str, Any] = {}
    kept: dict[str, Any] = {}
    if around and terms.observations:
        from narrows.audit.observations import observe

        measured, kept = observe(terms, data, around)
    result, page = expectations.validate(
        terms, room, data if fresh is None else fresh, present, docs, version, asof, measured
    )
    broken = [r for r in result.results if not r.success]
    warnings = [words.line(r) for r in broken if words.warns(r)]
    alarms = [words.line(r) for r in broken if not words.warns(r) and words.observes(r)]
    failed = [words.line(r) for r in broken if not words.warns(r) and not words.observes(r)]
    held = not failed and not alarms
    return Audit(room, version, held, len(result.results), failed, page, str(terms.path), alarms, warnings, kept)
