"""What the texts of the command line are laid out with: blocks, columns, numbers, bars."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

WIDTH = 100
"""The most columns of a line."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """A part of the report: lines, a table (a negative width aligns left), and lines below it."""

    title: str = ""
    widths: tuple[int, ...] = ()
    header: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    notes: Sequence[str] = ()

    def lines(self) -> list[str]:
        """The block as plain text."""
        table = [cells(row, self.widths) for row in ([self.header] if self.header else []) + list(self.rows)]
        return [line.rstrip() for line in ([self.title] if self.title else []) + table + list(self.notes)]


def cut(text: str, width: int) -> str:
    """The text, or its beginning and ``…`` where it is longer than the width."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def terminal_width() -> int:
    """How many columns there are: those of the terminal, at most `WIDTH`, and `WIDTH` in a pipe or a file."""
    if not sys.stdout.isatty():
        return WIDTH
    return max(60, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))


def print_blocks(blocks: Sequence[Block], file: TextIO | None = None, width: int = WIDTH) -> None:
    """Print with colours on a terminal that is wide enough, else as plain text."""
    file = file or sys.stdout
    if file.isatty():
        from narrows.cli import styled

        if styled.print_blocks(blocks, file, width):
            return
    print(f"\n{'─' * width}\n".join("\n".join(block.lines()) for block in blocks), file=file)


def cells(values: Sequence[str], widths: Sequence[int]) -> str:
    """Values side by side; a negative width aligns left."""
    sides = "".join(f"{{:{'<' if width < 0 else '>'}{abs(width)}}}" for width in widths)
    return cut(sides.format(*values).rstrip(), WIDTH)


def short(value: float | None, signed: bool = False, digits: int = 4) -> str:
    """``.3321``, ``+.0610``; nothing for None."""
    if value is None:
        return ""
    plain = f"{abs(value):.{digits}f}".removeprefix("0")
    return ("-" if value < 0 else "+" if signed else "") + plain


def interval(row: Row, signed: bool = False) -> str:
    """``.3321 [.319, .345]``; nothing where there is no value."""
    if row["value"] is None or row["low"] is None:
        return short(row["value"], signed)
    return f"{short(row['value'], signed)} [{short(row['low'], signed, 3)}, {short(row['high'], signed, 3)}]"


def count(value: float | None) -> str:
    """``1,234``; nothing for None."""
    return "" if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """``12.3``, and from a thousand on ``1,234``; nothing for None."""
    return count(value) if value is None or value >= 1000 else f"{value:.1f}"


def bar(share: float | None) -> str:
    """A share as eight blocks and a number; nothing for None."""
    return "" if share is None else f"  {'█' * round(8 * share):░<8} {short(share)}"
