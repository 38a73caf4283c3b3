"""The registry of pair features: what `@feature` and `candidate_score` put in, what the models' matrices are made from.

Importing this module is light, for every command registers the channels' scores; `features.pair` has the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.lookup import Array, Catalogue, Pairs

    Feature = Callable[[Pairs], Array]

LINE = 16
"""Features of a row that are one cache line."""
FEATURES: dict[str, Feature] = {}
"""Every pair feature by name, in the order of registration, which is the order of the models' columns."""
OF_ITEM: set[str] = set()
"""The features that are the same for every user: `matrix` computes them once for each item of the catalogue."""
_EARLY_SCORES: list[str] | None = []
"""Scores registered before the features of `features.pair`, which they follow; None once those are there."""


def feature(definition: Feature) -> Feature:
    """Register a pair feature under the name of its function: ``@feature`` above ``def my_feature(pairs)``.

    Args:
        definition: takes `Pairs`, returns float32 (pairs,), NaN where it does not apply; its docstring is its definition.

    Returns:
        The function itself, so that other features can call it.

    Raises:
        ValueError: another feature has the name.
    """
    name = definition.__name__
    if name in FEATURES:
        raise ValueError(
            f"pair feature {name} is defined twice, in {FEATURES[name].__module__} and {definition.__module__}: "
            "give one of the functions another name."
        )
    FEATURES[name] = definition
    return definition


def item_feature(definition: Feature) -> Feature:
    """Register, as `feature` does, a pair feature that depends on the item alone: it may read items and catalogue, no user."""
    OF_ITEM.add(definition.__name__)
    return feature(definition)


def candidate_score(name: str) -> None:
    """Register ``<name>_score``, a score that the candidates carry, as a pair feature.

    Args:
        name: of a recall channel; its score column is ``<name>_score``.

    Raises:
        ValueError: another feature has the name.
    """
    if _EARLY_SCORES is not None:
        _EARLY_SCORES.append(name)
        return
    column = f"{name}_score"

    def score(pairs: Pairs) -> Array:
        return pairs.of_candidate(column)

    score.__name__ = score.__qualname__ = column
    score.__doc__ = f"Score of the recall channel {name}; NaN where it did not propose the item."
    feature(score)


def register_early_scores() -> None:
    """Register the scores that waited for the features of `features.pair`."""
    global _EARLY_SCORES
    scores, _EARLY_SCORES = _EARLY_SCORES or [], None
    for name in scores:
        candidate_score(name)


def matrix(pairs: Pairs, names: Sequence[str]) -> Array:
    """The named features as float32 (pairs, names), C order.

    Raises:
        ValueError: a feature is not registered, such as one of a model that was fitted with other plug-ins.
    """
    import numpy as np

    if missing := [name for name in names if name not in FEATURES]:
        raise ValueError(
            f"pair feature {missing[0]} is not registered: name the module that defines it in [pipeline] imports, or fit "
            "the model again."
        )
    alone = [name in OF_ITEM for name in names]
    if not any(alone):
        return _fill(np.empty((len(pairs), len(names)), np.float32), names, alone, pairs)
    every = pairs.catalogue.once(f"features {' '.join(names)}", lambda: of_items(pairs.catalogue, names))
    return _fill(every[pairs.item], names, alone, pairs)


def of_items(catalogue: Catalogue, names: Sequence[str]) -> Array:
    """The features of `OF_ITEM` among the names, float32 (items, names), 0 in the columns of the others."""
    import numpy as np

    from features.lookup import Pairs

    every, there = Pairs.each_item(catalogue), [name not in OF_ITEM for name in names]
    return _fill(np.zeros((len(every), len(names)), np.float32), names, there, every)


def _fill(out: Array, names: Sequence[str], there: Sequence[bool], pairs: Pairs) -> Array:
    """``out`` with the features that are not ``there``, some columns that lie together at a time.

    Single columns of rows would write every line of memory many times.
    """
    import numpy as np

    some = np.empty((LINE, len(pairs)), np.float32)
    start = 0
    while start < len(names):
        stop = start
        while stop < min(start + LINE, len(names)) and not there[stop]:
            some[stop - start] = FEATURES[names[stop]](pairs)
            stop += 1
        out[:, start:stop] = some[: stop - start].T
        start = max(stop, start + 1)
    return out
