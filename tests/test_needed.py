"""`narrows gc` over runs: what is needed stays readable and found in the store, all else goes and can be made again."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import sqlalchemy as sa

from narrows.asof import Asof
from narrows.audit import site
from narrows.cli.compare.runs import comparison, find
from narrows.cli.main import main
from narrows.cli.report import record
from narrows.run import needed as module
from narrows.run.needed import Kept, needed
from narrows.serving import schema
from narrows.settings import load_settings
from narrows.store.garbage import Version
from narrows.store.partitions import StoreError, open_store
from tests.fixtures import Line, run_line

DAY = Asof.parse("2024-03-01")
WEEK = timedelta(days=7)


# ---------------------------------------------------------------- what is needed


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "narrows.toml").write_text('[source]\nname = "files"\n[pipeline]\nwindows = 3\n')
    return load_settings(tmp_path / "narrows.toml", {})


def version(name: str, weeks: int, table: str = "rank", current: bool = True, past: bool = False, **inputs: object):
    return Version(table, str(DAY + weeks * WEEK), name, inputs, past, current)


def test_the_windows_of_the_newest_lists_stay_and_what_they_read_as_far_as_the_windows_reach(settings):
    back = module.windows(settings)
    versions = [
        version("lists", 0, events="events", model="old model", examples={"any": "window"}),
        version("superseded", 0, current=False),
        version("events", 0, "events"),
        version("window", -1, current=False, events="read"),
        version("read", -1, "events", current=False),
        version("oldest", -back),
        version("older", -back - 1),
        version("old model", -back - 3, "rank.model", current=False, events="learned"),
        version("learned", -back - 3, "events", current=False),
        version("past model", -back - 5, "rerank.model", past=True),
        version("last model", -back - 6, "rerank.model"),
        version("horizon", 1, "events"),
    ]
    found = needed(settings, versions, [], DAY)
    assert found == {"lists", "events", "window", "read", "oldest", "old model", "last model", "horizon"}


def test_a_kept_run_keeps_what_it_read_though_the_pointers_moved_on(settings):
    versions = [
        version("own", -9, current=False, recall={"w": "flow"}),
        version("flow", -10, current=False, user_profiles="profiles"),
        version("profiles", -10, current=False),
        version("other", -9, current=False),
        version("other current", -9),
        version("new", 0),
    ]
    kept = Kept(DAY - 9 * WEEK, WEEK, 2, ("own", "gone already"))
    assert needed(settings, versions, [kept], DAY) == {"own", "flow", "profiles", "new"}
    assert needed(settings, versions, [], DAY) == {"new"}
    assert needed(settings, versions, [], None) == {"new", "other current"}


def test_partitions_of_another_grain_stay(settings):
    hourly = Version("rank", "2020-01-01T13", "hourly", {})
    assert needed(settings, [hourly], [], DAY) == {"hourly"}


# ---------------------------------------------------------------- the data docs


def test_pages_of_versions_that_are_gone_go_and_a_broken_contract_stays_until_it_is_mended(tmp_path):
    def audited(version: str, asof: str, broken: bool = False) -> None:
        site.add(tmp_path, "lists", version, asof, "a row", SimpleNamespace(results=[], meta={}))
        if broken:
            lines = (tmp_path / site.LINES).read_text().splitlines()
            last = json.loads(lines[-1]) | {"failed": 1}
            (tmp_path / site.LINES).write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")

    audited("gone", "2024-03-01")
    audited("here", "2024-03-01")
    audited("broken before", "2024-03-02", broken=True)
    audited("broken", "2024-03-02", broken=True)
    audited("mended", "2024-03-01", broken=True)
    old = site.outdated(tmp_path, {"here"})
    assert {line["version"] for line in old} == {"gone", "broken before", "mended"}
    site.forget(tmp_path, old)
    assert {path.name for path in (tmp_path / "validations" / "lists").iterdir()} == {"here", "broken"}
    assert [line["version"] for line in site.audits(tmp_path)] == ["broken", "here"]
    assert "gone" not in (tmp_path / "index.html").read_text()
    assert site.outdated(tmp_path, {"here"}) == []


# ---------------------------------------------------------------- the command, over a real run


@pytest.fixture
def designs(line: Line, tmp_path) -> Path:
    """The folder of a world in which three designs were run and recorded as of the same day."""
    folder = tmp_path / "world"
    shutil.copytree(line.file.parent, folder)
    file = folder / line.file.name
    first = file.read_text()
    record.write(load_settings(file, {}), "", line.asof, "abc")
    for n in (40, 41):
        file.write_text(f"{first}\n[recommendations]\nfallback_n = {n}\n")
        run_line(file, line.asof)
        record.write(load_settings(file, {}), str(n), line.asof, "abc")
    return file


def without_kept_releases(file: Path) -> None:
    engine = schema.open_engine(load_settings(file, {}).serving_url)
    with engine.begin() as connection:
        for table in (schema.recommendation, schema.fallback):
            kept = sa.select(schema.release.c.release_id).where(schema.release.c.state == schema.KEPT)
            connection.execute(sa.delete(table).where(table.c.release_id.in_(kept)))
        connection.execute(sa.delete(schema.release).where(schema.release.c.state == schema.KEPT))
    engine.dispose()


def gc(file: Path, capsys, *flags: str) -> dict:
    assert main(["--file", str(file), "gc", "--json", *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_after_gc_kept_runs_are_read_compared_and_found_and_what_is_gone_is_made_again(designs: Path, capsys):
    settings = load_settings(designs, {})
    store, asof = open_store(settings), settings.asof("2024-04-07")
    everything = gc(designs, capsys, "--keep-runs", "3")
    assert everything["leftovers"] == []
    judged = gc(designs, capsys, "--keep-runs", "0")["leftovers"]
    assert {each["table"] for each in judged} == {"evaluation"}, "the serving database has all three releases"
    without_kept_releases(designs)
    before = store.find(
        "recommendations", asof, find(settings.state, "1").record["tables"]["recommendations"]["version"]
    )
    rows = pl.DataFrame(before.arrow().sort_by([("user_id", "ascending"), ("rank", "ascending")]))
    dry = gc(designs, capsys, "--keep-runs", "2", "--grace", "0")
    one_design = {"recommendations", "evaluation"}
    assert {each["table"] for each in dry["leftovers"]} == one_design
    assert not any(each["removed"] for each in dry["leftovers"])
    assert dry["free"] == sum(each["size"] for each in dry["leftovers"]) > 0
    assert gc(designs, capsys, "--keep-runs", "2", "--grace", "0")["leftovers"] == dry["leftovers"], "it was a dry run"
    done = gc(designs, capsys, "--keep-runs", "2", "--yes", "--grace", "0")
    assert all(each["removed"] for each in done["leftovers"])
    assert done["audits"] == len(one_design)
    assert gc(designs, capsys, "--keep-runs", "2")["leftovers"] == []

    for command in (
        ["report"],
        ["report", "--run", "2"],
        ["report", "--run", "1"],
        ["show", "h1"],
        ["compare", "2", "3"],
    ):
        assert main(["--file", str(designs), *command]) == 0, command
    with pytest.raises(StoreError, match=r"run 1 cannot be compared. Run its design again"):
        comparison([find(settings.state, "1"), find(settings.state, "2")])
    assert run_line(designs, asof).runner.new_versions == []

    third = designs.read_text()
    designs.write_text(third.replace("fallback_n = 41", "fallback_n = 40"))
    assert run_line(designs, asof).runner.new_versions == [], "the second design was kept too"
    designs.write_text(third.replace("fallback_n = 41", ""))
    again = run_line(designs, asof)
    assert {table.name for table in again.runner.new_versions} == one_design
    assert again.table("recommendations").version == before.version
    made = again.table("recommendations").arrow().sort_by([("user_id", "ascending"), ("rank", "ascending")])
    assert pl.DataFrame(made).equals(rows)


def test_the_text_says_what_would_go_and_that_nothing_went(designs: Path, capsys):
    without_kept_releases(designs)
    assert main(["--file", str(designs), "gc", "--keep-runs", "1"]) == 0
    said = capsys.readouterr().out
    assert "for the last 1 run," in said
    assert "Nothing was removed: narrows gc --yes does it" in said
    assert "go later: a reader may have opened them less than 1h ago" in said
    assert main(["--file", str(designs), "gc", "--keep-runs", "1", "--yes", "--grace", "0"]) == 0
    said = capsys.readouterr().out
    assert "removed: 4 of 4 leftovers" in said
    assert main(["--file", str(designs), "gc", "--keep-runs", "1"]) == 0
    assert "nothing is left over" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--file", str(designs), "gc", "--keep-runs", "-1"])
    with pytest.raises(SystemExit):
        main(["--file", str(designs), "gc", "--grace", "soon"])


def test_it_is_refused_while_a_run_holds_the_store(tmp_path, capsys):
    from tests.test_store import HOLD, python

    (tmp_path / "narrows.toml").write_text("")
    holder = python(HOLD, tmp_path / "var" / "tables", wait=False)
    assert holder.stdout.readline() == "held\n"
    try:
        assert main(["--file", str(tmp_path / "narrows.toml"), "gc", "--yes"]) == 75
        assert "(a long run)" in capsys.readouterr().err
    finally:
        holder.kill()
