"""Profiles of logs that one process holds are those that Spark's tasks make, row for row."""

from __future__ import annotations

import dataclasses

import pytest

from narrows.asof import Asof
from narrows.engine import here
from narrows.stage import Table
from stages.item_profiles import ItemProfiles
from stages.user_profiles import UserProfiles
from tests import random_events as world
from tests.test_profiles import ASOFS, ROOM, saved


@pytest.mark.parametrize(("rows_at_once", "reach"), [(37, 0.0), (10_000, 2.5)])
def test_without_spark_the_rows_are_the_same(spark, tmp_path, monkeypatch, rows_at_once, reach):
    monkeypatch.setattr(here, "ROWS_AT_ONCE", rows_at_once)
    asofs = ASOFS[1:4]
    tables = world.published(spark, tmp_path / "published", world.source(tmp_path, world.events(3)), asofs[-1])
    few = (dataclasses.replace(tables[0], meta={**tables[0].meta, "rows": 900}), *tables[1:])
    for room in (UserProfiles(sequence_length=5, reach=reach), ItemProfiles(reach=reach)):
        for number, (session, given) in enumerate(((spark, tables), (None, few))):
            room.transform(*given, session=session, asofs=asofs, **ROOM).save(tmp_path / room.name / str(number))
        for asof in asofs:
            one, other = (read(tmp_path / room.name / number, asof) for number in "01")
            assert one.equals(other), (room.name, asof)
    if rows_at_once < 100:
        assert len(list((tmp_path / "user_profiles" / "1" / str(asofs[0])).rglob("*.parquet"))) > 5


def read(folder, asof: Asof):
    return Table("t", asof, "v", saved(folder, asof), {}).arrow()
