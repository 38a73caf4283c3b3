"""From a draft to a published partition: audit, manifest, one rename, the log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from narrows.asof import DAY, Asof
from narrows.audit.contract import Audit, contract
from narrows.audit.observations.subject import LEAST
from narrows.audit.worker import Audits, BackgroundAudits
from narrows.engine.cost import Cost
from narrows.run.fingerprint import versions
from narrows.run.observed import Earlier, of_table
from narrows.run.swapping import Swapping
from narrows.stage import Table, settings_of
from narrows.store.partitions import Store
from narrows.tracking.unlogged import RELEASE

LOG = logging.getLogger(__name__)
COMPARED = LEAST + 1
"""Horizons back to which partitions are observed for those that come after them."""


@dataclass
class Draft:
    """A partition, or a room's model, that is made and not yet published."""

    room: Any
    asof: Asof
    path: Path
    fingerprint: str
    recipe: str
    reads: dict[str, Any]
    cost: Cost
    notes: dict[str, Any]
    swap: Callable[[Table], dict[str, Any]] | None = None
    """Of a room whose table also lives elsewhere: what publishes it there; it returns more notes."""
    past: bool = False
    """Made for the past of a first run."""
    shared: Collection[Path] = ()
    """Files of the rows, by their place below the table, that an earlier partition has: they were audited with that."""

    @property
    def fresh(self) -> list[str]:
        """The files of the rows that are to be audited, where it is not all of them: the new ones, at least the newest."""
        if not self.shared:
            return []
        files = sorted((self.path / "data").rglob("*.parquet"))
        return [str(file) for file in files if file.relative_to(self.path / "data") not in self.shared] or [
            str(files[-1])
        ]


