"""Fitting rank: the encoder and the networks on all windows, the stack on users that the networks did not see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from features import simple
from features.lookup import Catalogue, codes, column, flat, varying
from features.pair import FEATURES
from narrows.asof import DAY
from narrows.columns import ITEM, LABEL, stage_rank, stage_score
from narrows.metrics import expected_calibration_error, ndcg, z_score
from narrows.stage import Asof
from stages.rank import stack
from stages.rank.inputs import Encoder
from stages.rank.learn import Training
from stages.rank.model import PRERANK, RankModel, net_of
from stages.rank.net import ranker_class
from stages.rank.processes import train
from stages.rank.windows import Window, windows_of

if TYPE_CHECKING:
    from stages.rank import Rank

SCALED_ROWS = 50_000
"""From so many examples, or some more, the scales of the dense columns are learned."""


@dataclass(frozen=True)
class Examples:
    """What a fit takes from the examples, which need not be in memory besides."""

    learned: list[Window]
    """For the networks; each window is taken out once it was read."""
    held: list[Window]
    """For the stack."""
    judged: tuple[str, dict[str, float]]
    """See `against_simple`."""


def fit(
    room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table], items: pa.Table, horizon: timedelta
) -> RankModel:
    """Fit the networks on all windows, and the stack on users of the latest windows that prerank scored out of sample.

    Raises:
        ValueError: the examples have no positive, or ``[rank] model`` is not registered.
    """
    return fitted(room, prepared(room, examples, profiles), items, horizon)


def prepared(room: Rank, examples: pa.Table, profiles: dict[Asof, pa.Table]) -> Examples:
    """The examples in windows, and what the order that rank receives is worth.

    Raises:
        ValueError: as `fit`.
    """
    ranker_class(room.model)
    learned, held = windows_of(room, examples, profiles)
    if not any(column(window.rows, LABEL).any() for window in learned + held):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    return Examples(learned, held, against_simple(room, examples) if held else ("", {}))


def fitted(room: Rank, examples: Examples, items: pa.Table, horizon: timedelta) -> RankModel:
    """As `fit`."""
    learned, held = examples.learned, examples.held
    windows = learned + held
    catalogue, columns = Catalogue(items), tuple(FEATURES)
    ids = [_strings(w.rows[ITEM]) for w in windows] + [_strings(flat(w.users, "sequence_item")[1]) for w in learned]
    if len(varies := varying(*(window.dense for window in windows))) < len(columns):
        columns = tuple(columns[k] for k in varies)
        for window in windows:
            window.dense = window.dense[:, varies]
    step = max(1, sum(len(window.dense) for window in windows) // SCALED_ROWS)
    some = np.concatenate([window.dense[::step] for window in windows])
    encoder = Encoder.fit(catalogue, pa.concat_arrays(ids), columns, some, room.length, room.min_count, horizon / DAY)
    del windows
    data = [learned.pop(0).lists(encoder, catalogue) for _ in range(len(learned))]  # each is freed once it was read
    nets = []
    for k in range(room.ensemble_size):
        torch.manual_seed(room.seed + k)
        net = net_of(room, encoder)
        how = Training(room.epochs, room.learning_rate, room.batch, room.weight_decay, room.listwise, room.seed + k)
        train(net, data, how, room.processes)
        nets.append(net)
    model = RankModel(encoder, nets, stack.Stack())
    return _stacked(model, held, catalogue, examples.judged) if held else model


def against_simple(room: Rank, examples: pa.Table) -> tuple[str, dict[str, float]]:
    """Whether the order that rank receives is better than any that needs no model, by more than chance: as prerank's
    ``against_simple``.
    """
    name = stage_score("prerank")
    near = pc.less_equal(examples[stage_rank("prerank")], room.held_depth)
    windows = simple.windows(examples, name, ndcg, near)
    if not windows:
        return "", {}
    found = simple.held(windows, name)
    return "" if z_score(*found.gains) > simple.BETTER else found.order, {PRERANK: found.own, found.order: found.simple}


def _stacked(
    model: RankModel, windows: list[Window], catalogue: Catalogue, judged: tuple[str, dict[str, float]]
) -> RankModel:
    """The model with the stack fitted on the held-out rows, and its calibration error on them by cross-fitting."""
    logit, score, label, weight, request, group, rows = [], [], [], [], [], [], []
    for k, window in enumerate(windows):
        lists, labels = window.lists(model.encoder, catalogue)
        logit.append(model.logits(lists))
        rows.append(window.rows)
        score.append(column(window.rows, stage_score("prerank")))
        label.append(labels.label)
        weight.append(labels.weight)
        request.append(labels.request)
        group.append(window.user + k * window.users.num_rows)
    x, z, y, w, r, g = (np.concatenate(part) for part in (score, logit, label, weight, request, group))
    order, worth = judged
    if order:
        x = np.concatenate([simple.order(order, partial(column, each)) for each in rows])
    item = np.concatenate([codes(each[ITEM], catalogue.ids) for each in rows])
    model.stack = stack.fit(x, z, y, w, g, r, order, item)
    fold = g % 2 == 1  # calibrated on one half of the users, judged on the other
    errors = []
    for half in (fold, ~fold):
        if half.any() and (~half).any():
            other = stack.fit(x[half], z[half], y[half], w[half], g[half], r[half], item=item[half])
            probability = other.probability(x[~half], z[~half], g[~half], w[~half])
            error = expected_calibration_error(probability, y[~half], weight=w[~half] * r[~half], keep_ties=False)
            errors.append(error)
    model.metrics = {"calibration_error": float(np.mean(errors)) if errors else float("nan"), "held_out_rows": len(y)}
    model.metrics |= {f"worth_{name}": value for name, value in worth.items()}
    return model


def _strings(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return values.cast(pa.string())
