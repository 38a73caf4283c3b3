"""Run a room: read, fit or transform or narrow, write a draft, audit it, publish it, log it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, partial
from inspect import signature
from typing import TYPE_CHECKING, Any

from narrows.asof import KNOWN, Asof
from narrows.pipeline import Pipeline
from narrows.run import closing, models, reads, touched, work
from narrows.run.fingerprint import Recipes, digest, reads_source, versions
from narrows.run.publish import Publisher
from narrows.run.reads import Pending
from narrows.settings import Settings
from narrows.stage import NarrowingStage, Table
from narrows.store.partitions import Store, open_store

if TYPE_CHECKING:
    from narrows.tracking.log import RunLog

__all__ = ["Pending", "Runner"]

LOG = logging.getLogger(__name__)


@dataclass
class Runner:
    """Makes the partitions of rooms, each only once: one with the same fingerprint is taken from the store.

    ``run_id`` groups what belongs to one pipeline run in MLflow.
    """

    settings: Settings
    run_id: str = ""
    log: RunLog | None = None
    """See `Publisher`, as of the next."""
    in_background: bool = False
    overlaps: bool = False
    force: bool = False
    """Whether an as-of that the source does not reach may be made, for a replay."""
    given: Mapping[tuple[str, Asof], str] = field(default_factory=dict)
    """Versions that were handed on, by room and as-of: these are read and no other, and none of them is made."""
    making_past: bool = False
    """While the earlier partitions are made that no run has left."""

    def __post_init__(self) -> None:
        self.store: Store = open_store(self.settings)
        self.recipes = Recipes(self.settings)
        self._tables: dict[tuple[str, Asof], Table] = {}
        self._models: dict[str, Any] = {}
        self._began_session = False

    @property
    def pipeline(self) -> Pipeline:
        return self.settings.pipeline

    @property
    def horizon(self) -> timedelta:
        return self.settings.source.horizon_length

    @cached_property
    def publisher(self) -> Publisher:
        docs = self.settings.state / "data_docs"
        return Publisher(
            self.store, docs, self.run_id, self.log, self.in_background, self.settings.base, self.overlaps,
            horizon=self.horizon, force=self.force,
        )  # fmt: skip

    @property
    def new_versions(self) -> list[Table]:
        """What this runner made rather than took from the store."""
        return self.publisher.new_versions

    @cached_property
    def source(self) -> Any:
        from narrows.source.files import open_source

        return open_source(self.settings)

    @cached_property
    def source_fingerprint(self) -> str:
        return self.source.fingerprint()

    @cached_property
    def session(self) -> Any:
        from narrows.engine.cluster import is_local, require_shared
        from narrows.engine.spark import spark_session

        self._began_session = not spark_session.cache_info().currsize
        session = spark_session(self.settings.spark, self.settings.engine)
        if not is_local(self.settings.spark.master):
            require_shared(session, self.settings.state)
        return session

    def asks_spark(self, name: str) -> bool:
        """Whether a room's work takes a Spark session."""
        room = self.room(name)
        return hasattr(room, "transform") and "session" in signature(room.transform).parameters

    def forget_rows(self) -> None:
        """Delete what a room left in Spark's cache."""
        if "session" in self.__dict__:
            self.session.catalog.clearCache()

    def end_session(self) -> None:
        """Free the memory of Spark, if this runner started it; it starts again where it is asked for.

        Models and candidates are made without it, and have the memory to themselves: a gigabyte or two for a start of seconds.
        """
        from narrows.engine.cluster import is_local

        local = is_local(self.settings.spark.master)  # a cluster's executors have memory of their own
        if local and self._began_session and self.__dict__.pop("session", None):
            from narrows.engine.spark import end_session

            end_session()

    @property
    def source_room(self) -> str:
        """The name of the room that reads the source."""
        return next(room.name for room in self.pipeline.rooms if reads_source(room))

    def room(self, name: str) -> Any:
        return self.settings.rooms[name]

    def serves_earlier(self, name: str) -> bool:
        """Whether a published partition of the table serves all earlier as-ofs."""
        return getattr(self.pipeline.room(name), "partitioned_by", "") == KNOWN

    def recipe(self, name: str) -> str:
        """What a room would do with the same rows."""
        return self.recipes.of(name)

    def fingerprint(self, name: str, asof: Asof, reads_: dict[str, Any]) -> str:
        """The identity of a partition: the recipe, the as-of, the versions of what it reads, and of the source."""
        identity = digest(self.recipe(name), str(asof), versions(reads_))
        if name in self.pipeline.narrowing and (since := touched.since(self, asof)):
            identity = digest(identity, str(since))  # of some users alone
        return digest(identity, self.source_fingerprint) if reads_source(self.room(name)) else identity

    def windows(self, asof: Asof) -> list[Asof]:
        """The earlier as-ofs that the run of ``asof`` learns from, oldest first; those with a horizon of history."""
        begins = Asof.parse(reads.known(self, self.source_room, asof).notes["begins"], asof.grain)
        windows = [asof - n * self.horizon for n in range(self.settings.pipeline_settings.windows, 0, -1)]
        return [window for window in windows if window >= begins + self.horizon]

    def published(self, name: str, asof: Asof) -> Table | None:
        """What was published for an earlier partition, whatever data came later, if by the same recipe."""
        table = self.store.current(name, asof)
        return table if table and table.meta["recipe"] == self.recipe(name) and table.complete else None

    def table(self, name: str, asof: Asof) -> Table:
        """The partition of a room's table, made if it does not exist yet."""
        if (name, asof) in self._tables:
            return self._tables[name, asof]
        table = reads.handed_on(self, name, asof) or self.tables(name, [asof])[asof]
        if not self.making_past and not self.publisher.swapping:  # what it reads does not change under this runner
            self._tables[name, asof] = table
        return table

    def tables(self, name: str, asofs: list[Asof]) -> dict[Asof, Table]:
        """Several partitions of one room; a room that can makes the missing ones in one job.

        Of one that has ``transform_several`` those after the first are made if the source shows that they are over.
        """
        room = self.room(name)
        if hasattr(room, "first_run") and not self.making_past:
            room.first_run(self, asofs[-1])
        cached: dict[Asof, Table] = {}
        todo: list[work.Work] = []
        for asof in asofs:
            tables = self.reads(room, asof)
            fingerprint = self.fingerprint(name, asof, tables)
            if table := self._take(name, asof, fingerprint):
                cached[asof] = table
            else:
                todo.append((asof, fingerprint, tables))
        # of those that have ended it makes the ones of which the source has rows, or later ones
        if hasattr(room, "transform_several"):
            over = partial(closing.closed, self) if asofs[0] in cached else closing.ended
            todo = [each for each in todo if each[0] == asofs[0] or over(each[0])]
        if todo:
            make = work.narrow if isinstance(room, NarrowingStage) else work.transform
            cached |= make(self, room, todo)
        return {asof: cached[asof] for asof in asofs if asof in cached}

    def run(self, name: str, asof: Asof) -> Table:
        """What a task of the DAG does: the room's partition, and with it the earlier ones that the run will read.

        With ``overlaps`` a room's partition may still be audited, or be on its way to where else it is published: the ``run`` of
        the next room waits for it, the first of the two before it begins if it reads that partition.
        """
        made = {self.pipeline.makers[table] for table in self.pipeline.inputs(name)}
        if any(draft.room.name in made for draft in self.publisher.drafts):
            self.publisher.finish()
        swapping = self.publisher.swapping
        try:
            return self._run(name, asof)
        except Pending:
            self.publisher.finish()  # nothing comes after a room that waits that would publish them
            raise
        finally:
            if swapping and swapping is self.publisher.swapping:
                self.publisher.settle()

    def waits(self, room: Any) -> bool:
        """Whether what a room made is published before the next one begins."""
        alone = room.name in (self.source_room, self.pipeline.names[-1]) or hasattr(room, "publish")
        return alone or not self.overlaps or self.making_past

    def _run(self, name: str, asof: Asof) -> Table:
        room, before = self.room(name), len(self.new_versions)
        self.publisher.asof = asof
        if name == self.source_room and (name, asof) not in self.given:
            # what the source says now; of a replay also what the lists are judged on, of one reading
            self.tables(name, [asof, asof + self.horizon])
        reads.require_reached(self, asof)
        earlier = self.windows(asof) if getattr(room, "with_windows", False) else []
        table = self.tables(name, [*[day for day in earlier if not self.published(name, day)], asof])[asof]
        if self.serves_earlier(name) and closing.closed(self, asof + self.horizon):
            self.table(name, asof + self.horizon)
        if len(self.new_versions) == before and not self.publisher.swapping and not self.publisher.drafts:
            LOG.info("  %-16s %s  cached %s  %9s rows", name, asof, table.version, f"{table.rows:,}")
            if hasattr(room, "publish"):
                tables = self.reads(room, asof)
                self.publisher.publish_again(
                    room, table, partial(room.publish, **self.arguments(room.publish, tables, asof))
                )
        return table

    def judge(self, name: str, asof: Asof) -> list[Table]:
        """What the last room could not make of earlier as-ofs before their horizon had closed; see `closing.judge`."""
        return closing.judge(self, name, asof)

    def model(self, name: str, asof: Asof) -> tuple[Any, Table]:
        """The room's model as of the partition, fitted if it does not exist yet, and where it is kept."""
        table = self.model_table(name, asof)
        if table.version not in self._models:
            self._models[table.version] = self.room(name).load(table.model_folder)
        return self._models[table.version], table

    def model_table(self, name: str, asof: Asof) -> Table:
        """Where the model is kept that narrows as of the partition; it is not loaded, and fitted if there is none."""
        return models.last(self, name, asof) or models.fitted(self, name, asof)

    def keep(self, table: Table, model: Any) -> None:
        """Keep a fitted model in memory, so that it need not be loaded."""
        self._models[table.version] = model

    def forget_models(self) -> None:
        """Let go of the models that are in memory; they are loaded again where they are wanted."""
        self._models.clear()

    def narrow_with(self, name: str, model: tuple[Any, Table], asofs: list[Asof]) -> None:
        """Narrow at earlier partitions with one model of an earlier as-of, as a run of that time would have."""
        room, todo = self.room(name), []
        for asof in asofs:
            tables = self.reads(room, asof, model[1])
            fingerprint = self.fingerprint(name, asof, tables)
            if not self._take(name, asof, fingerprint):
                todo.append((asof, fingerprint, tables))
        work.narrow(self, room, todo, model)

    def shard_tables(self, room: NarrowingStage, asof: Asof, earlier: bool = False) -> dict[str, Table]:
        """The tables that this room's shards are cut from; of an ``earlier`` partition as they were published."""
        names = self.pipeline.shard_tables(room.name)
        return {name: (earlier and self.published(name, asof)) or self.table(name, asof) for name in names}

    def _take(self, name: str, asof: Asof, fingerprint: str) -> Table | None:
        """The version with this fingerprint, made the current one."""
        if table := self.publisher.audited(name, asof, fingerprint):
            return table
        if table := self.store.find(name, asof, fingerprint):
            self.store.point(name, asof, fingerprint)
        return table

    def reads(self, room: Any, asof: Asof, model: Table | None = None) -> dict[str, Any]:
        """Every table that making the room's partition reads, by parameter; models under ``model``."""
        if isinstance(room, NarrowingStage):
            tables: dict[str, Any] = dict(self.shard_tables(room, asof, earlier=model is not None))
            if hasattr(room, "fit"):
                tables["model"] = model or self.model_table(room.name, asof)
            return tables
        return reads.resolve(self, room, room.transform, asof)

    def arguments(self, method: Any, tables: dict[str, Any], asof: Asof, asofs: Any = None) -> dict[str, Any]:
        return reads.arguments(self, method, tables, asof, asofs)
