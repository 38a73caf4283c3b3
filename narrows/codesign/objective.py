"""The end-to-end loss as an objective of LightGBM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from narrows.codesign.curvature import positive, slopes
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.losses.relax import by_neural_sort

if TYPE_CHECKING:
    import lightgbm

CHUNK = 512
"""Requests whose matrices are in memory at once."""


class EndToEnd:
    """LightGBM's objective: gradient and hessian of LCRON's loss at the trees' scores, the ranker's scores given.

    A request counts by its weight and its number of candidates (the loss is a sum over rows, as LightGBM's own losses are), so its
    regularization means the same as for cross-entropy.
    """

    def __init__(self, log: FlowLog, quotas: tuple[int, int], tau: float, hessian: str):
        """
        Args:
            log: the requests.
            quotas: of the pre-ranker and of the ranker.
            tau: temperature of both.
            hessian: one of `curvature.HESSIANS`.
        """
        self.bounds, self.wanted = torch.from_numpy(log.bounds), torch.from_numpy(log.label > 0)
        self.quotas, self.tau, self.hessian = quotas, tau, hessian
        weight = log.row_request_weight
        self.weight = torch.ones(len(log.item)) if weight is None else torch.from_numpy(weight).float()
        """float32 [rows]: of the requests."""
        self.single = 0.0
        """Weight of the pre-ranker's own term."""
        self.others = torch.ones(len(log.item))
        """float32 [rows]: survival at the ranker."""
        self.loss = 0.0
        """At the latest call: the weighted mean over the rows."""

    def set_ranker(self, scores: Array) -> None:
        """Take the ranker's scores [rows] as given."""
        flat = torch.from_numpy(scores).float()
        for part, rows, mask in self._chunks():
            kept, _ = by_neural_sort(pad(flat, rows, mask), mask, self.quotas[1], self.tau)
            self.others[part] = kept[mask]

    def __call__(self, scores: Array, _: lightgbm.Dataset | None = None) -> tuple[Array, Array]:
        """Gradient and hessian, float32 [rows] each, at the trees' scores [rows]."""
        values = torch.from_numpy(scores).float()
        gradient, hessian = torch.zeros(len(values)), torch.zeros(len(values))
        total = 0.0
        for part, rows, mask in self._chunks():
            wanted = pad(self.wanted, rows, mask)
            found = slopes(
                pad(values, rows, mask), pad(self.others, rows, mask), wanted, mask, self.quotas[0], self.tau,
                self.single, exact=self.hessian in ("absolute", "clipped"),
            )  # fmt: skip
            gradient[part] = found.gradient[mask] * self.weight[part]
            hessian[part] = positive(found, mask, self.hessian)[mask] * self.weight[part]
            total += float((found.loss * pad(self.weight, rows, mask)[:, 0]).sum())
        self.loss = total / max(float(self.weight.sum()), 1e-12)
        return gradient.numpy(), hessian.numpy()

    def _chunks(self) -> list[tuple[slice, Tensor, Tensor]]:
        """For some requests at a time: their rows as a slice, padded row numbers and mask."""
        parts = []
        for first in range(0, len(self.bounds) - 1, CHUNK):
            bounds = self.bounds[first : first + CHUNK + 1]
            sizes = bounds[1:] - bounds[:-1]
            place = torch.arange(max(int(sizes.max()), 1))
            mask = place < sizes[:, None]
            rows = torch.where(mask, bounds[:-1, None] + place, bounds[0].clamp_max(len(self.wanted) - 1))
            parts.append((slice(int(bounds[0]), int(bounds[-1])), rows, mask))
        return parts


def pad(flat: Tensor, rows: Tensor, mask: Tensor) -> Tensor:
    """Values [rows] of requests as [R, n]; 0 in padding."""
    return torch.where(mask, flat[rows], torch.zeros((), dtype=flat.dtype))
