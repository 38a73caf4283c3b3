"""The pages of ``docs/`` that are read off the code: settings, channels, commands, tables and features.

``make docs`` writes them; a test holds them equal to the code.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

import stages
from narrows.cli.reference import columns as columns_reference
from narrows.cli.reference.commands import MADE, commands_page, plain
from narrows.config.constraints import TYPES, allowed, bounds
from narrows.pipeline import Pipeline
from narrows.settings import FILE, SECTIONS

DOCS = Path(__file__).parents[3] / "docs"
HOW = {
    "same": "",
    "past": " (earlier partitions)",
    "recent": " (this and earlier partitions)",
    "previous": " (the partition before)",
    "truth": " (events of the horizon after it)",
}


def pages() -> dict[str, str]:
    """Every generated page by its file name."""
    from features.definitions import markdown
    from narrows.cli.main import build_parser

    return {
        "settings.md": settings_page(),
        "channels.md": channels_page(),
        "world-settings.md": world_page(),
        "cli.md": commands_page(build_parser(Pipeline.of(stages.PIPELINE))),
        "tables.md": tables_page(),
        "features.md": markdown(),
    }


def write(folder: Path = DOCS) -> list[Path]:
    """Write every generated page; returns the files whose text changed."""
    changed = []
    for name, text in pages().items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed


# -------------------------------------------------------------------- settings


def settings_page() -> str:
    """All sections of ``narrows.toml`` and all rooms, each key with its default and its meaning."""
    lines = [
        "# Settings",
        "",
        MADE.format("the classes that hold them"),
        "",
        f"Every key is optional: without `{FILE}` the defaults hold. An environment variable overrides the file: "
        "`NARROWS_RECALL__N=300` is `n = 300` in `[recall]`, `NARROWS_SOURCE__EVENT_COLUMNS__USER_ID=who` is "
        '`user_id = "who"` in `[source.event_columns]`. A room\'s keys are flags of `narrows fit` and '
        "`narrows transform` too (`--max-bad-share 0.02`). An unknown key, a wrong type or a wrong value ends the "
        "command with one line that names it. The rules of the lists stand in `policy.toml`, each with its meaning.",
        "",
    ]
    for name, kind in SECTIONS.items():
        lines += _section(name, kind)
    for room in stages.PIPELINE:
        name = room.name
        lines += _section(name, room, f" (the [room](../stages/{name}/))")
    return "\n".join(lines)


def channels_page() -> str:
    """Recall's channels: what each proposes, its reason and its settings."""
    from stages.recall.channels import CHANNELS

    lines = [
        "# Recall's channels",
        "",
        MADE.format("the channels in `stages/recall/channels/`"),
        "",
        "A channel is one way of [recall](../stages/recall/) to propose items. Its score and its rank stand in the "
        "columns `<channel>_score` and `<channel>_rank` of the candidates. The reason of the channel that ranks a "
        "candidate best is the candidate's `recall_reason`, which a published list shows. Add one of your own: "
        "[add a channel](add-a-channel.md).",
        "",
        "| channel | what it does | reason | pair feature |",
        "|---|---|---|---|",
    ]
    for name, kind in CHANNELS.items():
        feature = f"`{name}_score`" if kind.score_feature else ""
        lines.append(f"| [`{name}`](#{name}) | {_first_line(kind)} | `{kind.reason}`: {kind.meaning} | {feature} |")
    lines += ["", "Settings of a channel are a table in `narrows.toml`:", "", "```toml", "[recall.channels.ease]"]
    lines += ["quota = 20", "```", ""]
    for name, kind in CHANNELS.items():
        lines += [f"## {name}", "", f"`[recall.channels.{name}]`", "", *_settings_table(kind)]
    return "\n".join(lines)


def world_page() -> str:
    """The settings of a generated world."""
    from narrows.world.settings import World

    lines = ["# Settings of a generated world", "", MADE.format("`narrows/world/settings.py`"), ""]
    lines += [
        "`narrows world DIR --set KEY=VALUE`, or `World(key=value)` in Python. What they do: [generated worlds](world.md).",
        "",
    ]
    return "\n".join(lines + _settings_table(World))


