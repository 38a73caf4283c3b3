"""What a recall channel is, and the registry that holds every channel by its name.

A channel is one class with its settings, its columns' name, its reason and its explanation; ``@channel`` registers it.
Importing this module is light; a channel imports NumPy and the like within its methods. See docs/add-a-channel.md.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar, dataclass_transform

from pydantic import Field

from narrows.stage import room

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.recall.query import Proposals, Query

C = TypeVar("C", bound="Channel")


class Proposer(Protocol):
    """What answers for a channel: the channel itself, or what its ``fit`` learned."""

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items for each user of ``query``, best first."""

    def save(self, folder: Path) -> None:
        """Write what was learned as plain files that run no code on load; the channel's ``load`` reads them."""


@room
class Channel:
    """One way of recall to propose items; the fields of a subclass are its settings.

    The first line of a subclass's docstring says what it proposes; the documentation shows it.
    """

    name: ClassVar[str]
    """Prefix of the columns ``<name>_score`` and ``<name>_rank``, and key of the settings: lower case, digits and _."""
    reason: ClassVar[str]
    """The code that a published list shows for an item that this channel ranked best. Stable: products read it."""
    meaning: ClassVar[str]
    """What the reason means, for ``narrows why``; it goes on after "the item is there because"."""
    score_feature: ClassVar[bool] = False
    """Whether prerank and rank learn from the score, as the pair feature ``<name>_score``."""

    quota: int = Field(30, ge=0)
    """The most eligible items of a user that the merge takes from this channel; 0 switches the channel off. Where the file gives none, the quota is learned, and this is the first."""

    def fit(self, query: Query, events: pa.Table, end: datetime) -> Proposer:
        """Learn from what was known at the as-of. A channel that learns nothing, as by default, answers itself.

        Args:
            query: all items, and all users or, of very many, a sample (``[recall] fit_users``).
            events: user_id, item_id, event_time of these users' positives up to ``end`` that were not undone.
            end: the first instant after the as-of, UTC.
        """
        return self

    def load(self, folder: Path) -> Proposer:
        """What ``fit`` returned, read from where its ``save`` wrote it."""
        return self

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items for each user of ``query``, best first; of a channel without ``fit``."""
        raise TypeError(f"channel {self.name} has neither fit nor propose")

    def save(self, folder: Path) -> None:
        """Nothing: the settings are all that the channel knows."""


CHANNELS: dict[str, type[Channel]] = {}
"""Every registered channel by its name, in the order of the candidates' columns."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def channel(kind: type[C]) -> type[C]:
    """Register a subclass of ``Channel``, with its score as a pair feature where ``score_feature`` says so.

    Raises:
        ValueError: name, reason or meaning is missing, or the name is no column prefix or is another channel's.
    """
    for attribute in ("name", "reason", "meaning"):
        if not getattr(kind, attribute, ""):
            raise ValueError(f"channel class {kind.__qualname__} of {kind.__module__} has no {attribute}: give it one.")
    kind, name = room(kind), kind.name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"channel name = {name!r}: give lower-case letters, digits and _, a letter first.")
    known = CHANNELS.get(name, kind)
    if (known.__module__, known.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"channel name = {name!r} of {kind.__module__}: {known.__module__} has it; give another.")
    if kind.score_feature and name not in CHANNELS:
        from features.registry import candidate_score

        candidate_score(name)
    CHANNELS[name] = kind
    return kind
