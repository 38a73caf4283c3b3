"""``narrows init``: look at somebody's files and write the ``narrows.toml`` that a run of them needs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from narrows.cli.command import Command
from narrows.cli.invocation import program
from narrows.columns import EVENT_COLUMNS, ITEM, USER
from narrows.pipeline import Pipeline
from narrows.settings import FILE, load_settings
from narrows.source.errors import SourceError
from narrows.store.partitions import write_text

TEXT = "Look at your files and write a commented narrows.toml for them."


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows init``."""
    parser.add_argument(
        "events", nargs="+", metavar="FILE", help="the events: Parquet, CSV or JSON lines; a path, glob or URL"
    )
    parser.add_argument("--items", default="", metavar="FILE", help="the items, one row per item")
    parser.add_argument("--users", default="", metavar="FILE", help="the users, one row per user")
    parser.add_argument("--out", type=Path, default=Path(FILE), help=f"the file to write (default {FILE})")
    parser.add_argument(
        "--column", action="append", default=[], metavar="OUR=YOURS", help="a column of the events that is known"
    )
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def init(settings: None, args: argparse.Namespace) -> int:
    """Write the settings file, and say what was found."""
    out = args.out.absolute()
    require_new(out, args.force)
    text, lines = guessed(
        out.parent, _one_url(args.events, out.parent), _below(args.items, out.parent), _below(args.users, out.parent),
        _columns(args.column),
    )  # fmt: skip
    print("\n".join(lines))
    written(out, text)
    named = "" if out == Path(FILE).absolute() else f" --file {args.out}"
    print(f"\n{args.out} is written. Next:")
    print(f"  {program()}{named} doctor    check what a run will need")
    print(f"  {program()}{named} run       the whole line, then a report")
    return 0


def guessed(
    folder: Path, events_url: str, items_url: str, users_url: str, columns: dict[str, str], more: str = ""
) -> tuple[str, list[str]]:
    """The settings file for some files, and what to say of them.

    Args:
        folder: where the file will lie; relative URLs start here.
        events_url: the events.
        items_url: the items; empty = none, unless the events describe them.
        users_url: the users; empty = none.
        columns: what is known of the events' columns: our name = the file's.
        more: sections to add.

    Raises:
        SourceError: files that cannot be read, or a needed column that cannot be guessed.
    """
    from narrows.cli.data.settings_text import settings_text
    from narrows.source import looked
    from narrows.source.guess import of_users
    from narrows.source.remote import Location

    place = Location(folder, folder / "var" / "sources")
    events = looked.events_table(place, events_url, columns)
    items = looked.items_table(place, items_url, events)
    tables = {"events": events}
    if items_url or len(items.guesses.found) > 1:
        tables["items"] = items
    if users_url:
        files, sample = looked.look(place, users_url)
        guesses = of_users(sample, events.guesses.found[USER].column)
        if USER not in guesses.found:
            raise SourceError(
                f"cannot tell which column of {files[0]} is the user. It has: {', '.join(sample.columns)}. Rename it to "
                f"{events.guesses.found[USER].column}, as in the events."
            )
        tables["users"] = looked.Looked(users_url, files, sample, guesses)
    known = {
        name: looked.share_of_known(events, tables[name], key)
        for name, key, url in (("items", ITEM, items_url), ("users", USER, users_url))
        if url
    }
    return settings_text(tables, known, more)


def require_new(out: Path, force: bool) -> None:
    """Refuse to replace a file, unless ``force``.

    Raises:
        SourceError: it is there already.
    """
    if out.exists() and not force:
        raise SourceError(f"{out} is there already, and is kept. Replace it with --force, or write another with --out")


def written(out: Path, text: str) -> None:
    """Write a settings file, once it is accepted as one."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.stem}-{os.getpid()}.toml")
    try:
        write_text(draft, text)
        load_settings(draft, {})
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)


def _columns(given: list[str]) -> dict[str, str]:
    known, columns = EVENT_COLUMNS, {}
    for text in given:
        ours, _, theirs = text.partition("=")
        if ours not in known or not theirs:
            raise SourceError(f"--column {text}: write our name = yours. Our names are: {', '.join(known)}.")
        columns[ours] = theirs
    return columns


def _one_url(given: list[str], folder: Path) -> str:
    """One URL for what the shell made of a glob.

    Raises:
        SourceError: no glob means exactly these files.
    """
    if len(given) == 1:
        return _below(given[0], folder)
    paths = sorted(Path(name) for name in given)
    parents, endings = {path.parent for path in paths}, {"".join(path.suffixes[-1:]) for path in paths}
    if len(parents) == len(endings) == 1:
        pattern = f"{os.path.commonprefix([path.name for path in paths])}*{endings.pop()}"  # noqa: RUF071 (of names, not of paths)
        if sorted(parents.copy().pop().glob(pattern)) == paths:
            return _below(str(parents.pop() / pattern), folder)
    raise SourceError(
        f"{len(given)} files of events: give one glob that means them, in quotes, such as narrows init 'orders/*.csv'"
    )


def _below(given: str, folder: Path) -> str:
    """A path as the settings file has it: relative where it lies below the file's folder."""
    if not given or "://" in given:
        return given
    path = Path(os.path.abspath(given))
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


COMMAND = Command(
    "init",
    TEXT,
    init,
    arguments,
    (
        ("narrows init orders.csv", "look at your own data and write narrows.toml"),
        ("narrows init 'log/*.parquet' --items products.csv --users customers.csv", "with items and users"),
        ("narrows init clicks.jsonl --column user_id=who --column item_id=what", "where names say little"),
    ),
    reads_settings=False,
)
