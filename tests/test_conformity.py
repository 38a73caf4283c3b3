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
from narrows.pipeline import Pipeline
from narrows.run.narrowing import flow, fuse, shards
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import NarrowingStage, TableStage, parameters, settings_of
from stages import PIPELINE
from tests.fixtures import Line
from tests.paths import ROOT

ROOMS = Pipeline.of(PIPELINE)
HEAVY = {
    *("pyspark", "torch", "lightgbm", "faiss", "mlflow", "great_expectations", "pandas", "polars", "pyarrow", "numpy"),
    *("scipy", "sqlalchemy"),
}
SOURCE = [file for folder in ("narrows", "stages", "features", "dags") for file in ROOT.glob(f"{folder}/**/*.py")]

every_room = pytest.mark.parametrize("room", ROOMS.rooms, ids=ROOMS.names)
every_narrowing_room = pytest.mark.parametrize("name", ROOMS.narrowing)
every_file = pytest.mark.parametrize("file", sorted(SOURCE), ids=lambda file: str(file.relative_to(ROOT)))


def test_stages_holds_the_pipeline_and_its_rooms_and_nothing_else():
    found = {path.name for path in (ROOT / "stages").iterdir() if path.name != "__pycache__"}
    assert found == {"__init__.py", *ROOMS.names}


@every_room
def test_a_room_is_a_frozen_dataclass_named_after_its_folder(room):
    assert room.__module__ == f"stages.{room.name}"
    assert issubclass(room, TableStage) != issubclass(room, NarrowingStage)
    with pytest.raises(dataclasses.FrozenInstanceError):
        room().name_of_nothing = 1
    assert (room.__doc__ or "").strip().endswith(".")
    assert (sys.modules[room.__module__].__doc__ or "").strip()


@every_room
def test_the_shape_of_a_rooms_methods(room):
    if issubclass(room, NarrowingStage):
        assert "transform" not in vars(room)
        assert list(vars(room)["narrow"].__annotations__)[:2] == ["model", "shard"]
        assert hasattr(room, "fit") == ("load" in vars(room))
    else:
        assert parameters(room.transform) or "source" in room.transform.__annotations__


@every_room
def test_settings_survive_a_round_trip_through_toml_and_each_is_explained(room, tmp_path):
    lines = [f"[{room.name}]"]
    lines += [
        f"{key} = {json.dumps(value)}" for key, value in settings_of(room()).items() if not isinstance(value, dict)
    ]
    (tmp_path / "narrows.toml").write_text("\n".join(lines))
    assert load_settings(tmp_path / "narrows.toml", {}).rooms[room.name] == room()
    tree = ast.parse((ROOT / "stages" / room.name / "__init__.py").read_text())
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == room.__name__)
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            assert isinstance(after, ast.Expr), f"{room.name}.{ast.unparse(node.target)} has no docstring"
            assert isinstance(after.value, ast.Constant)


@every_room
def test_a_contract_stands_beside_the_room_and_names_the_grain(room):
    for side in ("", *getattr(room, "side_tables", ())):
        terms = contract(room, side)
        assert terms.path.parent == ROOT / "stages" / room.name
        assert terms.grain.startswith("one row per")
        assert terms.expectations


