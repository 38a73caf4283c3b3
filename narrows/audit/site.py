"""Where the data docs keep the page of an audit."""

from __future__ import annotations

from narrows.asof import start_of


def page_of(table: str, version: str, asof: str) -> str:
    """The page of a table's audit, relative to the folder of the data docs."""
    return f"validations/{table}/{version}/{start_of(asof):%Y%m%dT%H%M%S.%fZ}/{table}.html"
