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

from features.lookup import Array, Catalogue, Pairs, codes, column, flat, varying
from features.pair import FEATURES, matrix
from narrows.candidates import keep_best
from narrows.columns import ASOF, ITEM, LABEL, LABEL_WEIGHT, USER, WEIGHT, stage_rank, stage_score
from narrows.metrics import expected_calibration_error
from narrows.stage import Asof, Narrowed, Shard
from stages.rank import learn, stack
from stages.rank.inputs import CandidateLists, Encoder, dense_columns
from stages.rank.net import ranker_class

if TYPE_CHECKING:
    from stages.rank import Rank


@dataclass
class RankModel:
    """What rank learns."""

    encoder: Encoder
    nets: list[nn.Module]
    stack: stack.Stack
    metrics: dict[str, float] = field(default_factory=dict)
    """Of the held-out users: calibration_error and held_out_rows."""

    @property
    def notes(self) -> dict[str, float]:
        """What is logged of the model: its metrics, and the shares of prerank and the networks in the order."""
        return {**self.metrics, "network_weight": self.stack.network, "prerank_weight": self.stack.prerank}

    def logits(self, lists: CandidateLists) -> Array:
        """Mean logit of the networks, float32 [candidates]."""
        return np.asarray(np.mean([learn.score(net, lists) for net in self.nets], 0), np.float32)

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
        net = _net(room, encoder)
        with np.load(folder / f"net_{k}.npz", allow_pickle=False) as arrays:
            net.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        nets.append(net)
    return RankModel(encoder, nets, stack.Stack(**content["stack"]), content["metrics"])


def _net(room: Rank, encoder: Encoder) -> nn.Module:
    return ranker_class(room.model)(
        sizes=encoder.sizes(), dense=encoder.dense_size(), embedding_size=room.embedding_size, hidden=room.hidden,
        units=room.units, dropout=room.dropout,
    )  # fmt: skip


@dataclass
class Window:
    """The examples of one as-of, grouped by user in the profiles' order."""

    users: pa.Table
    rows: pa.Table
    user: Array
    held: Array
    """Which rows only the stack learns from."""

    def part(self, encoder: Encoder, catalogue: Catalogue, which: Array) -> tuple[CandidateLists, learn.Labels]:
        """Some rows as the networks read them."""
        rows = self.rows.filter(pa.array(which))
        item = codes(rows[ITEM], catalogue.ids)
        labels = learn.Labels(column(rows, LABEL), column(rows, WEIGHT), column(rows, LABEL_WEIGHT))
        return encoder.lists(self.users, catalogue, self.user[which], item, encoder.dense(rows)), labels


def fit(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table], items: pa.Table) -> RankModel:
    """Fit the networks on all windows, and the stack on users of the latest windows that prerank scored out of sample.

    Raises:
        ValueError: the examples have no positive, or ``[rank] model`` is not registered.
    """
    ranker_class(room.model)
    windows = _windows(room, examples, profiles)
    if not windows or not any(column(window.rows, LABEL).any() for window in windows):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    catalogue, columns = Catalogue(items), tuple(FEATURES)
    ids = [_strings(w.rows[ITEM]) for w in windows] + [_strings(flat(w.users, "sequence_item")[1]) for w in windows]
    dense = np.concatenate([dense_columns(window.rows, columns) for window in windows])
    if len(varies := varying(dense)) < len(columns):
        columns, dense = tuple(columns[k] for k in varies), dense[:, varies]
    encoder = Encoder.fit(catalogue, pa.concat_arrays(ids), columns, dense, room.length, room.min_count)
    data = [window.part(encoder, catalogue, ~window.held) for window in windows]
    nets = []
    for k in range(room.ensemble_size):
        torch.manual_seed(room.seed + k)
        net = _net(room, encoder)
        learn.train(
            net, data, room.epochs, room.learning_rate, room.batch, room.weight_decay, room.listwise, room.seed + k
        )
        nets.append(net)
    model = RankModel(encoder, nets, stack.Stack())
    held = [window for window in windows if window.held.any()]
    return _stacked(model, held, catalogue) if held else model


def _stacked(model: RankModel, windows: list[Window], catalogue: Catalogue) -> RankModel:
    """The model with the stack fitted on the held-out rows, and its calibration error on them by cross-fitting."""
    logit, score, label, weight, group = [], [], [], [], []
    for k, window in enumerate(windows):
        lists, labels = window.part(model.encoder, catalogue, window.held)
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
            probability = other.probability(x[~half], z[~half], g[~half], w[~half])
            error = expected_calibration_error(probability, y[~half], weight=w[~half], keep_ties=False)
            errors.append(error)
    model.metrics = {"calibration_error": float(np.mean(errors)) if errors else float("nan"), "held_out_rows": len(y)}
    return model


def narrow(room: Rank, model: RankModel, shard: Shard) -> Narrowed:
    """Score every candidate and keep the n best of each user."""
    candidates, encoder = shard.candidates, model.encoder
    if candidates is None:
        raise ValueError("rank narrows candidates; recall and prerank make them first.")
    pairs = Pairs(shard.users, shard.items, candidates)
    dense = matrix(pairs, encoder.columns)
    logit = model.logits(encoder.lists(shard.users, pairs.catalogue, pairs.user, pairs.item, dense))
    prerank = np.nan_to_num(pairs.of_candidate(stage_score("prerank")))
    probability = model.stack.probability(prerank, logit, pairs.user)
    return keep_best("rank", candidates, pairs.user, model.stack.order(prerank, logit), probability, room.n)


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


def _strings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.cast(pa.string())
