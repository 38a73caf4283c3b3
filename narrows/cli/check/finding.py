"""One finding of ``narrows doctor``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What was checked, and how it is."""

    name: str
    status: str
    """``ok``, ``warning`` (a run can start) or ``fails`` (it cannot)."""
    message: str
    """The finding, and the remedy where there is something to mend."""

    def line(self) -> str:
        return f"{self.status:<8} {self.name:<10} {self.message}"


@dataclass(frozen=True)
class Counts:
    """How much a run will have to do."""

    events: int
    users: int
    items: int


def ok(name: str, message: str) -> Check:
    """All is as it should be."""
    return Check(name, "ok", message)


def warns(name: str, message: str) -> Check:
    """A run can start, and may disappoint."""
    return Check(name, "warning", message)


def fails(name: str, message: str) -> Check:
    """A run cannot start."""
    return Check(name, "fails", message)
