"""Rank's model: networks, encoder and stack; asked per shard, and kept as plain files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from features import simple
from features.lookup import CATALOGUE, Array, Catalogue, Pairs
from features.pair import FEATURES
from narrows.candidates import keep_best
from narrows.columns import stage_score
from narrows.stage import Narrowed, Shard
from stages.rank import stack
from stages.rank.inputs import CandidateLists, Encoder
from stages.rank.net import ranker_class
from stages.rank.score import score

if TYPE_CHECKING:
    from stages.rank import Rank

PRERANK = "prerank"
"""The order that rank received."""
EACH = 6
"""Where the networks have no share in the order, each so many-th candidate of a user is enough for how much the user takes."""


@dataclass
class RankModel:
    """What rank learns."""

    encoder: Encoder
    nets: list[nn.Module]
    stack: stack.Stack
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the held-out users: calibration_error and held_out_rows."""

    @property
    def notes(self) -> dict[str, Any]:
        """What is logged of the model: its metrics, and the shares of prerank and the networks in the order."""
        base = {"order": self.stack.simple or PRERANK} | ({"instead_of": PRERANK} if self.stack.simple else {})
        return {**self.metrics, **base, "network_weight": self.stack.network, "prerank_weight": self.stack.prerank}

    def logits(self, lists: CandidateLists) -> Array:
        """Mean logit of the networks, float32 [candidates]."""
        return np.asarray(np.mean([score(net, lists) for net in self.nets], 0), np.float32)

    def save(self, folder: Path) -> None:
        """As npz for arrays and JSON for the rest."""
        self.encoder.save(folder)
        for k, net in enumerate(self.nets):
            np.savez(folder / f"net_{k}.npz", **{name: t.cpu().numpy() for name, t in net.state_dict().items()})
        content = {"stack": asdict(self.stack), "metrics": self.metrics, "nets": len(self.nets)}
        (folder / "rank.json").write_text(json.dumps(content))


def load(room: Rank, folder: Path) -> RankModel:
    """What `save` wrote."""
    content = json.loads((folder / "rank.json").read_text())
    encoder = Encoder.load(folder)
    nets = []
    for k in range(content["nets"]):
        net = net_of(room, encoder)
        with np.load(folder / f"net_{k}.npz", allow_pickle=False) as arrays:
            net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        nets.append(net)
    return RankModel(encoder, nets, stack.Stack(**content["stack"]), content["metrics"])


def net_of(room: Rank, encoder: Encoder) -> nn.Module:
    """A network with its first weights."""
    return ranker_class(room.model)(
        sizes=encoder.sizes(), dense=encoder.dense_size(), embedding_size=room.embedding_size, hidden=room.hidden,
        units=room.units, dropout=room.dropout,
    )  # fmt: skip


def narrow(room: Rank, model: RankModel, shard: Shard) -> Narrowed:
    """Score every candidate and keep the n best of each user."""
    candidates = shard.candidates
    if candidates is None:
        raise ValueError("rank narrows candidates; recall and prerank make them first.")
    pairs = Pairs(shard.users, shard.items, candidates, shard.once(CATALOGUE, Catalogue))
    prerank = np.nan_to_num(pairs.of_candidate(stage_score("prerank")))
    if model.stack.simple:
        prerank = simple.order(model.stack.simple, lambda name: FEATURES[name](pairs))
    some = None
    if not model.stack.network:  # the networks say how much a user takes, and not what
        some = np.flatnonzero((np.arange(len(pairs)) - pairs.bounds[pairs.user]) % EACH == 0)
    part, encoder = pairs if some is None else pairs.take(some), model.encoder
    logit = model.logits(encoder.lists(shard.users, pairs.catalogue, part.user, part.item, encoder.dense(part)))
    probability = model.stack.probability(prerank, logit, pairs.user, of=some)
    return keep_best(
        "rank", candidates, pairs.user, model.stack.order(prerank, logit), probability, room.n, shard.logged
    )
