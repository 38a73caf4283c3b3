"""What every room owes: one shape, no exceptions."""

from __future__ import annotations

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from narrows.audit.contract import contract
from narrows.cli.airflow import ROOT
from narrows.run.narrowing import fuse, narrowing_rooms, shards
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import NarrowingStage, Stage, TableStage, inputs, load_room, parameters, settings_of
from stages import PIPELINE
from tests.fixtures import Line

HEAVY = {
    "pyspark",
    "torch",
    "lightgbm",
    "faiss",
    "mlflow",
    "great_expectations",
    "pandas",
    "polars",
    "pyarrow",
    "numpy",
    "scipy",
    "sqlalchemy",
}

every_room = pytest.mark.parametrize("name", PIPELINE)
every_narrowing_room = pytest.mark.parametrize("name", narrowing_rooms())


@every_room
def test_a_room_is_a_frozen_dataclass_named_after_its_folder(name):
    room = load_room(name)
    assert room.name == name
    assert room.__module__ == f"stages.{name}"
    assert issubclass(room, TableStage) != issubclass(room, NarrowingStage)
    with pytest.raises(dataclasses.FrozenInstanceError):
        room().name_of_nothing = 1
    assert (room.__doc__ or "").strip().endswith(".")
    assert (sys.modules[room.__module__].__doc__ or "").strip()


@every_room
def test_a_room_reads_tables_that_exist_and_stand_above_it_unless_they_are_earlier_partitions(name):
    for table, kind in inputs(load_room(name)).items():
        if kind == "truth":
            continue
        assert table in PIPELINE
        assert kind == "past" or PIPELINE.index(table) < PIPELINE.index(name)


@every_room
def test_the_shape_of_a_rooms_methods(name):
    room = load_room(name)
    if issubclass(room, NarrowingStage):
        assert "transform" not in vars(room)
        assert list(vars(room)["narrow"].__annotations__)[:2] == ["model", "shard"]
        assert hasattr(room, "fit") == ("load" in vars(room))
    else:
        assert parameters(room.transform) or name == "events"


@every_room
def test_settings_survive_a_round_trip_through_toml_and_each_is_explained(name, tmp_path):
    room = load_room(name)()
    lines = [f"[{name}]"] + [f"{key} = {json.dumps(value)}" for key, value in settings_of(room).items()]
    (tmp_path / "narrows.toml").write_text("\n".join(lines))
    assert load_settings(tmp_path / "narrows.toml", {}).rooms[name] == room
    body = next(
        n for n in ast.parse(door(name)).body if isinstance(n, ast.ClassDef) and n.name == type(room).__name__
    ).body
    for number, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            after = body[number + 1]
            assert isinstance(after, ast.Expr), f"{name}.{ast.unparse(node.target)} has no docstring"
            assert isinstance(after.value, ast.Constant)


@every_room
def test_a_contract_stands_beside_the_room_and_names_the_grain(name):
    found = contract(name)
    assert found.grain.startswith("one row per")
    assert found.expectations


def test_doors_are_light_to_import():
    code = f"import sys; from narrows.stage import load_room; [load_room(n) for n in {PIPELINE!r}]; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()
    assert not HEAVY & set(loaded)


SOURCE = [file for folder in ("narrows", "stages", "features", "dags") for file in ROOT.glob(f"{folder}/**/*.py")]


