"""Losses that train the stages of a cascade together, by name.

All are written anew from the descriptions in the papers; each says which equation it is. Common to all:

- ``loss(scores, batch, quotas)`` with one tensor of scores [requests, n] and one quota for each stage, in order; the
  result is a scalar. Whatever stands in padding (``~batch.mask``) never matters.
- Candidates with a label above 0 are wanted. Candidates' sampling weights count in pointwise terms alone:
  what is relaxed in the others is the order of the sample itself. Requests' weights count in every mean over requests.
- A term that nothing in the batch has an influence on (no request with more candidates than the quota, no pair) is 0.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

LOSSES: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "lcron": ("cascade", "Lcron", {}, "end-to-end survival of the wanted items by NeuralSort, and each stage's own"),
    "lcron_softsort": ("cascade", "Lcron", {"relaxation": "soft_sort", "tau": 1.0}, "lcron by SoftSort"),
    "lcron_cut": ("cascade", "Lcron", {"relaxation": "soft_cut", "tau": 1.0}, "lcron by DFTopK's cut, without sorting"),
    "lcron_e2e": ("cascade", "Lcron", {"single": False}, "lcron's end-to-end term alone"),
    "rankflow": (
        "rankflow",
        "RankFlow",
        {},
        "pointwise; the ranker on what the pre-ranker keeps, then distilled into it",
    ),
    "fs_ranknet": ("pairwise", "FlowRankNet", {}, "pairs of candidates that came farther and less far, logistic"),
    "fs_lambdaloss": ("pairwise", "FlowLambdaLoss", {}, "such pairs, weighted by what a swap changes in the NDCG"),
    "icc": ("pairwise", "Icc", {}, "pairwise on one score that a soft cut puts together from all stages"),
    "arf": ("arf", "Arf", {}, "each stage: relaxed recall and the whole order, weights learned"),
    "arf_v2": ("arf", "Arf", {"survival": True}, "arf with each stage's survival as relaxed recall"),
}
"""Name: module, class, settings, meaning."""
WITHOUT_TAU = ("rankflow", "fs_ranknet", "fs_lambdaloss")
"""Losses that relax no sort, and so have no temperature."""


def meanings() -> dict[str, str]:
    """What each loss is, in a line, by its name."""
    return {name: meaning for name, (*_, meaning) in LOSSES.items()}


def named(name: str, stages: int = 2, **settings: Any) -> nn.Module:
    """The loss of this name, for a cascade of so many stages.

    Args:
        name: one of ``LOSSES``.
        stages: how many stages are trained, 2 or more.
        settings: of the loss's class, such as ``tau``; they override the name's own.

    Returns:
        A module; its parameters (weights of its terms) are trained beside those of the stages.

    Raises:
        ValueError: there is no such loss, or it has no such setting.
    """
    if name not in LOSSES:
        raise ValueError(f"no loss is named {name!r}; there are {', '.join(LOSSES)}")
    module, kind, own, _ = LOSSES[name]
    made = getattr(import_module(f"{__name__}.{module}"), kind)
    try:
        loss: nn.Module = made(stages, **own | settings)
    except TypeError as error:
        raise ValueError(f"loss {name}: {error}") from error
    return loss
