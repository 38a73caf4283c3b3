"""The serving database: its tables, its views and how it is opened. SQLite by default, Postgres by URL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, DateTime, Float, Integer, MetaData, String, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.ddl import CreateView

from narrows.store.partitions import StoreError

BUSY_SECONDS = 30
"""How long SQLite waits for another writer."""
METADATA = MetaData()
LIVE, KEPT, STAGED = "live", "kept", "staged"
EVERYONE = "all"
"""The segment of the fallback list for users of no segment or of an unknown one."""
CONTEXT_PREFIX = "context="
FALLBACK = {"fallback": "popular now, where the user has no list of their own or a short one"}
"""The reason of what a fallback list fills in, and its meaning."""


def of_context(name: str) -> str:
    """The segment by which a service asks for the fallback list of a context: ``context=<name>``."""
    return f"{CONTEXT_PREFIX}{name}"


class ServingError(StoreError):
    """The serving database cannot be opened, or holds no release; the message names the remedy."""


class Instant(sa.TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is stored without and read back with one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone: give an aware datetime")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)


release = Table(
    "release",
    METADATA,
    Column("release_id", String, primary_key=True),
    Column("created_at", Instant, nullable=False),
    Column("asof", String, nullable=False),  # 2017-12-01, or 2017-12-01T13
    Column("state", String, nullable=False),
    Column("serves_at", Instant),  # the instant it takes for the present; null = the database's clock
    Column("manifest", sa.JSON, nullable=False),
)
# at most one release is live, whoever writes
sa.Index(
    "one_live_release",
    release.c.state,
    unique=True,
    sqlite_where=release.c.state == LIVE,
    postgresql_where=release.c.state == LIVE,
)
recommendation = Table(
    "recommendation",
    METADATA,
    Column("release_id", String, sa.ForeignKey("release.release_id"), primary_key=True),
    Column("scene", String, primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("item_id", String, nullable=False),
    Column("score", Float, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("reason", String, nullable=False),
    Column("segment", String),
    Column("batch_id", String, nullable=False),
    Column("expires_at", Instant, nullable=False),
    sqlite_with_rowid=False,  # the rows lie in the order of the key that the view looks up
)
fallback = Table(
    "fallback",
    METADATA,
    Column("release_id", String, sa.ForeignKey("release.release_id"), primary_key=True),
    Column("scene", String, primary_key=True),
    Column("segment", String, primary_key=True),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("item_id", String, nullable=False),
    Column("score", Float, nullable=False),
    sqlite_with_rowid=False,
)
takedown = Table(
    "takedown",
    METADATA,
    Column("item_id", String, primary_key=True),
    Column("since", Instant, nullable=False),
    Column("reason", String, nullable=False),
)
reason = Table(
    "reason",
    METADATA,
    Column("code", String, primary_key=True),
    Column("text", String, nullable=False),
)


def _live(table: Table, *columns: Any) -> sa.Select[Any]:
    gone = sa.select(takedown.c.item_id).where(takedown.c.item_id == table.c.item_id).exists()
    joined = table.join(release, release.c.release_id == table.c.release_id)
    return sa.select(*columns).select_from(joined).where(release.c.state == LIVE, ~gone)


_r, _f = recommendation.c, fallback.c
_release = (release.c.release_id, release.c.asof)
_now = sa.func.coalesce(release.c.serves_at, sa.func.current_timestamp())
ASOF_AS_TEXT = "ALTER TABLE release ALTER COLUMN asof TYPE VARCHAR USING to_char(asof, 'YYYY-MM-DD')"
VIEWS = [
    CreateView(
        _live(
            recommendation,
            _r.scene,
            _r.user_id,
            _r.rank,
            _r.item_id,
            _r.score,
            _r.propensity,
            _r.reason,
            *_release,
            _r.expires_at,
            _r.segment,
        ).where(_r.expires_at > _now),
        "current_recommendation",
        metadata=MetaData(),
    ),
    CreateView(
        _live(fallback, _f.scene, _f.segment, _f.rank, _f.item_id, _f.score, *_release),
        "current_fallback",
        metadata=MetaData(),
    ),
    CreateView(  # expired or not, taken down or not: whom the live release knows
        sa.select(_r.scene, _r.user_id, *_release, _r.expires_at, _r.segment, (_r.expires_at <= _now).label("expired"))
        .join_from(recommendation, release, release.c.release_id == _r.release_id)
        .where(release.c.state == LIVE, _r.rank == 1),
        "current_list",
        metadata=MetaData(),
    ),
]
"""New columns go to the end: so a view is replaced under its readers, and ``select *`` keeps its order."""
current_recommendation, current_fallback, current_list = (view.table for view in VIEWS)


def open_engine(url: str) -> sa.Engine:
    """An engine for the serving database.

    Raises:
        ServingError: the URL is none, or its driver is not installed.
    """
    try:
        target = sa.make_url(url)
        if target.get_backend_name() != "sqlite":
            return sa.create_engine(target)
    except (sa.exc.ArgumentError, ValueError):  # their messages may hold the password
        raise ServingError(
            "[serving] url is not a URL that SQLAlchemy knows. Give postgresql://user:password@host/database, or leave "
            "it empty for SQLite in the state folder"
        ) from None
    except ModuleNotFoundError as error:
        raise ServingError(
            f"[serving] url needs the Python package {error.name}. For Postgres run: "
            "pip install -e '.[postgres]' -c constraints.txt"
        ) from None
    engine = sa.create_engine(target, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver would begin too late for a read, and never for DDL
        connection.execute("PRAGMA journal_mode=WAL")  # readers go on while a release is written
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def open_published(url: str) -> sa.Engine:
    """An engine for what only reads: it makes no database.

    Raises:
        ServingError: as `open_engine`; or there is nothing to read, or no access to it.
    """
    engine = open_engine(url)
    try:
        exists = engine.dialect.name != "sqlite" or Path(engine.url.database or "").is_file()
        if exists and current_recommendation.name in sa.inspect(engine).get_view_names():
            _bring_up_to_date(engine)
            return engine
    except sa.exc.DBAPIError as error:
        raise ServingError(f"the serving database cannot be read: {' '.join(str(error.orig).split())}") from None
    raise ServingError("the serving database holds no release yet. Run: narrows run")


def _bring_up_to_date(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        old = outdated(connection)
    if not old:
        return
    try:
        create(engine)
    except sa.exc.DBAPIError as error:
        raise ServingError(
            f"the serving database is of an earlier version, and its views cannot be replaced here: "
            f"{' '.join(str(error.orig).split())}. The next run of who publishes replaces them"
        ) from None


def create(engine: sa.Engine) -> None:
    """Make the tables and views that are not there yet, and the folder of a SQLite file."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:
        METADATA.create_all(connection)
        _mend_asof(connection)
        for view in outdated(connection):
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(f"DROP VIEW IF EXISTS {view.table.name}")
                connection.execute(view)
            else:  # keeps the grants, and the views of others that read it
                connection.execute(CreateView(view.selectable, view.table.name, metadata=MetaData(), or_replace=True))


