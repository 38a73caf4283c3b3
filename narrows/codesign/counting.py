"""What a forward pass does, counted and not guessed: operations, bytes that its operators read and write, memory alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

FREE = ("view", "reshape", "transpose", "permute", "expand", "slice", "select", "unsqueeze", "squeeze", "detach", "alias", "t.", "split", "empty")  # fmt: skip
"""Beginnings of the names of operators that move nothing: they look at the same memory, or only reserve it."""
GATHERING = ("embedding", "index", "gather")
"""Operators that read of a table only the rows that they are asked for."""


@dataclass(frozen=True)
class Counted:
    """Of one forward pass."""

    flops: float
    """Floating-point operations of matrix products: 2 a multiply-add, as torch.utils.flop_counter counts."""
    moved_bytes: float
    """Bytes that operators read and wrote, each by itself: what a fused kernel would keep in registers counts."""
    peak_bytes: float
    """The most bytes of results alive at once, without parameters and inputs."""


def counted(work: Callable[[], object]) -> Counted:
    """Count one call of some work in torch, without gradients."""
    flops = FlopCounterMode(display=False)
    traffic = _Traffic()
    with torch.inference_mode(False), torch.no_grad():
        with flops:
            work()
        with traffic:
            work()
    return Counted(float(flops.get_total_flops()), float(traffic.moved), float(traffic.peak))


class _Traffic(TorchDispatchMode):
    """Sums the bytes of every operator's arguments and results, and those of results that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = self.alive = self.peak = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.removeprefix("_")
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if name.startswith(FREE):
            return result
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if name.startswith(GATHERING):
            read = [*read[1:], *made]  # the rows that were read are the result
            if name.startswith("embedding_bag"):  # it adds them up: a row for each index
                self.moved += read[0].numel() * args[0].shape[-1] * args[0].element_size()
        self.moved += sum(leaf.numel() * leaf.element_size() for leaf in (*read, *made))
        for leaf in made:
            self._live(leaf)
        return result

    def _live(self, tensor: Tensor) -> None:
        place, size = tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()
        if not place or place in self.known:
            return
        self.known[place] = size
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(tensor, self._ended, place)

    def _ended(self, place: int) -> None:
        self.alive -= self.known.pop(place, 0)


def parameter_bytes(model: torch.nn.Module) -> int:
    """Bytes of a module's parameters and persistent buffers."""
    return sum(each.numel() * each.element_size() for each in model.state_dict().values() if isinstance(each, Tensor))


def comparisons(booster: Any, trees: int | None = None) -> float:
    """Comparisons a row that the trees of a LightGBM booster make: the depth of a leaf, over training rows, summed over trees.

    Args:
        booster: lightgbm.Booster
        trees: the first so many; None = all.
    """
    return sum(_mean_depth(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"][:trees])


def dot_products(queries: int, vectors: int, size: int) -> float:
    """Operations of an exact inner-product search (FAISS IndexFlatIP): 2 a multiply-add.

    Of an inverted-file index ``vectors`` are those of the probed lists, and the centroids.
    """
    return 2.0 * queries * vectors * size


def _mean_depth(root: dict[str, Any]) -> float:
    """The mean depth of a dumped tree's leaves, each by the training rows that came to it."""
    rows = total = 0
    todo = [(root, 0)]
    while todo:
        node, depth = todo.pop()
        if "split_feature" in node:
            todo += [(node["left_child"], depth + 1), (node["right_child"], depth + 1)]
        else:
            count = int(node.get("leaf_count", 1))
            rows, total = rows + count, total + count * depth
    return total / rows if rows else 0.0
