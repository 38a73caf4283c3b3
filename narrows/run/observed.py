"""What the audit of a draft compares it with: earlier partitions, their observations, and the tables that the room read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from narrows.asof import DAY, Asof
from narrows.audit.observations.subject import WEEK, Around
from narrows.stage import Recent, Table, settings_of
from narrows.store.partitions import Store

if TYPE_CHECKING:
    from narrows.run.publish import Draft

RECENT = 8
"""Earlier partitions that say what is usual."""


@dataclass
class Earlier:
    """The earlier partitions of tables as far as they were looked up; nobody else publishes meanwhile."""

    store: Store
    horizon: timedelta = DAY
    _found: dict[tuple[str, Asof], Table | None] = field(default_factory=dict)

    def around(self, draft: Draft) -> Around:
        """What the rows of a draft are compared with, and those of its side tables."""
        room, name = draft.room, draft.room.name
        settings = _plain(settings_of(room))
        days = [day for day in self.store.partitions(name) if day < draft.asof]
        wanted = dict.fromkeys([*days[:-RECENT:-1], *(day for day in days if draft.asof - day in (DAY, WEEK))])
        earlier = {day: table for day in sorted(wanted) if (table := self._table(name, day))}
        earlier = {day: table for day, table in earlier.items() if _plain(table.meta["settings"]) == settings}
        read = {key: table for key, table in draft.reads.items() if isinstance(table, Table)}
        recent = {
            key: tables[draft.asof]
            for key, tables in draft.reads.items()
            if isinstance(tables, Recent) and draft.asof in tables
        }
        sides = getattr(room, "side_tables", ())
        own = {side: Table(side, draft.asof, "", draft.path, {}, side) for side in sides}
        return Around(
            draft.asof, self.horizon, settings, read | recent | own, earlier[max(earlier)] if earlier else None,
            {day: table.meta.get("observations", {}) for day, table in earlier.items()},
        )  # fmt: skip

    def published(self, table: Table) -> None:
        """A partition that is new."""
        self._found[table.name, table.asof] = table

    def _table(self, name: str, asof: Asof) -> Table | None:
        if (name, asof) not in self._found:
            self._found[name, asof] = self.store.current(name, asof)
        return self._found[name, asof]


def of_table(around: Around, name: str, side: bool = False) -> Around:
    """The part that is of the draft's own rows, or of one of its side tables."""
    previous = around.previous
    if side and previous:
        previous = previous.side(name) if previous.has_side(name) else None
    return replace(around, previous=previous, earlier={day: each.get(name, {}) for day, each in around.earlier.items()})


def _plain(settings: Any) -> Any:
    """Settings as a manifest has them."""
    return json.loads(json.dumps(settings, default=str))
