"""The check of `narrows doctor` of tables on an object store: may they be written, and does the server keep conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from narrows.cli.check.finding import Check, fails, ok

if TYPE_CHECKING:
    from narrows.settings import Settings


def tables(settings: Settings) -> Check:
    """Whether a write on a condition succeeds, and is refused where the condition does not hold.

    Two runs could overwrite each other on a server that takes no notice of conditions.
    """
    from narrows.source.urls import redacted
    from narrows.store.conditional import Changed, Objects, reaching
    from narrows.store.partitions import StoreError

    address = str(settings.tables)
    where, objects, key = redacted(address), Objects(address), f"CHECK-{uuid4().hex}.json"
    try:
        first = objects.write(key, {"n": 1})
        objects.write(key, {"n": 2}, first)
        for tag in (None, first):
            try:
                objects.write(key, {"n": 3}, tag)
            except Changed:
                continue
            return fails(
                "tables", f"{where}: the server takes no notice of If-None-Match and If-Match. Two runs could overwrite each "
                "other: take one that knows conditional writes, or a folder"
            )  # fmt: skip
    except StoreError as error:
        return fails("tables", str(error))
    finally:
        try:
            with reaching(address):
                objects.fs.rm([objects.path(key)])
        except (StoreError, FileNotFoundError):
            pass  # it was not written
    return ok("tables", f"{where} can be written, and keeps conditions")
