"""The registry of rankers: the networks that `[rank] model` can name. Light: it does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

BUILT_IN = ("din", "wide_deep")
"""The rankers of `stages.rank.net`."""
RANKERS: dict[str, type[nn.Module]] = {}
"""Every registered ranker by name; the built-in ones register when `stages.rank.net` is imported."""

Net = TypeVar("Net", bound="type[nn.Module]")


def ranker(name: str) -> Callable[[Net], Net]:
    """Register a network under the name by which ``[rank] model`` chooses it: ``@ranker("mine")`` above the class.

    The class is constructed with keywords: ``sizes`` (list of int: rows of the embedding table of each item part),
    ``dense`` (int: dense columns of a candidate), ``embedding_size``, ``hidden``, ``units`` (int) and ``dropout``
    (float) as of ``[rank]``. ``forward(sequence, ages, parts, dense)`` returns logits [users, list] from

    - sequence int [users, length, parts]: the parts of the user's latest events' items, oldest first, 0 = none;
    - ages float [users, length]: of these events, in horizons;
    - parts int [users, list, parts]: those of the candidates;
    - dense float [users, list, columns]: the candidates' pair features, about standard normal, 0 where missing.

    Raises:
        ValueError: another class has the name.
    """

    def register(net: Net) -> Net:
        if name in RANKERS:
            raise ValueError(
                f"ranker {name!r} is defined twice, in {RANKERS[name].__module__} and {net.__module__}: "
                "register one of the classes under another name."
            )
        RANKERS[name] = net
        return net

    return register


def check_registered(name: str) -> None:
    """Refuse a ``model`` that is neither built in nor registered.

    Raises:
        ValueError: with the names there are, and the remedy.
    """
    known = dict.fromkeys((*BUILT_IN, *RANKERS))
    if name not in known:
        raise ValueError(
            f"model = {name!r} is not a registered ranker. The rankers are: {', '.join(known)}. Name one of them, or the "
            "module that registers yours in [pipeline] imports."
        )
