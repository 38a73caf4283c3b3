"""The data docs: one page an audit and an index, which load nothing.

``audits.jsonl`` has a line for each audit in the order of writing; the index is made from it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

from narrows.asof import start_of
from narrows.audit import words
from narrows.markup import link, page, section, table, tag, together
from narrows.store.partitions import write_text

LINES = "audits.jsonl"
INDEX_LENGTH = 100
"""Audits of a table that the index lists; older pages stay on disk."""


def page_of(room: str, version: str, asof: str) -> str:
    """The page of a table's audit, relative to the folder of the data docs."""
    return f"validations/{room}/{version}/{start_of(asof):%Y%m%dT%H%M%S.%fZ}/{room}.html"


def asof_of(start: datetime) -> str:
    """The as-of that starts then, in words: a day where it starts with one."""
    return (
        f"{start:%Y-%m-%d}" if (start.hour, start.minute) == (0, 0) else f"{start:%Y-%m-%dT%H:%M}".removesuffix(":00")
    )


def has_index(docs: Path) -> bool:
    """Whether the index is ours; that of an earlier version was not."""
    return (docs / LINES).exists()


@contextmanager
def alone(docs: Path) -> Iterator[None]:
    """Hold the site, so that two rooms audited at the same time both appear in its index."""
    from filelock import FileLock

    docs.mkdir(parents=True, exist_ok=True)
    with FileLock(docs / ".lock", fallback_to_soft=False):  # the kernel's: it goes when the process is killed
        yield


def add(docs: Path, room: str, version: str, asof: str, grain: str, result: Any, index: bool = True) -> str:
    """Write the page of an audit, and the index; return the page's path. Only for who holds the folder's lock.

    Args:
        docs: the folder.
        room: the table's name.
        version: the table's.
        asof: its partition.
        grain: what a row is; empty = not known.
        result: of Great Expectations.
        index: write the index now.
    """
    where = page_of(room, version, asof)
    file = docs / where
    write_text(file, audit_page(room, version, asof, grain, result))
    broken = [each for each in result.results if not each.success]
    warned = sum(map(words.warns, broken))
    line = {
        "table": room,
        "asof": asof,
        "version": version,
        "checked": len(result.results),
        "failed": len(broken) - warned,
        "warned": warned,
        "page": where,
    }
    with (docs / LINES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(line) + "\n")
    if index:
        write_text(docs / "index.html", index_page(audits(docs)))
    return str(file.absolute())


def audits(docs: Path) -> list[dict[str, Any]]:
    """What is known of each audit that has a page, newest as-of first; of one that was repeated, the last."""
    lines = (docs / LINES).read_text(encoding="utf-8").splitlines()
    last = {line["page"]: line for line in map(json.loads, filter(None, lines))}
    latest_first = list(last.values())[::-1]
    return sorted(latest_first, key=lambda line: start_of(line["asof"]), reverse=True)


def outdated(docs: Path, versions: Collection[str]) -> list[dict[str, Any]]:
    """The audits of none of these versions, as lines of `audits`; of broken ones, which made none, the last of a partition
    stays until a version of it is published.
    """
    if not has_index(docs):
        return []
    known = audits(docs)
    published = {(line["table"], line["asof"]) for line in known if line["version"] in versions}
    waiting = {(line["table"], line["asof"]): line["page"] for line in reversed(known) if line["failed"]}
    stay = {page for partition, page in waiting.items() if partition not in published}
    return [line for line in known if line["version"] not in versions and line["page"] not in stay]


def forget(docs: Path, lines: Collection[dict[str, Any]]) -> None:
    """Remove the pages and results of audits, then their lines; repeated after a kill it does the rest.

    Only for who holds the folder's lock.
    """
    for line in lines:
        for folder in ("validations", "results"):
            rmtree(docs / folder / line["table"] / line["version"], ignore_errors=True)
    pages = {line["page"] for line in lines}
    kept = [line for line in reversed(audits(docs)) if line["page"] not in pages]
    write_text(docs / LINES, "".join(f"{json.dumps(line)}\n" for line in kept))
    write_text(docs / "index.html", index_page(audits(docs)))


def audit_page(room: str, version: str, asof: str, grain: str, result: Any) -> str:
    """The page of an audit: what must hold, what was found, the broken ones first."""
    results = result.results
    broken = [each for each in results if not each.success and not words.warns(each)]
    warned = [each for each in results if not each.success and words.warns(each)]
    verdict = _verdict(len(results), len(broken), len(warned))
    read = result.meta.get("batch_markers", {}).get("ge_load_time")
    when = datetime.strptime(read, "%Y%m%dT%H%M%S.%fZ") if read else datetime.now(UTC)
    about = [f"Grain: {grain}. " if grain else "", "Version ", tag("code", version)]
    about.append(f" · audited {when:%Y-%m-%d %H:%M} UTC")
    parts = [tag("p", verdict), tag("p", *about, class_="lead")]
    header = ["what must hold", "found", "holds"]
    for key, title, some in (
        ("broken", "Broken", broken),
        ("warned", "Warned of", warned),
        ("held", "Held", [each for each in results if each.success]),
    ):
        if some:
            rows = [
                (
                    words.rule(each.expectation_config),
                    "; ".join(words.found(each)),
                    _mark(each.success, words.warns(each)),
                )
                for each in some
            ]
            parts.append(section(key, title, table(f"{len(some)} of {len(results)} checks", header, rows)))
    return page(f"{room} as of {asof}", *parts, above=link("All audits", "../../../../index.html"))


def index_page(lines: Sequence[dict[str, Any]]) -> str:
    """The index: a part for each table, with its audits."""
    tables: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        tables.setdefault(line["table"], []).append(line)
    broken = [line for line in lines if line["failed"]]
    header = ["as of", "result", "checks", "version", "page"]

    def rows(some: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
        return [
            (line["asof"], _mark(not line["failed"] and not line.get("warned"), not line["failed"]), line["checked"], tag("code", line["version"]),
             link(f"{line['table']} as of {line['asof']}", line["page"]))
            for line in some
        ]  # fmt: skip

    said = f"{_audits(len(lines))} of {len(tables)} tables; {len(broken) or 'none'} failed. Each says whether a table's contract held."
    parts = (
        [
            section(
                "failed", "Failed", table("Audits that failed, newest first", header, rows(broken[:INDEX_LENGTH]), (2,))
            )
        ]
        if broken
        else []
    )
    for name in sorted(tables):
        some = tables[name][:INDEX_LENGTH]
        older = f"; {len(tables[name]) - len(some)} older ones stay on disk" if len(some) < len(tables[name]) else ""
        parts.append(
            section(
                f"table-{name}",
                name,
                table(f"{_audits(len(some))} of {name}, newest first{older}", header, rows(some), (2,)),
            )
        )
    jumps = together(link(name, f"#table-{name}") for name in sorted(tables))
    return page("Data docs", tag("p", said, class_="lead"), tag("div", *parts, class_="parts"), above=jumps)


def _verdict(checked: int, failed: int, warned: int) -> Any:
    if failed:
        return tag("strong", f"Failed: {failed} of {checked} checks are broken", class_="bad")
    if warned:
        return tag("strong", f"Passed with warnings: {warned} of {checked} checks do not hold", class_="bad")
    return tag("strong", f"Passed: all {checked} checks hold", class_="good")


def _audits(count: int) -> str:
    return "1 audit" if count == 1 else f"{count:,} audits"


def _mark(held: bool, warns: bool = False) -> Any:
    if warns and not held:
        return tag("span", "warning", class_="bad")
    return tag("span", "passed", class_="good") if held else tag("span", "failed", class_="bad")
