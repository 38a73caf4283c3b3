"""A list of a flow sample counts for as many as it stands for in the probability, and once in the order."""

from __future__ import annotations

import pytest
import torch

from stages.rank.learn import Whole, loss_of

LOGITS = torch.tensor([[0.3, -1.0, 0.2], [1.0, 0.1, -0.4]])
LABEL = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
WEIGHT = torch.tensor([[1.0, 4.0, 4.0], [2.0, 1.0, 2.0]])
REAL = torch.tensor([[True, True, True], [True, True, False]])


def loss(request: list[float], listwise: float, rows: list[int] | None = None) -> float:
    some = rows or [0, 1]
    each = torch.tensor([request[row] for row in some])[:, None].expand(-1, 3)
    whole = Whole(float((WEIGHT[some] * each * REAL[some]).sum()), int((LABEL[some] * REAL[some]).sum(1).gt(0).sum()))
    labels = (LABEL[some], WEIGHT[some], each, torch.ones_like(each))
    return float(loss_of(LOGITS[some], labels, REAL[some], whole, listwise))


def test_the_pointwise_loss_is_that_of_the_lists_written_so_often():
    assert loss([3.0, 1.0], 0.0) == pytest.approx(loss([1.0, 1.0], 0.0, [0, 0, 0, 1]))
    assert loss([3.0, 1.0], 0.0) != pytest.approx(loss([1.0, 1.0], 0.0))


def test_the_listwise_loss_does_not_know_the_weight():
    def listwise(request: list[float]) -> float:
        return loss(request, 1.0) - loss(request, 0.0)

    assert listwise([50.0, 1.0]) == pytest.approx(listwise([1.0, 1.0]), rel=1e-5)
