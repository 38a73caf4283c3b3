"""Rank's model: networks, encoder and stack; fitted on examples, asked per shard."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn

from features import simple
from features.lookup import Array, Catalogue, Pairs, codes, column, flat, varying
from features.pair import FEATURES, matrix
from narrows.asof import DAY
from narrows.candidates import keep_best
from narrows.columns import ASOF, ITEM, LABEL, LABEL_WEIGHT, REQUEST_WEIGHT, USER, WEIGHT, stage_rank, stage_score
from narrows.metrics import expected_calibration_error, ndcg
from narrows.stage import Asof, Narrowed, Past, Shard
from stages.rank import learn, stack
from stages.rank.inputs import CandidateLists, Encoder, dense_columns
from stages.rank.net import ranker_class

if TYPE_CHECKING:
    from stages.rank import Rank


SHARE_OF_SAME_WINDOW = 0.25
"""Of the users, at most so many are held out where there is no older window to learn from."""
PRERANK = "prerank"
"""The order that rank received."""


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
        weights = column(rows, WEIGHT), request_weight(rows), column(rows, LABEL_WEIGHT)
        labels = learn.Labels(column(rows, LABEL), *weights)
        return encoder.lists(self.users, catalogue, self.user[which], item, encoder.dense(rows)), labels


def fit(
    room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table], items: pa.Table, horizon: timedelta
) -> RankModel:
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
    encoder = Encoder.fit(catalogue, pa.concat_arrays(ids), columns, dense, room.length, room.min_count, horizon / DAY)
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
    return _stacked(model, held, catalogue, against_simple(room, examples)) if held else model


def against_simple(room: Rank, examples: pa.Table) -> tuple[str, dict[str, float]]:
    """Whether the order that rank receives is better than any that needs no model: as prerank's ``against_simple``."""
    name = stage_score("prerank")
    near = pc.less_equal(examples[stage_rank("prerank")], room.held_depth)
    order, received, plain = simple.by_window(examples.filter(near), name, ndcg)
    if not order:
        return "", {}
    return "" if received > plain else order, {PRERANK: received, order: plain}


def sequences_of(examples: pa.Table, profiles: Past) -> dict[Asof, pa.Table]:
    """By as-of the sequences of the users who have examples, in the order of the profiles; others are not read."""
    columns = ["user_id", "sequence_item", "sequence_days"]
    if REQUEST_WEIGHT not in examples.column_names:
        return {asof: table.arrow(columns) for asof, table in profiles.items()}
    found = {}
    for asof, table in profiles.items():
        users = examples.filter(pc.equal(examples[ASOF], pa.scalar(str(asof))))[USER].unique()
        found[asof] = table.arrow(columns, pc.field(USER).isin(users))
    return found


def request_weight(rows: pa.Table) -> Array:
    """How many requests each row's stands for, float32 (rows,); 1 where all were narrowed."""
    if REQUEST_WEIGHT not in rows.column_names:
        return np.ones(rows.num_rows, np.float32)
    return np.nan_to_num(column(rows, REQUEST_WEIGHT), nan=1.0)


def _stacked(
    model: RankModel, windows: list[Window], catalogue: Catalogue, judged: tuple[str, dict[str, float]]
) -> RankModel:
    """The model with the stack fitted on the held-out rows, and its calibration error on them by cross-fitting."""
    logit, score, label, weight, request, group, rows = [], [], [], [], [], [], []
    for k, window in enumerate(windows):
        lists, labels = window.part(model.encoder, catalogue, window.held)
        logit.append(model.logits(lists))
        rows.append(window.rows.filter(pa.array(window.held)))
        score.append(column(rows[-1], stage_score("prerank")))
        label.append(labels.label)
        weight.append(labels.weight)
        request.append(labels.request)
        group.append(window.user[window.held] + k * window.users.num_rows)
    x, z, y, w, r, g = (np.concatenate(part) for part in (score, logit, label, weight, request, group))
    order, worth = judged
    if order:
        x = np.concatenate([simple.order(order, partial(column, each)) for each in rows])
    model.stack = stack.fit(x, z, y, w, g, r, order)
    fold = g % 2 == 1  # calibrated on one half of the users, judged on the other
    errors = []
    for half in (fold, ~fold):
        if half.any() and (~half).any():
            other = stack.fit(x[half], z[half], y[half], w[half], g[half], r[half])
            probability = other.probability(x[~half], z[~half], g[~half], w[~half])
            error = expected_calibration_error(probability, y[~half], weight=w[~half] * r[~half], keep_ties=False)
            errors.append(error)
    model.metrics = {"calibration_error": float(np.mean(errors)) if errors else float("nan"), "held_out_rows": len(y)}
    model.metrics |= {f"worth_{name}": value for name, value in worth.items()}
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
    if model.stack.simple:
        prerank = simple.order(model.stack.simple, lambda name: FEATURES[name](pairs))
    probability = model.stack.probability(prerank, logit, pairs.user)
    return keep_best("rank", candidates, pairs.user, model.stack.order(prerank, logit), probability, room.n)


def _windows(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table]) -> list[Window]:
    """The examples by as-of, oldest first; held are a share of the users of the latest `held_windows` with scores."""
    windows, scored = [], 0
    alone = len(examples[ASOF].unique()) <= room.held_windows  # then the networks need users of the same window
    share = min(room.held_share, SHARE_OF_SAME_WINDOW) if alone else room.held_share
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
            chosen = np.array([zlib.crc32(text.encode()) % 1000 < 1000 * share for text in ids], bool)
            held = chosen[user] & known & (column(rows, stage_rank("prerank")) <= room.held_depth)
            out = chosen[user] & ~held  # rows below the list's depth: not for the stack, nor for the networks
            rows, user, held = rows.filter(pa.array(~out)), user[~out], held[~out]
        windows.append(Window(users, rows, user, held))
    return windows[::-1]


def _strings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.cast(pa.string())
