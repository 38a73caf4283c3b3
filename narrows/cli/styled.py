"""The report in colours, by rich; only where standard output is a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.rule import Rule
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from narrows.cli.layout import WIDTH, Block


class Highlighter(RegexHighlighter):
    """What catches the eye: bars, warnings, and whether the lists are served."""

    base_style = "report."
    highlights = (
        r"(?P<bar>█+)",
        r"(?P<rest>░+)",
        r"(?P<live>\bLIVE\b)",
        r"(?P<kept>\bkept, because .*)",
        r"(?P<bad>^!!.*)",
    )


STYLES = {"bar": "cyan", "rest": "bright_black", "live": "bold green", "kept": "bold yellow", "bad": "bold red"}
LABELLED = re.compile(r"^[a-z]+(?= {2,})")


def print_blocks(blocks: Sequence[Block], file: TextIO, width: int = WIDTH) -> bool:
    """Print the blocks with tables and colours; False, and nothing printed, where the terminal is too narrow."""
    theme = Theme({f"report.{name}": style for name, style in STYLES.items()})
    console = Console(file=file, theme=theme, highlight=False, soft_wrap=True)
    if console.width < width:
        return False
    for number, block in enumerate(blocks):
        if number:
            console.print(Rule(style="bright_black"), width=width, soft_wrap=False)
        if block.title:
            console.print(Text(block.title, "bold"))
        if block.rows:
            console.print(_table(block), width=width, soft_wrap=False)
        for line in block.notes:
            console.print(_line(line))
    return True


def _table(block: Block) -> Table:
    table = Table(box=None, padding=0, show_header=bool(block.header), header_style="bold", pad_edge=False)
    for at, width in enumerate(block.widths):
        name = block.header[at] if block.header else ""
        table.add_column(name, justify="left" if width < 0 else "right", width=abs(width), no_wrap=True)
    for row in block.rows:
        table.add_row(*map(_line, row), style="bold" if row[0] == "all" else "")
    return table


def _line(content: str) -> Text:
    line = Highlighter()(Text(content))
    line.highlight_regex(LABELLED, "bold")
    return line
