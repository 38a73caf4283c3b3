"""Training batches: requests padded to one length, with codes of known items and scaled features, as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from narrows.codesign.log import Array, FlowLog

KNOTS = 64
"""Quantiles by which a feature is scaled."""
PADDING, UNKNOWN = 0, 1
"""Codes of no item, and of items that training knows too little; the others follow."""


@dataclass(frozen=True)
class Batch:
    """R requests of up to n candidates; padding is arbitrary where ``mask`` is False."""

    sequence: Tensor
    """int32 [R, L]: codes of the user's latest items, 0 = none."""
    item: Tensor
    """int32 [R, n]: codes of the candidates."""
    features: Tensor
    """float32 [R, n, F], scaled, none missing."""
    label: Tensor
    """float32 [R, n]: 1 = wanted."""
    grade: Tensor
    """int64 [R, n]: how many logged stages the candidate passed; larger is better."""
    weight: Tensor
    """float32 [R, n]: 1 / the probability of being sampled."""
    mask: Tensor
    """bool [R, n]: there is a candidate."""
    request_weight: Tensor | None = None
    """float32 [R]: 1 / the probability that the sample has the request; None = 1 each."""

    def narrowed(self, chosen: Tensor) -> Batch:
        """The chosen candidates alone (bool [R, n]), moved together; n becomes the most that a request has."""
        chosen = chosen & self.mask
        most = max(int(chosen.sum(1).max()), 1)
        place = chosen.int().argsort(dim=1, descending=True, stable=True)[:, :most]
        picked = {name: getattr(self, name).gather(1, place) for name in ("item", "label", "grade", "weight")}
        features = self.features.gather(1, place[..., None].expand(-1, -1, self.features.shape[2]))
        return replace(self, features=features, mask=chosen.gather(1, place), **picked)


@dataclass(frozen=True)
class Inputs:
    """How a log becomes numbers for models: learned from the training part alone."""

    knots: tuple[Array, ...]
    """For each column float64 [knots], ascending, distinct: its quantiles in training."""
    known: Array
    """int32 [largest code + 1]: the code of an item for the models."""
    gaps: tuple[int, ...]
    """Columns that have missing values in training: each gets an indicator after all columns."""
    ranker_only: tuple[int, ...]
    """Scaled features that the stages before the ranker do not see."""
    of_user: tuple[int, ...]
    """Scaled features that are equal for all candidates of a request: those of the user and the moment."""

    @classmethod
    def of(cls, train: FlowLog, least: int = 2, most_items: int = 200_000) -> Inputs:
        """Learn the scales and the vocabulary.

        Args:
            train: the training part.
            least: items that occur less often share the code of unknown items, which so learns what a rare item is.
            most_items: the commonest so many have codes of their own.
        """
        knots = tuple(_knots(column) for column in train.features.T)
        gaps = tuple(np.flatnonzero(np.isnan(train.features).any(0)).tolist())
        columns = train.features.shape[1]
        hidden = [*np.flatnonzero(train.seen_from).tolist()]
        hidden += [columns + place for place, column in enumerate(gaps) if column in hidden]
        of_user = np.flatnonzero([_constant(train, column) for column in train.features.T]).tolist()
        of_user += [columns + place for place, column in enumerate(gaps) if column in of_user]
        return cls(knots, _vocabulary(train, least, most_items), gaps, tuple(hidden), tuple(of_user))

    @property
    def width(self) -> int:
        """How many scaled features there are."""
        return len(self.knots) + len(self.gaps)

    @property
    def items(self) -> int:
        """How many codes items have, with those of none and unknown ones."""
        return int(self.known.max(initial=UNKNOWN)) + 1

    def code(self, items: Array) -> Array:
        """The models' codes of the log's codes: int32 of the same shape."""
        return np.where(items < len(self.known), self.known[np.minimum(items, len(self.known) - 1)], UNKNOWN)

    def scale(self, features: Array) -> Array:
        """Features between -√3 and √3 by their quantiles, 0 where missing, with indicators: float32 [rows, width]."""
        scaled = np.empty((len(features), self.width), np.float32)
        for place, knots in enumerate(self.knots):
            column = features[:, place]
            even = np.linspace(-(3**0.5), 3**0.5, len(knots)) if len(knots) > 1 else np.zeros(1)
            scaled[:, place] = np.where(np.isnan(column), 0, np.interp(column, knots, even))
        scaled[:, len(self.knots) :] = np.isnan(features[:, list(self.gaps)])
        return scaled

    def encode(self, log: FlowLog, device: str | torch.device = "cpu") -> Encoded:
        """A part of the log as tensors on a device."""

        def to(array: Array) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        return Encoded(
            to(log.bounds), to(self.code(log.sequence)), to(self.code(log.item)), to(self.scale(log.features)),
            to(log.label), to(log.reached.astype(np.int64)), to(log.weight),
            None if log.request_weight is None else to(log.request_weight.astype(np.float32)),
        )  # fmt: skip


@dataclass(frozen=True)
class Encoded:
    """A part of the log as flat tensors; the arrays are as in `FlowLog`, ``grade`` is ``reached``."""

    bounds: Tensor
    sequence: Tensor
    item: Tensor
    features: Tensor
    label: Tensor
    grade: Tensor
    weight: Tensor
    request_weight: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sequence)

    def batch(self, requests: Tensor) -> Batch:
        """These requests, padded to the longest of them."""
        first, sizes = self.bounds[requests], self.bounds[requests + 1] - self.bounds[requests]
        place = torch.arange(max(int(sizes.max()), 1), device=first.device)
        mask = place < sizes[:, None]
        rows = (first[:, None] + place).clamp_(max=len(self.item) - 1)
        picked = {name: getattr(self, name)[rows] for name in ROWS}
        weight = None if self.request_weight is None else self.request_weight[requests]
        return Batch(sequence=self.sequence[requests], mask=mask, request_weight=weight, **picked)

    def batches(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """All requests once, ``size`` at a time: in their order, or in one that the generator draws."""
        count = len(self)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        for some in order.split(size):
            yield self.batch(some.to(self.bounds.device))


ROWS = tuple(field.name for field in fields(Batch) if field.name not in ("sequence", "mask", "request_weight"))


def _knots(column: Array) -> Array:
    there = column[~np.isnan(column)]
    return np.unique(np.quantile(there.astype(np.float64), np.linspace(0, 1, KNOTS))) if len(there) else np.zeros(1)


def _constant(log: FlowLog, column: Array) -> bool:
    first = column[np.minimum(log.bounds[:-1], len(column) - 1)][log.request]
    return bool(((column == first) | (np.isnan(column) & np.isnan(first))).all())


def _vocabulary(train: FlowLog, least: int, most_items: int) -> Array:
    """Codes of items, the commonest first: by how many requests and sequences have them."""
    counts = np.bincount(train.item) if len(train.item) else np.zeros(1, np.int64)
    past = np.bincount(train.sequence.ravel(), minlength=len(counts))
    past[: len(counts)] += counts
    past[0] = 0
    order = np.argsort(-past, kind="stable")[:most_items]
    order = order[past[order] >= least]
    known = np.full(len(past), UNKNOWN, np.int32)
    known[order] = UNKNOWN + 1 + np.arange(len(order))
    known[0] = PADDING
    return known
