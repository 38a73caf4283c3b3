"""Self-contained HTML pages: elements that escape what they hold, tables, and the frame with its styles.

A page loads nothing: no script, no font, no picture from elsewhere. Its policy forbids the browser to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

VOID = ("br", "link", "meta")
"""Elements without an end."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What a page may load: its own styles."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element; text and attributes are escaped.

    Args:
        name: of the element.
        children: text, numbers and elements; None is left out.
        attributes: ``class_`` is ``class``, other underscores are hyphens; None leaves one out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{given}>")
    return Markup(f"<{name}{given}>{together(children)}</{name}>")


def together(parts: Iterable[Any]) -> Markup:
    """Parts one after the other, text escaped; None is left out."""
    return Markup("").join(part for part in parts if part is not None)


def table(caption: Any, header: Sequence[Any], rows: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> Markup:
    """A table whose first column names its rows.

    Args:
        caption: what it shows.
        header: the columns' names.
        rows: their cells.
        numbers: the columns that are aligned right.
    """

    def side(at: int) -> str | None:
        return "number" if at in numbers else None

    head = [tag("th", name, scope="col", class_=side(at)) for at, name in enumerate(header)]
    body = [
        tag("tr", tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=side(at)) for at, cell in enumerate(row[1:], 1)))
        for row in rows
    ]  # fmt: skip
    whole = tag("table", tag("caption", caption), tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", whole, class_="wide", role="region", tabindex="0", aria_label=caption)


def section(key: str, title: str, *content: Any) -> Markup:
    """A part of a page with its heading; ``key`` is its anchor."""
    return tag("section", tag("h2", title, id=key), *content, aria_labelledby=key)


def link(text: Any, address: str) -> Markup:
    """A link."""
    return tag("a", text, href=address)


def page(title: str, *content: Any, above: Any = None) -> str:
    """A whole page.

    Args:
        title: of the page, its one heading of the first level.
        content: what stands below the heading.
        above: links above the heading.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(Markup(POLICY)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),  # else a browser asks the server for one
        tag("style", Markup(style())),
    )
    navigation = tag("nav", above, aria_label="Other pages") if above else None
    body = tag("body", tag("header", navigation, tag("h1", title)), tag("main", *content))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


@cache
def style() -> str:
    """The styles of every page."""
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