def descriptions(kind: type) -> dict[str, str]:
    """The string literal below each field of a dataclass or of its bases, as one line; ``""`` where there is none."""
    described = dict.fromkeys((field.name for field in dataclasses.fields(kind)), "")
    for base in reversed([base for base in kind.__mro__ if dataclasses.is_dataclass(base)]):
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(tree, ast.ClassDef)
        for one, below in zip(tree.body, tree.body[1:], strict=False):
            literal = below.value if isinstance(below, ast.Expr) else None
            name = one.target.id if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) else ""
            if name in described and isinstance(literal, ast.Constant):
                described[name] = plain(str(literal.value))
    return described


def _section(name: str, kind: type, where: str = "") -> list[str]:
    lines = [f"## {name}", "", f"`[{name}]`{where}: {_first_line(kind)}", "", *_settings_table(kind)]
    for key in _tables_within(kind):
        lines += _section(f"{name}.{key}", type(getattr(kind(), key)))
    return lines


def _tables_within(kind: type) -> list[str]:
    """The settings of a class that are tables with settings of their own."""
    return [field.name for field in dataclasses.fields(kind) if dataclasses.is_dataclass(getattr(kind(), field.name))]


def _settings_table(kind: type) -> list[str]:
    """The fields of a dataclass with their defaults and meanings."""
    meanings, blank = descriptions(kind), kind()
    if not meanings:
        return ["No settings.", ""]
    known = bounds(kind)
    rows = [
        f"| `{key}` | `{_toml(getattr(blank, key))}` | {_allowed(known[key])} | {text} |"
        for key, text in meanings.items()
    ]
    return ["| key | default | allowed | meaning |", "|---|---|---|---|", *rows, ""]


def _allowed(field: dict[str, Any]) -> str:
    """The bounds or choices of a setting, or else its type."""
    return plain(allowed(field) or (TYPES | {"string": "any text"})[field["type"]])


def _first_line(kind: type) -> str:
    return plain((inspect.getdoc(kind) or "").split("\n\n")[0])


def _toml(value: Any) -> str:
    """A default as ``narrows.toml`` writes it."""
    if dataclasses.is_dataclass(value):
        return "{}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str | dict) else repr(value)


# -------------------------------------------------------------------- tables


def tables_page() -> str:
    """What every room's table holds, and the schema of the serving database."""
    from narrows.audit.contract import contract
    from narrows.reasons import of_rooms
    from narrows.serving.schema import FALLBACK, ddl

    lines = [
        "# Tables",
        "",
        MADE.format("the rooms, their contracts and the serving schema"),
        "",
        "A table is a folder of Parquet files for each as-of, below `var/tables/`; how it gets there is told in "
        "[architecture](architecture.md). Column names that rooms share are spelled in `narrows/columns.py`; the "
        "features are [listed apart](features.md).",
        "",
    ]
    pipeline = Pipeline.of(stages.PIPELINE)
    for room in pipeline.rooms:
        name, terms = room.name, contract(room)
        reads = ", ".join(f"`{table}`{HOW[kind]}" for table, kind in pipeline.inputs(name).items()) or "the source"
        grain = terms.grain[0].upper() + terms.grain[1:]
        what = plain(inspect.getdoc(room) or "")
        observed = f" of rows and {len(terms.observations)} of the whole" if terms.observations else ""
        checks = f"Its [contract](../stages/{name}/contract.yml) has {len(terms.expectations)} expectations{observed}."
        lines += [f"## {name}", "", f"{grain}.", "", what, "", f"Reads {reads}. {checks}", ""]
        lines += columns_reference.lines(name)
    lines += [
        "## The serving database",
        "",
        "What product services read, by the statement in [serving](serving.md). The schema in Postgres' words:",
        "",
        "```sql",
        ddl("postgresql").replace("\t", "    ").replace(" \n", "\n").strip(),
        "```",
        "",
        "## Reason codes",
        "",
        "What the column `reason` of a published list may hold. A code keeps its meaning; new ones may come, so show none "
        "that you do not know. The texts lie in the table `reason` too, and are yours to translate by code. They come "
        "from `reasons.yml` beside the code of a room, and from recall's [channels](channels.md); so does the code of a "
        "channel of your own.",
        "",
        "| code | text |",
        "|---|---|",
        *(f"| `{code}` | {plain(text)} |" for code, text in (of_rooms(pipeline.rooms).kept | FALLBACK).items()),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    for file in write():
        print(f"{file.relative_to(DOCS.parent)} is new")
