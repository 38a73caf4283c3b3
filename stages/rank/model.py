"""Rank's model: networks, encoder and stack; fitted on examples, asked per shard."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from features.lookup import Array, Pairs, catalogue, codes, column, flat
from features.pair import matrix
from narrows.columns import ASOF, ITEM, LABEL, REASON, USER, WEIGHT, stage_rank, stage_score
from narrows.stage import Asof, Narrowed, Shard
from stages.rank import learn, stack
from stages.rank.inputs import DENSE, Encoder, Lists
from stages.rank.net import MODELS

if TYPE_CHECKING:
    from stages.rank import Rank


@dataclass
class RankModel:
    """What rank learns."""

    encoder: Encoder
    nets: list[nn.Module]
    stack: stack.Stack
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the held-out users: calibration_error, and ndcg of prerank's, the networks' and the stack's order."""

    @property
    def notes(self) -> dict[str, float]:
        """What the run's log says of the model: its metrics, and the networks' share in the order."""
        return {**self.metrics, "network_weight": self.stack.network, "prerank_weight": self.stack.prerank}

    def logits(self, lists: Lists) -> Array:
        """Mean logit of the networks, float32 [candidates]."""
        return np.asarray(np.mean([learn.score(net, lists) for net in self.nets], 0), np.float32)

    def save(self, folder: Path) -> None:
        """npz for arrays, JSON for words and numbers."""
        self.encoder.save(folder)
        for k, net in enumerate(self.nets):
            np.savez(folder / f"net_{k}.npz", **{name: t.cpu().numpy() for name, t in net.state_dict().items()})
        said = {"stack": asdict(self.stack), "metrics": self.metrics, "nets": len(self.nets)}
        (folder / "rank.json").write_text(json.dumps(said))


def load(room: Rank, folder: Path) -> RankModel:
    """What `save` wrote."""
    said = json.loads((folder / "rank.json").read_text())
    encoder = Encoder.load(folder)
    nets = []
    for k in range(said["nets"]):
        net = _net(room, encoder)
        with np.load(folder / f"net_{k}.npz", allow_pickle=False) as arrays:
            net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        nets.append(net)
    return RankModel(encoder, nets, stack.Stack(**said["stack"]), said["metrics"])


def _net(room: Rank, encoder: Encoder) -> nn.Module:
    return MODELS[room.model](encoder.sizes(), encoder.width(), room.width, room.hidden, room.units, room.dropout)


@dataclass
class Window:
    """The examples of one as-of, grouped by user in the profiles' order."""

    users: pa.Table
    rows: pa.Table
    user: Array
    held: Array
    """Which rows only the stack learns from."""

    def part(self, encoder: Encoder, items: pa.Table, which: Array) -> tuple[Lists, learn.Labels]:
        """Some rows as the networks read them."""
        rows = self.rows.filter(pa.array(which))
        item = codes(rows[ITEM], catalogue(items).ids)
        labels = learn.Labels(column(rows, LABEL), column(rows, WEIGHT))
        return encoder.lists(self.users, items, rows, _dense(rows), self.user[which], item), labels


def fit(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table], items: pa.Table) -> RankModel:
    """Networks on all windows; the stack on users of the latest windows that prerank scored without having seen.

    Raises:
        ValueError: the examples have no good item.
    """
    windows = _windows(room, examples, profiles)
    if not windows or not any(column(window.rows, LABEL).any() for window in windows):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    listed = [_strings(w.rows[ITEM]) for w in windows] + [_strings(flat(w.users, "sequence_item")[1]) for w in windows]
    dense = np.concatenate([_dense(window.rows) for window in windows])
    encoder = Encoder.fit(items, pa.concat_arrays(listed), dense, room.length, room.min_count)
    data = [window.part(encoder, items, ~window.held) for window in windows]
    nets = []
    for k in range(room.members):
        torch.manual_seed(room.seed + k)
        net = _net(room, encoder)
        learn.train(
            net, data, room.epochs, room.learning_rate, room.batch, room.weight_decay, room.listwise, room.seed + k
        )
        nets.append(net)
    model = RankModel(encoder, nets, stack.Stack())
    held = [window for window in windows if window.held.any()]
    return _stacked(model, held, items) if held else model


