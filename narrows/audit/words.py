"""The results of expectations in words a person understands."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

EXAMPLES = 5
"""Offending values quoted for a failed expectation."""
TOLD = "told"
"""In a result over a measure: what its unexpected values are of."""


def warns(result: Any) -> bool:
    """Whether an expectation, if broken, is no more than a warning."""
    return str(getattr(result.expectation_config.severity, "value", "critical")) != "critical"


def observes(result: Any) -> bool:
    """Whether an expectation is over a measure of the whole draft."""
    return TOLD in (result.result or {})


def line(result: Any) -> str:
    """One broken expectation in one readable line."""
    return f"{call(result.expectation_config)}: {'; '.join(found(result)) or 'not met'}"


def call(config: Any) -> str:
    """An expectation as the contract has it: ``expect_column_min_to_be_between(column='rank', min_value=1)``."""
    arguments = ", ".join(f"{k}={v!r}" for k, v in config.kwargs.items() if k != "batch_id" and v is not None)
    return f"{config.type}({arguments})"


def rule(config: Any) -> str:
    """What must hold, in the words of Great Expectations: ``user_id values must never be null.``"""
    from great_expectations.expectations.registry import get_renderer_impl

    renderer = get_renderer_impl(config.type, "renderer.prescriptive")
    parts: Any = renderer[1](configuration=config, result=None, runtime_configuration=None) if renderer else []
    templates = [part.to_json_dict().get("string_template") for part in parts]
    if not templates or not all(templates):  # an expectation that has no words of its own
        return call(config)
    return " ".join(Template(each["template"]).safe_substitute(each["params"]) for each in templates)


def found(result: Any) -> list[str]:
    """What was seen: how many rows were unexpected and which values, or the observed value, or what hindered the check."""
    seen = result.result or {}
    reasons = _obstacles(result.exception_info or {})
    if told := seen.get(TOLD):
        more = f"; {len(told) - EXAMPLES} more" if len(told) > EXAMPLES else ""
        return [*reasons, "; ".join(told[:EXAMPLES]) + more]
    if "unexpected_count" in seen:
        reasons.append(f"{seen['unexpected_count']:,} of {seen['element_count']:,} rows unexpected")
        values = [e for e in seen.get("partial_unexpected_list", []) if e == e and e is not None]
        if values:
            reasons.append("for example " + ", ".join(map(_plain, values[:EXAMPLES])))
    elif seen.get("observed_value") is not None:
        reasons.append(f"observed {_plain(seen['observed_value'])}")
    return reasons


def _plain(value: Any) -> str:
    """A value as a reader writes it, without NumPy's wrappers."""
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{k}={_plain(v)}" for k, v in value.items()) + ")"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(map(_plain, value)) + ")"
    return repr(value.item() if hasattr(value, "item") else value)


def _obstacles(info: Mapping[str, Any]) -> list[str]:
    """What kept an expectation from being checked, without the traces."""
    raised = [i for i in ([info] if "raised_exception" in info else info.values()) if i.get("raised_exception")]
    messages = dict.fromkeys(str(i.get("exception_message")).strip().splitlines()[0] for i in raised)
    return ["could not be checked: " + "; ".join(messages)] if raised else []
