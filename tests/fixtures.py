"""Fixtures that several test files share: the whole cascade over the small world, run once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from narrows.asof import Asof
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import Table
from tests import world


@dataclass(frozen=True)
class Line:
    """A finished run of the whole line."""

    file: Path
    runner: Runner
    asof: Asof

    def table(self, room: str) -> Table:
        found = self.runner.store.current(room, self.asof)
        assert found is not None
        return found


def run_line(file: Path, asof: Asof, rooms: tuple[str, ...] = ()) -> Line:
    """Run the rooms in order in this process."""
    runner = Runner(load_settings(file, {}))
    with runner.store.lock("a test"):
        for room in rooms or runner.pipeline.names:
            runner.run(room, asof)
    return Line(file, runner, asof)


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The cascade over the small world."""
    return run_line(world.write(tmp_path_factory.mktemp("world")), world.ASOF)


@pytest.fixture(scope="session")
def sampled_line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """The cascade over the small world with a flow sample of some 30 of its 81 users; the others are narrowed fused."""
    few = {"pipeline": {"windows": 4, "shard_users": 10, "flow_users": 30}}
    return run_line(world.write(tmp_path_factory.mktemp("sampled"), few), world.ASOF)
