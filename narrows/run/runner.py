"""Run a room: read, fit or transform, write a draft, audit it, publish it, log it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from narrows.engine.cost import Cost, meter
from narrows.run.bootstrap import bootstrap
from narrows.run.fingerprint import Recipes, digest, merged, versions
from narrows.run.narrowing import check, flow, part_name, room_before, shards
from narrows.run.publish import Draft, Publisher, say
from narrows.settings import Settings
from narrows.stage import Made, NarrowingStage, Past, Recent, Stage, Table, TableStage, Truth, parameters
from narrows.store.partitions import Store
from narrows.store.write import write_file, write_ranged, write_table


class Pending(RuntimeError):
    """The partition cannot be made yet: its horizon has not closed."""


@dataclass
class Runner:
    """Makes the partitions of rooms, each only once: what exists is found by its fingerprint.

    ``run_id`` groups what belongs to one pipeline run in MLflow.
    """

    settings: Settings
    run_id: str = ""
    log: Callable[..., None] | None = None
    """See `Publisher`, as of the next."""
    beside: bool = False
    bootstrapping: bool = False
    """While the earlier partitions are made that no run has left."""

    @cached_property
    def store(self) -> Store:
        return Store(self.settings.state / "tables")

    @cached_property
    def publisher(self) -> Publisher:
        docs = self.settings.state / "data_docs"
        return Publisher(self.store, docs, self.run_id, self.log, self.beside)

    @property
    def made(self) -> list[Table]:
        """What this runner made rather than found."""
        return self.publisher.made

    @cached_property
    def source(self) -> Any:
        from narrows.source.files import open_source

        return open_source(self.settings)

    @cached_property
    def source_fingerprint(self) -> str:
        return self.source.fingerprint()

    @property
    def horizon(self) -> timedelta:
        return self.settings.source.horizon_length

    def room(self, name: str) -> Any:
        return self.settings.rooms[name]

    def reads_of(self, room: Stage, table: str, asof: date, kind: str) -> list[date]:
        """The partitions that ``room`` reads of a ``past`` or ``recent`` table, a horizon apart, oldest first."""
        said = room.past[table]
        count = said if isinstance(said, int) else getattr(room, said)
        newest = asof if kind == "recent" else asof - self.horizon
        return [newest - n * self.horizon for n in range(count - 1, -1, -1)]

    def windows(self, asof: date) -> list[date]:
        """The earlier as-ofs that the run of ``asof`` learns from, oldest first; those with a horizon of history."""
        begins = date.fromisoformat(self.events(asof).meta["notes"]["first_day"])
        windows = [asof - n * self.horizon for n in range(self.room("prerank").windows, 0, -1)]
        return [day for day in windows if day >= begins + self.horizon]

    def recipe(self, name: str) -> str:
        """What a room would do with the same rows."""
        return self._recipes.of(name)

    @cached_property
    def _recipes(self) -> Recipes:
        return Recipes(self.settings)

    def table(self, name: str, asof: date) -> Table:
        """The partition of a room's table, made if it does not exist yet."""
        if (name, asof) in self._known:
            return self._known[name, asof]
        table = self.tables(name, [asof])[asof]
        if not self.bootstrapping:
            self._known[name, asof] = table
        return table

    @cached_property
    def _known(self) -> dict[tuple[str, date], Table]:
        """Own partitions that this runner has resolved: what they read does not change under it."""
        return {}

    def tables(self, name: str, asofs: list[date]) -> dict[date, Table]:
        """Several partitions of one room; a Spark room that can makes the missing ones in one job."""
        room = self.room(name)
        if name == "examples" and not self.bootstrapping:
            bootstrap(self, asofs[-1])
        found: dict[date, Table] = {}
        todo: list[tuple[date, str, dict[str, Any]]] = []
        for asof in asofs:
            reads = self._reads(room, asof)
            fingerprint = self._fingerprint(name, asof, reads)
            if table := self.store.find(name, asof, fingerprint):
                self.store.point(name, asof, fingerprint)
                found[asof] = table
            else:
                todo.append((asof, fingerprint, reads))
        if todo:
            make = self._narrow if isinstance(room, NarrowingStage) else self._transform
            found |= make(room, todo)
        return {asof: found[asof] for asof in asofs}

    def _fingerprint(self, name: str, asof: date, reads: dict[str, Any]) -> str:
        made_of = digest(self.recipe(name), asof, versions(reads))
        return digest(made_of, self.source_fingerprint) if name == "events" else made_of

    def model(self, name: str, asof: date) -> tuple[Any, Table]:
        """The room's model as of the partition, fitted if it does not exist yet, and where it is kept."""
        table = self.model_table(name, asof)
        if table.version not in self._models:
            self._models[table.version] = self.room(name).load(table.path / "model")
        return self._models[table.version], table

    @cached_property
    def _models(self) -> dict[str, Any]:
        return {}

    def model_table(self, name: str, asof: date) -> Table:
        """Where the room's model as of the partition is kept, fitted if it does not exist yet; it is not loaded."""
        room = self.room(name)
        reads = self._resolve(room, room.fit, asof)
        fingerprint = digest(self.recipe(name), "model", asof, versions(reads))
        if table := self.store.find(f"{name}.model", asof, fingerprint):
            self.store.point(f"{name}.model", asof, fingerprint)
            return table
        say(f"  {name:<16} {asof}  fitting")
        self.publisher.get_ready()  # what the fitted model makes will be audited
        with meter() as cost:
            model = room.fit(**self._arguments(room.fit, reads, asof))
            path = self.store.draft(f"{name}.model", asof, fingerprint)
            (path / "model").mkdir()
            model.save(path / "model")
        notes = getattr(model, "notes", {})
        table = self.publisher.model(self._draft(room, asof, path, fingerprint, reads, cost, notes))
        self._models[table.version] = model
        return table

    def past(self, room: Stage, table: str, asof: date, kind: str) -> Past:
        """Earlier partitions as they were published by the same recipe, and of a ``recent`` table the own one.

        A published partition is never remade because later or late data arrived: a past training set stays as it was.
        """
        found = (Recent if kind == "recent" else Past)()
        if kind == "recent" and not self.bootstrapping:
            self.table(table, asof)  # before looking at the earlier ones: making it may make them
        for day in self.reads_of(room, table, asof, kind):
            own = day == asof and not self.bootstrapping
            if partition := self.table(table, day) if own else self.published(table, day):
                found[day] = partition
        return found

    def needed(self, name: str, asof: date) -> list[date]:
        """The partitions of a profile table that the run of ``asof`` reads and lacks; ``asof`` itself is the last."""
        earlier = self.windows(asof) if name in ("user_profiles", "item_profiles") else []
        return [*[day for day in earlier if not self.published(name, day)], asof]

    def run(self, name: str, asof: date) -> Table:
        """What a task of the DAG does: the room's partition, and with it the earlier ones that the run will read."""
        before = len(self.made)
        table = self.tables(name, self.needed(name, asof))[asof]
        if name == "events" and table.meta["notes"]["goes_on"]:
            self.table("events", asof + self.horizon)  # a replay: what the lists are judged on is there already
        if len(self.made) == before:
            say(f"  {name:<16} {asof}  found {table.version}  {table.rows:>9,} rows")
        return table

    def narrow_with(self, name: str, model: tuple[Any, Table], days: list[date]) -> None:
        """Narrow at earlier partitions with one model of an earlier day, as a run of that day would have."""
        room, todo = self.room(name), []
        for day in days:
            reads = self._reads(room, day, model[1])
            fingerprint = digest(self.recipe(name), day, versions(reads))
            if self.store.find(name, day, fingerprint):
                self.store.point(name, day, fingerprint)
            else:
                todo.append((day, fingerprint, reads))
        self._narrow(room, todo, model)

    def shard_tables(self, room: NarrowingStage, asof: date, earlier: bool = False) -> dict[str, Table]:
        """The tables that this room's shards are cut from; of an ``earlier`` partition as they were published."""
        names = ("user_profiles", "item_profiles", *room_before(room.name))
        return {name: (earlier and self.published(name, asof)) or self.table(name, asof) for name in names}

    def published(self, name: str, asof: date) -> Table | None:
        """What was published for an earlier partition, whatever data came later, if by the same recipe."""
        table = self.store.current(name, asof)
        return table if table and table.meta["recipe"] == self.recipe(name) else None

    def _transform(self, room: TableStage, todo: list[tuple[date, str, dict[str, Any]]]) -> dict[date, Table]:
        method = room.transform  # type: ignore[attr-defined]
        ranged = "asofs" in inspect.signature(method).parameters
        groups = [todo] if ranged else [[one] for one in todo]
        for group in groups:
            self.publisher.get_ready()
            days = [asof for asof, _, _ in group]
            span = f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]} ({len(days)} partitions)"
            say(f"  {room.name:<16} {span}  working")
            drafts = {asof: self.store.draft(room.name, asof, fingerprint) for asof, fingerprint, _ in group}
            with meter() as cost:
                made = method(**self._arguments(method, merged([reads for _, _, reads in group]), days[-1], days))
                made = made if isinstance(made, Made) else Made(made)
                if ranged:
                    write_ranged(made.data, drafts)
                else:
                    write_table(made.data, drafts[days[-1]] / "data", ["day"] if room.name == "events" else [])
                for name, data in made.beside.items():
                    write_table(data, drafts[days[-1]] / name)
            share = Cost(cost.seconds / len(group), cost.cpu_seconds / len(group), cost.peak_mb)
            for asof, fingerprint, reads in group:
                draft = self._draft(room, asof, drafts[asof], fingerprint, reads, share, made.notes)
                self.publisher.audit(draft)
        return self._published()

    def _narrow(
        self, room: NarrowingStage, todo: list[tuple[date, str, dict[str, Any]]], model: Any = None
    ) -> dict[date, Table]:
        done: dict[date, Table] = {}
        for asof, fingerprint, reads in todo:
            self.publisher.get_ready()
            fitted = model or (self.model(room.name, asof) if hasattr(room, "fit") else (None, None))
            say(f"  {room.name:<16} {asof}  narrowing")
            with meter() as cost:
                draft, received, kept = self.store.draft(room.name, asof, fingerprint), 0, 0
                for number, shard in enumerate(shards(reads, asof)):
                    narrowed = check(room, shard, room.narrow(fitted[0], shard))
                    received += narrowed.kept.num_rows + narrowed.removed.num_rows
                    kept += narrowed.kept.num_rows
                    write_file(flow(narrowed), draft / "data" / part_name(number))
            notes = {"received": received, "kept": kept, **(fitted[1].meta["notes"] if fitted[1] else {})}
            if fitted[1]:
                notes["fit_cost"] = fitted[1].meta["cost"]
            self.publisher.audit(self._draft(room, asof, draft, fingerprint, reads, cost, notes))
            done |= self._published(but=1)  # one is audited while the next is made
        return done | self._published()

    def _draft(
        self, room: Any, asof: date, path: Path, fingerprint: str, reads: dict[str, Any], cost: Cost, notes: Any
    ) -> Draft:
        swap = None
        if hasattr(room, "publish"):
            swap = partial(room.publish, **self._arguments(room.publish, reads, asof))
        return Draft(room, asof, path, fingerprint, self.recipe(room.name), reads, cost, notes, swap)

    def _published(self, but: int = 0) -> dict[date, Table]:
        if self.log and not self.bootstrapping:
            self.log.open()  # type: ignore[attr-defined]
        return self.publisher.finish(but)

    def _reads(self, room: Any, asof: date, model: Table | None = None) -> dict[str, Any]:
        """Every table that making the room's partition reads, by parameter; models under ``model``."""
        if isinstance(room, NarrowingStage):
            reads: dict[str, Any] = dict(self.shard_tables(room, asof, earlier=model is not None))
            if hasattr(room, "fit"):
                reads["model"] = model or self.model_table(room.name, asof)
            return reads
        return self._resolve(room, room.transform, asof)

    def _resolve(self, room: Any, method: Any, asof: date) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, kind in parameters(method).items():
            if kind == "same":
                found[name] = self.events(asof) if name == "events" else self.table(name, asof)
            elif kind in ("past", "recent"):
                found[name] = self.past(room, name, asof, kind)
            else:
                found[name] = self.truth(asof)
        return found

    def events(self, asof: date) -> Table:
        """Events known by ``asof``: of the published partition nearest at or after it readers see no later row."""
        for day in self.store.partitions("events"):
            table = self.store.current("events", day) if day > asof else None
            if day == asof:
                break
            if table and table.meta["recipe"] == self.recipe("events"):
                return Table("events", asof, table.version, table.path, table.meta)
        return self.table("events", asof)

    def earlier_events(self, asof: date) -> Table | None:
        """The newest partition before ``asof`` that this source, as it is now, made by the same recipe."""
        for day in reversed(self.store.partitions("events")):
            if day < asof and (found := self.store.find("events", day, self._fingerprint("events", day, {}))):
                return found
        return None

    def truth(self, asof: date) -> Truth:
        """The events of the horizon after ``asof``.

        Raises:
            Pending: the source does not reach the end of the horizon yet.
        """
        end = asof + self.horizon
        table = self.table("events", end)
        if not table.meta["notes"]["goes_on"] and table.meta["notes"]["last_day"] < end.isoformat():
            last = table.meta["notes"]["last_day"]
            raise Pending(f"the horizon after {asof} closes with the events of {end}; the source ends on {last}")
        return Truth("events", asof, table.version, table.path, table.meta, end)

    def _arguments(
        self, method: Any, reads: dict[str, Any], asof: date, asofs: list[date] | None = None
    ) -> dict[str, Any]:
        known = {
            "asof": lambda: asof,
            "asofs": lambda: asofs or [asof],
            "source": lambda: self.source,
            "earlier": lambda: self.earlier_events(asof),
            "horizon": lambda: self.horizon,
            "session": lambda: self._session,
            "settings": lambda: self.settings,
        }
        wanted = inspect.signature(method).parameters
        return {
            name: reads[name] if name in reads else known[name]() for name in wanted if name in reads or name in known
        }

    @cached_property
    def _session(self) -> Any:
        from narrows.engine.spark import spark_session

        return spark_session(self.settings.spark)
