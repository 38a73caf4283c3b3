"""Whether the design that serves is worse than the one before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from narrows.cli.compare.text import difference
from narrows.store.partitions import StoreError

Record = Mapping[str, Any]
METRIC = "ndcg"


def before(records: Sequence[Record], entry: Record) -> Record | None:
    """The newest earlier run of the same as-of that was judged and made another release; None where there is none."""

    def release(record: Record) -> str:
        return str(record["facts"]["serving"].get("release_id", ""))

    same = [each for each in records if each["asof"] == entry["asof"] and each["number"] < entry["number"]]
    judged = [each for each in same if each["facts"]["users"] and release(each) != release(entry)]
    return judged[-1] if judged else None


def against(state: Path, records: Sequence[Record], entry: Record) -> dict[str, Any] | None:
    """A live run against the one `before` it: the paired difference of NDCG of the published lists.

    Returns:
        ``number`` and ``name`` of the earlier run, ``difference`` with ``value``, ``low``, ``high`` and ``paired``, and
        ``warning``: a line where the whole interval lies below 0, else empty. None where the run is not live or not
        judged, where there is none before it, or where the tables of that one are gone.
    """
    earlier = before(records, entry)
    if not (earlier and entry["facts"]["users"] and entry["facts"]["serving"].get("live")):
        return None
    from narrows.cli.compare.judged import Side, differences, judge

    new, old = Side(state, dict(entry)), Side(state, dict(earlier))
    try:
        found = differences(judge(old, new.settings), judge(new, new.settings), new.settings)["published", METRIC]
    except StoreError:
        return None
    warning = ""
    if found["high"] < 0:
        warning = (
            f"what serves now is worse than run {earlier['number']} ({earlier['name']}): {METRIC}@"
            f"{max(new.settings.cutoffs)} {difference(found)}. "
            f"Look: narrows compare {earlier['number']} {entry['number']}"
        )
    return {"number": earlier["number"], "name": earlier["name"], "difference": found, "warning": warning}