@pytest.mark.parametrize("file", sorted(SOURCE), ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_one_way(file):
    """dags -> stages -> narrows, features; rooms never import rooms; of the framework only the outermost layer sees rooms."""
    place = file.relative_to(ROOT).parts
    outermost = place[:2] == ("narrows", "cli") or place[:2] == ("narrows", "__main__.py")
    for module in imported(file):
        head, *rest = module.split(".")
        if place[0] == "features":
            assert head not in ("stages", "dags", "narrows", "pyspark"), f"{file} imports {module}"
        elif place[0] == "narrows" and not outermost:
            assert head not in ("stages", "dags"), f"{file} imports {module}"
            assert module.split(".")[:2] != ["narrows", "cli"], f"{file} imports {module}"
        elif place[0] == "stages":
            assert head != "dags"
            assert module.split(".")[:2] != ["narrows", "cli"], f"{file} imports {module}"
            room = rest[0] if head == "stages" and rest and rest[0] in PIPELINE else ""
            assert not room or (len(place) > 2 and room == place[1]), f"{file} imports {module}"


def test_the_ranks_workshop_runs_on_a_bare_image():
    """stages/rank needs torch, numpy and pyarrow; no more."""
    allowed = {"torch", "numpy", "pyarrow", "pydantic", "narrows", "stages", "features", *sys.stdlib_module_names}
    for file in (ROOT / "stages" / "rank").glob("*.py"):
        assert {module.split(".")[0] for module in imported(file)} <= allowed
    code = f"""
import sys, numpy, torch, pyarrow.compute, pyarrow.dataset, pyarrow.parquet
for name in {sorted(HEAVY | {"fsspec", "psutil", "yaml"})}:
    if name not in sys.modules:
        sys.modules[name] = None  # an import of it fails
import stages.rank.learn, stages.rank.model, stages.rank.net, features.pair
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@every_room
def test_a_fingerprint_is_stable_and_follows_the_settings(name, tmp_path):
    (tmp_path / "narrows.toml").write_text("")
    one, two = (Runner(load_settings(tmp_path / "narrows.toml", {})) for _ in range(2))
    assert one.recipe(name) == two.recipe(name)
    key, value = next(
        (k, v) for k, v in settings_of(one.room(name)).items() if isinstance(v, int | float) and not isinstance(v, bool)
    )
    three = Runner(
        load_settings(
            tmp_path / "narrows.toml",
            {f"NARROWS_{name.upper()}__{key.upper()}": str(value * 0.9 if isinstance(value, float) else value + 1)},
        )
    )
    assert three.recipe(name) != one.recipe(name)


@every_narrowing_room
def test_kept_and_removed_are_what_was_received(line: Line, name):
    rooms = narrowing_rooms()
    rows = line.table(name).arrow(["user_id", "item_id", "kept", "reason"])
    assert rows.group_by(["user_id", "item_id"]).aggregate([]).num_rows == rows.num_rows
    removed = rows.filter(pa.compute.invert(rows["kept"]))
    assert removed["reason"].null_count == 0
    if rooms.index(name):
        before = line.table(rooms[rooms.index(name) - 1]).arrow(["user_id", "item_id"], pa.dataset.field("kept"))
        assert pairs(before) == pairs(rows)


def test_staged_is_fused(line: Line):
    """Room by room through the store, or all rooms over a shard in memory: the same rows."""
    rooms = [line.runner.room(name) for name in narrowing_rooms()]
    models = [line.runner.model(room.name, line.asof)[0] if hasattr(room, "fit") else None for room in rooms]
    tables = {name: line.table(name) for name in ("user_profiles", "item_profiles")}
    for shard in shards(tables, line.asof):
        for room, done in zip(rooms, fuse(list(zip(rooms, models, strict=True)), shard), strict=True):
            staged = line.table(room.name).arrow(where=pa.dataset.field("kept"))
            assert done.kept.select(["user_id", "item_id"]).equals(
                staged.select(["user_id", "item_id"]).cast(done.kept.select(["user_id", "item_id"]).schema)
            )
            score = f"{room.name}_score"
            assert done.kept[score].to_pylist() == pytest.approx(staged[score].to_pylist(), rel=1e-6, nan_ok=True)


@every_narrowing_room
def test_a_user_who_is_narrowed_alone_gets_the_same(line: Line, name):
    """No user's candidates depend on who else is in the shard."""
    runner, room = line.runner, line.runner.room(name)
    model = runner.model(name, line.asof)[0] if hasattr(room, "fit") else None
    shard = next(shards(runner.shard_tables(room, line.asof), line.asof))
    together = room.narrow(model, shard).kept
    user = shard.users["user_id"][3].as_py()
    mine = pa.compute.equal(shard.users["user_id"], user)
    candidates = shard.candidates and shard.candidates.filter(pa.compute.equal(shard.candidates["user_id"], user))
    alone = room.narrow(model, type(shard)(shard.users.filter(mine), shard.items, candidates, shard.asof)).kept
    kept = together.filter(pa.compute.equal(together["user_id"], user))
    assert alone["item_id"].to_pylist() == kept["item_id"].to_pylist()


def pairs(rows: pa.Table) -> set[tuple[str, str]]:
    return set(zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True))


def door(name: str) -> str:
    return (ROOT / "stages" / name / "__init__.py").read_text()


def imported(file: Path) -> set[str]:
    """Every module that a file imports, also inside functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_room_is_a_stage():
    assert all(issubclass(load_room(name), Stage) for name in PIPELINE)