@dataclass
class Publisher:
    """Publishes drafts whose contract holds, in the order in which they were made."""

    store: Store
    docs: Path
    """Folder of the data docs."""
    run_id: str = ""
    log: Any = None
    """A `RunLog`: called with (room, table, audit, model folder) after every publication; None logs nothing."""
    in_background: bool = False
    """Whether audits are made in a process of their own while the rooms work on."""
    base: Path = Path()
    """Where a user's modules lie."""
    overlaps: bool = False
    """Whether a room may work while what the one before it made is audited, or is published elsewhere by a process of its own."""
    horizon: timedelta = DAY
    force: bool = False
    """Whether alarms of observations are no more than warnings, as they are for other as-ofs than ``asof``."""
    asof: Asof | None = None
    """Of the run; None = alarms stop the drafts of all."""
    new_versions: list[Table] = field(default_factory=list)
    """What was published."""
    drafts: deque[Draft] = field(default_factory=deque)
    """What is being audited."""
    swapping: Swapping | None = None
    """What is audited and not published yet: see ``settle``."""

    @cached_property
    def audits(self) -> Audits:
        return BackgroundAudits() if self.in_background else Audits()

    def get_ready(self) -> None:
        """Something will have to be audited: what takes seconds to start may start."""
        _ = self.audits

    def close(self) -> None:
        """End the process that audits, if one was started."""
        if isinstance(audits := self.__dict__.pop("audits", None), BackgroundAudits):
            audits.close()

    @cached_property
    def earlier(self) -> Earlier:
        return Earlier(self.store, self.horizon)

    def audit(self, draft: Draft) -> None:
        """Have the rows of a draft and of its side tables checked; `finish` publishes it."""
        room, around = type(draft.room), None
        for side in ("", *getattr(room, "side_tables", ())):
            folder, terms, name = draft.path / (side or "data"), contract(room, side), side or room.name
            asked = (folder, self.docs, draft.fingerprint[:16], str(draft.asof), settings_of(draft.room))
            if terms.observations and not self._is_old(draft.asof):
                around = around or self.earlier.around(draft)
            compared = of_table(around, name, bool(side)) if around and terms.observations else None
            self.audits.ask(name, terms, *asked, () if side else draft.fresh, compared)
        self.drafts.append(draft)

    def _is_old(self, asof: Asof) -> bool:
        """Whether a partition lies so far back that nobody will compare the run's own with it."""
        return self.asof is not None and asof < self.asof - COMPARED * self.horizon

    def finish(self, but: int = 0) -> dict[Asof, Table]:
        """Publish what is audited: all drafts, or all ``but`` the latest.

        Raises:
            BrokenContract: a draft breaks its contract; it and the later ones are not published.
        """
        done: dict[Asof, Table] = {}
        try:
            while len(self.drafts) > but:
                draft = self.drafts.popleft()
                sides = len(getattr(draft.room, "side_tables", ()))
                done[draft.asof] = self._publish(draft, [self.audits.answer() for _ in range(1 + sides)])
        except BaseException:
            self.drafts.clear()
            del self.audits  # the answers about those that were dropped
            raise
        return done

    def unfinished(self, name: str) -> dict[Asof, Table]:
        """A room's drafts that are being audited."""
        return {draft.asof: self._table(draft) for draft in self.drafts if draft.room.name == name}

    def model(self, draft: Draft) -> Table:
        """Publish a fitted model, the folder ``model`` of its draft."""
        if self.log:
            self.log.expect(draft.room, draft.asof, draft.fingerprint, None)
        table = self.store.publish(f"{draft.room.name}.model", draft.asof, draft.path, self._meta(draft, 0))
        self._done(draft.room, table, None, table.model_folder)
        return table

    def _publish(self, draft: Draft, audits: list[Audit]) -> Table:
        self.settle()
        table = self._table(draft)
        meta = table.meta
        if self.force or self.asof not in (None, draft.asof):
            audits = [each.lenient() for each in audits]
        meta["observations"] = {each.room: each.observations for each in audits if each.observations}
        meta["warnings"] = [f"{each.room}: {line}" for each in audits for line in each.warnings]
        audit = next((each for each in audits if not each.success), audits[0])
        if not audit.success and self.log:
            self.log(draft.room, table, audit, None)
        audit.require()
        if self.log:
            self.log.expect(draft.room, draft.asof, draft.fingerprint, audit)
        if draft.swap and self.overlaps:
            self.swapping = Swapping.begin(draft, table, audit, self.base)
            return table
        return self._swapped(draft, table, audit, draft.swap(table) if draft.swap else {})

    def _table(self, draft: Draft) -> Table:
        meta = self._meta(draft, 0)
        table = Table(draft.room.name, draft.asof, draft.fingerprint[:16], draft.path, meta)
        meta["rows"] = table.dataset().count_rows()
        return table

    def _swapped(self, draft: Draft, table: Table, audit: Audit, notes: dict[str, Any]) -> Table:
        meta = {**table.meta, "notes": {**draft.notes, **notes}}
        table = self.store.publish(draft.room.name, draft.asof, draft.path, meta)
        self._done(draft.room, table, audit, None)
        return table

    def settle(self) -> None:
        """Wait for what is being published elsewhere, and publish its partition."""
        if each := self.swapping:
            self.swapping = None
            self._swapped(each.draft, each.table, each.audit, each.notes())

    def audited(self, name: str, asof: Asof, fingerprint: str) -> Table | None:
        """The draft that is being published elsewhere, if it is this one."""
        each = self.swapping
        same = each and (each.draft.room.name, each.draft.asof, each.draft.fingerprint) == (name, asof, fingerprint)
        return each.table if each and same else None

    def publish_again(self, room: Any, table: Table, swap: Callable[[Table], dict[str, Any]]) -> None:
        """Make sure that a cached table is what the system outside the store serves; the log hears of a swap."""
        owed = self.log.note(RELEASE, room.name) if self.log else False
        notes = {**table.notes, **swap(table)}
        if self.log and (owed or notes.get("swapped", True)):
            self.log.release(room.name, notes)
        if self.log:
            self.log.logged(RELEASE, room.name)

    def _done(self, room: Any, table: Table, audit: Audit | None, model: Path | None) -> None:
        self.new_versions.append(table)
        self.earlier.published(table)
        cost = table.meta["cost"]
        what = "model" if model else f"{table.rows:>9,} rows"
        spent = f"{cost['seconds']:6.1f} s  {cost['peak_mb']:6.0f} MB"
        LOG.info("  %-16s %s  made  %s  %s  %s", room.name, table.asof, table.version, what, spent)
        for line in table.meta.get("warnings", ()) if self.asof in (None, table.asof) else ():
            LOG.warning("!! %s", line)
        if self.log:
            self.log(room, table, audit, model)

    def _meta(self, draft: Draft, rows: int) -> dict[str, Any]:
        return {
            "fingerprint": draft.fingerprint,
            "recipe": draft.recipe,
            "inputs": versions(draft.reads),
            "settings": settings_of(draft.room),
            "rows": rows,
            "cost": draft.cost.as_dict(),
            "notes": draft.notes,
            "partitioned_by": getattr(draft.room, "partitioned_by", ""),
            "past": draft.past,
            "run_id": self.run_id,
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