def outdated(connection: sa.Connection) -> list[CreateView]:
    """The views that are missing, or have other columns than here: those of an earlier version."""
    inspector = sa.inspect(connection)
    existing = set(inspector.get_view_names())
    columns = {name: [column["name"] for column in inspector.get_columns(name)] for name in existing}
    return [view for view in VIEWS if columns.get(view.table.name) != list(view.table.c.keys())]


def _mend_asof(connection: sa.Connection) -> None:
    """Let a database of an earlier version hold as-ofs of any grain; SQLite keeps text in a DATE column as it is."""
    if connection.dialect.name == "postgresql":
        columns = {column["name"]: column["type"] for column in sa.inspect(connection).get_columns(release.name)}
        if isinstance(columns["asof"], sa.Date):
            connection.execute(sa.text(ASOF_AS_TEXT))


def ddl(dialect: str) -> str:
    """The schema as SQL text for ``sqlite`` or ``postgresql``."""
    compiler = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}[dialect]()
    parts: list[Any] = []
    for table in METADATA.sorted_tables:
        parts += [sa.schema.CreateTable(table), *(sa.schema.CreateIndex(index) for index in table.indexes)]
    return "\n".join(f"{str(part.compile(dialect=compiler)).strip()};" for part in [*parts, *VIEWS]) + "\n"