def _stacked(model: RankModel, windows: list[Window], items: pa.Table) -> RankModel:
    """The model with the stack that suits the held-out rows, and what it is worth there."""
    logit, score, label, weight, group = [], [], [], [], []
    for k, window in enumerate(windows):
        lists, labels = window.part(model.encoder, items, window.held)
        logit.append(model.logits(lists))
        score.append(column(window.rows.filter(pa.array(window.held)), stage_score("prerank")))
        label.append(labels.label)
        weight.append(labels.weight)
        group.append(window.user[window.held] + k * window.users.num_rows)
    x, z, y, w, g = (np.concatenate(part) for part in (score, logit, label, weight, group))
    model.stack = stack.fit(x, z, y, w, g)
    fold = g % 2 == 1  # calibrated on one half of the users, judged on the other
    errors = []
    for half in (fold, ~fold):
        if half.any() and (~half).any():
            other = stack.fit(x[half], z[half], y[half], w[half], g[half])
            said = other.probability(x[~half], z[~half], g[~half], w[~half])
            errors.append(stack.calibration_error(said, y[~half], w[~half]))
    model.metrics = {"calibration_error": float(np.mean(errors)) if errors else float("nan"), "held_out_rows": len(y)}
    return model


def narrow(room: Rank, model: RankModel, shard: Shard) -> Narrowed:
    """Scores every candidate and keeps the n best of each user."""
    candidates = shard.candidates
    if candidates is None:
        raise ValueError("rank narrows candidates; recall and prerank make them first.")
    pairs = Pairs(shard.users, shard.items, candidates)
    lists = model.encoder.lists(shard.users, shard.items, candidates, matrix(pairs, DENSE), pairs.user, pairs.item)
    base, logit = np.nan_to_num(pairs.of_candidate(stage_score("prerank"))), model.logits(lists)
    order = np.lexsort((np.arange(len(base)), -model.stack.order(base, logit), pairs.user))
    rank = (np.arange(len(order)) - pairs.bounds[pairs.user] + 1).astype(np.int32)
    ordered = candidates.take(pa.array(order))
    probability = model.stack.probability(base, logit, pairs.user)
    ordered = ordered.append_column(stage_score("rank"), pa.array(probability[order]))
    ordered = ordered.append_column(stage_rank("rank"), pa.array(rank))
    kept = rank <= room.n
    removed = ordered.filter(pa.array(~kept))
    reason = pa.repeat("rank_cut", removed.num_rows)
    return Narrowed(ordered.filter(pa.array(kept)), removed.append_column(REASON, reason))


def _windows(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table]) -> list[Window]:
    """The examples by as-of, oldest first; held are a share of the users of the latest `held_windows` with scores."""
    windows, scored = [], 0
    for asof in sorted(profiles, reverse=True):
        rows = examples.filter(pc.equal(examples[ASOF], pa.scalar(str(asof))))
        users = profiles[asof].combine_chunks()
        user = codes(rows[USER], users[USER].combine_chunks())
        order = np.argsort(user, kind="stable")
        order = order[user[order] >= 0]
        if not len(order):
            continue
        rows, user = rows.take(pa.array(order)), user[order]
        name = stage_score("prerank")
        known = np.isfinite(column(rows, name)) if name in rows.column_names else np.zeros(len(user), bool)
        held = np.zeros(len(user), bool)
        if known.any() and scored < room.held_windows:
            scored += 1
            ids = users[USER].to_pylist()
            chosen = np.array([zlib.crc32(text.encode()) % 1000 < 1000 * room.held_share for text in ids], bool)
            held = chosen[user] & known & (column(rows, stage_rank("prerank")) <= room.held_depth)
            out = chosen[user] & ~held  # rows below the list's depth: not for the stack, nor for the networks
            rows, user, held = rows.filter(pa.array(~out)), user[~out], held[~out]
        windows.append(Window(users, rows, user, held))
    return windows[::-1]


def _dense(rows: pa.Table) -> Array:
    return np.stack([column(rows, name) for name in DENSE], 1)


def _strings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.cast(pa.string())
