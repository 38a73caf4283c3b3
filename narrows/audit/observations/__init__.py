"""What a draft is as a whole: measured, compared with earlier partitions and other tables, judged by Great Expectations.

A contract's `observations` are expectations over measures, `expect_column_values_to_be_between: {column: volume(known), ...}`.
Each measure gives a few values of the whole draft, with what they are of, and may leave JSON values with the partition, its
observations, so that a later audit need not read this one again. A measure that has too little to compare with says nothing,
and what is expected of it is left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from narrows.audit.contract import ContractError
from narrows.audit.observations import drift, ids, lists, periods, scores
from narrows.audit.observations.subject import Around, Measured, Subject, unusual

if TYPE_CHECKING:
    from narrows.audit.contract import Contract

__all__ = ["MEASURES", "Around", "observe"]

CALL = re.compile(r"(\w+)\((.*)\)")
MEASURES: dict[str, Callable[..., Measured]] = {
    measure.__name__: measure
    for measure in (
        periods.volume, periods.volume_together, periods.empty_days, periods.days_without_rows, drift.drift, drift.emptied, ids.unknown, ids.coverage, ids.returning,
        ids.growth, scores.distinct, lists.same_list, lists.list_length, lists.filled, lists.overlap, unusual,
    )
}  # fmt: skip
"""By the name that a contract calls them."""


def observe(terms: Contract, data: Any, around: Around) -> tuple[dict[str, Measured], dict[str, Any]]:
    """The values of each measure that a contract names, and what is left with the partition: by measure, JSON values.

    Args:
        terms: the contract.
        data: the draft's rows, an Arrow dataset.
        around: what the draft is compared with.

    Raises:
        ContractError: the contract calls a measure that there is not, or a column or table that the draft does not have.
    """
    subject = Subject(data, around)
    for kind, arguments in terms.observations:
        text = str(arguments.get("column", ""))
        try:
            measured(terms, subject, text, kind)
        except ContractError:
            if not (arguments.get("meta") or {}).get("optional"):
                raise
            subject.measured[text] = Measured()  # a column that comes and goes with the settings
    kept = {name: each.kept for name, each in subject.measured.items() if each.kept is not None}
    return {name: each for name, each in subject.measured.items() if each.values}, kept


def measured(terms: Contract, subject: Subject, text: str, kind: str = "") -> Measured:
    """The measure that a text calls, such as ``drift(price, known)``; measured once."""
    if text in subject.measured:
        return subject.measured[text]
    call, where = CALL.fullmatch(text), f"{terms.path}: {kind} of {text!r}"
    if not call or call[1] not in MEASURES:
        near = difflib.get_close_matches(call[1] if call else text, MEASURES, 1) or sorted(MEASURES)
        raise ContractError(f"{where}: no such measure; there are {', '.join(near)}")
    try:
        if call[1] == unusual.__name__:
            found = unusual(subject, call[2], measured(terms, subject, call[2], kind))
        else:
            found = MEASURES[call[1]](subject, *filter(None, (part.strip() for part in split(call[2]))))
    except (LookupError, TypeError) as error:
        raise ContractError(f"{where}: {error.args[0] if error.args else error}") from None
    subject.measured[text] = found
    return found


def split(text: str) -> list[str]:
    """Arguments apart; commas within brackets do not part them."""
    return re.split(r",(?![^(]*\))", text)