def test_entry_points_are_light_to_import():
    command = [sys.executable, "-c", "import sys, stages; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert not HEAVY & set(loaded)


@every_file
def test_imports_point_one_way(file):
    """dags -> stages -> narrows, features; rooms never import rooms; of the framework only the command line sees rooms."""
    place = file.relative_to(ROOT).parts
    command_line = place[:2] in (("narrows", "cli"), ("narrows", "__main__.py"), ("narrows", "api.py"))
    for module in imported(file):
        head, *rest = module.split(".")
        if place[0] == "features":
            assert head not in ("stages", "dags", "narrows", "pyspark"), f"{file} imports {module}"
        elif place[0] == "narrows" and not command_line:
            assert head not in ("stages", "features", "dags"), f"{file} imports {module}"
        elif place[0] == "stages":
            assert head != "dags"
            room = rest[0] if head == "stages" and rest and rest[0] in ROOMS.names else ""
            assert not room or place[1] in (room, "__init__.py"), f"{file} imports {module}"
        if place[0] in ("narrows", "stages") and not command_line:
            assert module.split(".")[:2] != ["narrows", "cli"], f"{file} imports {module}"


MEANT_OTHERWISE = {
    "narrows/columns.py": {"rank"},  # the place in a list
    "narrows/candidates.py": {"rank"},
    "narrows/serving": {"rank"},
    "narrows/source": {"events"},  # the source's own tables: keys of [source]
    "narrows/stream": {"events"},  # a key of [source]
    "narrows/codesign": {"recall", "prerank", "rank"},  # the stages of a cascade that the lab trains; a metric; a place
    "narrows/config": {"events", "examples"},  # a key of [source]; a keyword of pydantic's
}
"""Words that are rooms' names and mean something else there."""


@every_file
def test_the_framework_names_no_room_and_no_rooms_table(file):
    """Neither as text nor as a name; docstrings may give examples."""
    place = str(file.relative_to(ROOT))
    if not place.startswith("narrows/") or place.startswith("narrows/cli/"):
        return
    allowed = {word for part, words in MEANT_OTHERWISE.items() if place.startswith(part) for word in words}
    names = set(ROOMS.names) - allowed
    tree = ast.parse(file.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        words = {
            ast.Constant: lambda n: n.value if isinstance(n.value, str) and id(n) not in docstrings else "",
            ast.Name: lambda n: n.id, ast.Attribute: lambda n: n.attr, ast.arg: lambda n: n.arg,
            ast.keyword: lambda n: n.arg or "", ast.FunctionDef: lambda n: n.name,
        }.get(type(node), lambda n: "")(node)  # fmt: skip
        assert words not in names, f"{place}:{node.lineno} names {words!r}"


def test_packages_of_the_framework_import_each_other_in_no_circle():
    """Between the small packages, imports at module level have an order."""
    edges: dict[str, set[str]] = {}
    for file in ROOT.glob("narrows/**/*.py"):
        place = file.relative_to(ROOT / "narrows").with_suffix("").parts
        package = place[0]
        for node in ast.parse(file.read_text()).body:
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                if module.startswith("narrows.") and (other := module.split(".")[1]) != package:
                    edges.setdefault(package, set()).add(other)
    done: list[str] = []
    while rest := {name for pair in edges.items() for name in (pair[0], *pair[1])} - set(done):
        free = [name for name in rest if not edges.get(name, set()) - set(done)]
        assert free, f"a circle among {sorted(rest)}: {edges}"
        done += free


def test_the_ranks_implementation_runs_on_a_bare_image():
    """stages/rank needs torch, numpy, pyarrow and pydantic; no more."""
    allowed = {"torch", "numpy", "pyarrow", "pydantic", "narrows", "stages", "features", *sys.stdlib_module_names}
    for file in (ROOT / "stages" / "rank").glob("*.py"):
        assert {module.split(".")[0] for module in imported(file)} <= allowed
    code = f"""
import sys, numpy, torch, pyarrow.compute, pyarrow.dataset, pyarrow.parquet
for name in {sorted(HEAVY | {"fsspec", "psutil", "yaml"})}:
    if name not in sys.modules:
        sys.modules[name] = None  # an import of it fails
import stages.rank.fit, stages.rank.model, stages.rank.net, features.pair
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@every_room
def test_a_recipe_is_stable_and_follows_the_settings(room, tmp_path):
    (tmp_path / "narrows.toml").write_text("")
    one, two = (Runner(load_settings(tmp_path / "narrows.toml", {})) for _ in range(2))
    assert one.recipe(room.name) == two.recipe(room.name)
    values = settings_of(one.room(room.name)).items()
    numbers = ((k, v) for k, v in values if isinstance(v, int | float) and not isinstance(v, bool))
    other = {"NARROWS_SOURCE__VISIT": "2h"}  # for a room without settings
    for key, value in numbers:
        changed = value * 0.9 if isinstance(value, float) else value + 1
        other = {f"NARROWS_{room.name.upper()}__{key.upper()}": str(changed)}
        break
    assert Runner(load_settings(tmp_path / "narrows.toml", other)).recipe(room.name) != one.recipe(room.name)


@every_narrowing_room
def test_kept_and_removed_are_what_was_received(line: Line, name):
    rows = line.table(name).arrow(["user_id", "item_id", "kept", "reason"])
    assert rows.group_by(["user_id", "item_id"]).aggregate([]).num_rows == rows.num_rows
    removed = rows.filter(pa.compute.invert(rows["kept"]))
    assert removed["reason"].null_count == 0
    if before := ROOMS.before(name):
        assert pairs(line.table(before).arrow(["user_id", "item_id"], pa.dataset.field("kept"))) == pairs(rows)


def test_staged_is_fused(line: Line):
    """Room by room through the store, or all rooms over each shard in memory: every column of every row, removed ones too."""
    runner = line.runner
    rooms = [runner.room(name) for name in ROOMS.narrowing]
    models = [runner.model(room.name, line.asof)[0] if hasattr(room, "fit") else None for room in rooms]
    tables = {name: line.table(name) for name in (rooms[0].users, rooms[0].items)}
    size = runner.settings.pipeline_settings.shard_users
    numbers = range(0, tables[rooms[0].users].rows, size)
    assert len(numbers) > 3, "several shards, so that their borders are tested"
    cut, removed = shards(runner.pipeline, rooms[0], tables, line.asof, size), dict.fromkeys(ROOMS.narrowing, 0)
    for number, shard in enumerate(cut):
        for room, fused in zip(rooms, fuse(list(zip(rooms, models, strict=True)), shard), strict=True):
            staged = line.table(room.name).part(number)
            removed[room.name] += staged.num_rows - staged["kept"].to_pylist().count(True)
            assert flow(fused).cast(staged.schema).equals(staged), (room.name, number)
    assert number == len(numbers) - 1
    assert all(removed.values()), "every room removes something, so that removed rows are compared"


def test_the_size_of_a_shard_changes_no_row(line: Line):
    runner = line.runner
    rooms = [(runner.room(name), runner.model(name, line.asof)[0]) for name in ROOMS.narrowing]
    tables = {name: line.table(name) for name in (rooms[0][0].users, rooms[0][0].items)}
    (whole,) = shards(runner.pipeline, rooms[0][0], tables, line.asof, 10_000)
    for (room, _), fused in zip(rooms, fuse(rooms, whole), strict=True):
        staged, once = line.table(room.name).arrow(), flow(fused)
        key = [("user_id", "ascending"), ("item_id", "ascending")]
        for name in ("user_id", "item_id", "kept", "reason"):
            assert once.sort_by(key)[name].to_pylist() == staged.sort_by(key)[name].to_pylist(), (room.name, name)
        score = f"{room.name}_score"
        values = [table.sort_by(key)[score].to_pylist() for table in (once, staged)]
        assert values[0] == pytest.approx(values[1], rel=1e-6, nan_ok=True)


@every_narrowing_room
def test_a_user_who_is_narrowed_alone_gets_the_same(line: Line, name):
    """No user's candidates depend on who else is in the shard."""
    runner, room = line.runner, line.runner.room(name)
    model = runner.model(name, line.asof)[0] if hasattr(room, "fit") else None
    shard = next(shards(runner.pipeline, room, runner.shard_tables(room, line.asof), line.asof, 20))
    together = room.narrow(model, shard).kept
    user = shard.users["user_id"][3].as_py()
    mine = pa.compute.equal(shard.users["user_id"], user)
    candidates = shard.candidates and shard.candidates.filter(pa.compute.equal(shard.candidates["user_id"], user))
    alone = room.narrow(model, type(shard)(shard.users.filter(mine), shard.items, candidates, shard.asof)).kept
    kept = together.filter(pa.compute.equal(together["user_id"], user))
    assert alone["item_id"].to_pylist() == kept["item_id"].to_pylist()


def pairs(rows: pa.Table) -> set[tuple[str, str]]:
    return set(zip(rows["user_id"].to_pylist(), rows["item_id"].to_pylist(), strict=True))


def imported(file: Path) -> set[str]:
    """Every module that a file imports, also inside functions and for type checking."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
