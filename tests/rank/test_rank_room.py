"""Rank: networks, stack, and the room."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from features.lookup import Pairs
from features.pair import FEATURES, matrix
from narrows.metrics import expected_calibration_error
from narrows.stage import Shard
from stages.rank import Rank, stack
from stages.rank import model as rank_model
from stages.rank.net import DIN
from stages.rank.rankers import BUILT_IN, RANKERS
from tests.recall.tiny import ASOF, random_rows, shard

ROOM = Rank(ensemble_size=1, epochs=4, batch=8, hidden=16, min_count=2, n=10)
DAYS = [ASOF - timedelta(days=14), ASOF - timedelta(days=7)]


def candidates(asked: Shard) -> pa.Table:
    """Every pair, with a prerank score that knows nothing."""
    users, items = asked.users["user_id"].to_pylist(), asked.items["item_id"].to_pylist()
    count = len(users) * len(items)
    noise = np.random.default_rng(0).normal(size=count).astype(np.float32)
    columns = {"user_id": np.repeat(users, len(items)), "item_id": items * len(users), "prerank_score": noise}
    return pa.table({**columns, "prerank_rank": pa.array([*range(1, len(items) + 1)] * len(users), pa.int32())})


def examples(asked: Shard, scored: bool = True) -> pa.Table:
    """Two windows of all pairs; label 1 where the user had the item on five days or more."""
    pairs = candidates(asked)
    values = matrix(Pairs(asked.users, asked.items, pairs), tuple(FEATURES))
    columns = {**{n: pairs[n] for n in pairs.column_names}, **dict(zip(FEATURES, values.T, strict=True))}
    label = (np.nan_to_num(columns["history_count"]) >= 5).astype(np.int32)
    if not scored:
        columns |= {n: pa.nulls(len(label), pairs[n].type) for n in ("prerank_score", "prerank_rank")}
    more = {"label": label, "weight": np.ones(len(label), np.float32)}
    return pa.concat_tables([pa.table({**columns, **more, "asof": pa.array([day] * len(label))}) for day in DAYS])


@pytest.fixture(scope="module")
def asked() -> Shard:
    small = shard(random_rows())
    return replace(small, candidates=candidates(small))


def fit(asked: Shard, room: Rank = ROOM, scored: bool = True) -> rank_model.RankModel:
    return rank_model.fit(room, examples(asked, scored), dict.fromkeys(DAYS, asked.users), asked.items)


def hits(table: pa.Table, asked: Shard) -> float:
    """Share of the positives within the first five."""
    positives = {(r["user_id"], r["item_id"]) for r in examples(asked).to_pylist() if r["label"]}
    first = [r for r in table.to_pylist() if r["rank_rank"] <= 5]
    return sum((r["user_id"], r["item_id"]) in positives for r in first) / len(positives)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_room_learns_loses_nothing_and_is_the_same_after_a_reload(asked, name, tmp_path):
    room = replace(ROOM, model=name)
    model = fit(asked, room)
    narrowed = room.narrow(model, asked)
    assert narrowed.kept.num_rows + narrowed.removed.num_rows == asked.candidates.num_rows
    assert set(narrowed.removed["reason"].to_pylist()) == {"rank_cut"}
    assert narrowed.kept["rank_rank"].to_pylist() == [*range(1, 11)] * asked.users.num_rows
    score = narrowed.kept["rank_score"].to_numpy()
    assert ((score > 0) & (score < 1)).all()
    assert hits(narrowed.kept, asked) > 0.8
    assert model.metrics["calibration_error"] < 0.1
    model.save(tmp_path)
    assert room.narrow(room.load(tmp_path), asked).kept.equals(narrowed.kept)


def test_the_same_seed_makes_the_same_model_and_shards_do_not_matter(asked):
    one, two = fit(asked), fit(asked)
    assert ROOM.narrow(one, asked).kept.equals(ROOM.narrow(two, asked).kept)
    half = Shard(asked.users.slice(0, 7), asked.items, asked.candidates.slice(0, 7 * asked.items.num_rows), ASOF)
    whole = ROOM.narrow(one, asked).kept.slice(0, 70)
    np.testing.assert_allclose(
        ROOM.narrow(one, half).kept["rank_score"].to_numpy(), whole["rank_score"].to_numpy(), rtol=1e-4
    )


def test_without_prerank_scores_the_networks_stand_alone(asked):
    model = fit(asked, scored=False)
    assert model.stack == stack.Stack()
    assert hits(ROOM.narrow(model, asked).kept, asked) > 0.8


def test_nothing_to_rank_and_nothing_to_learn(asked):
    narrowed = ROOM.narrow(fit(asked), replace(asked, candidates=asked.candidates.slice(0, 0)))
    assert narrowed.kept.num_rows == 0
    rows = examples(asked)
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.zeros(len(rows), np.int32)))
    with pytest.raises(ValueError, match="label 1"):
        rank_model.fit(ROOM, rows, dict.fromkeys(DAYS, asked.users), asked.items)


REFUSAL = re.escape("[rank] model = 'mlp' is not a registered ranker. The rankers are: din, wide_deep. Name one")


def test_an_unknown_ranker_is_refused_by_the_fit(asked):
    assert tuple(RANKERS) == BUILT_IN
    with pytest.raises(ValueError, match=REFUSAL):
        fit(asked, Rank(model="mlp"))


def test_an_unknown_ranker_is_refused_with_the_settings_unless_a_plug_in_may_register_it():
    with pytest.raises(ValueError, match=REFUSAL):
        Rank(model="mlp").check(SimpleNamespace(running=SimpleNamespace(imports=())))
    Rank(model="mlp").check(SimpleNamespace(running=SimpleNamespace(imports=("my_company.rankers",))))


@pytest.mark.parametrize("name", ["n", "ensemble_size", "length", "embedding_size", "units", "epochs", "batch"])
def test_a_setting_of_0_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}\n  Input should be greater than or equal to 1"):
        replace(ROOM, **{name: 0})


def test_the_factored_attention_is_the_plain_one():
    torch.manual_seed(0)
    net = DIN([9, 4, 3, 3], dense=2, embedding_size=4, hidden=8, units=3, dropout=0.5).eval()
    torch.nn.init.normal_(net.age.weight)
    sequence, parts = torch.randint(1, 3, (2, 5, 4)), torch.randint(1, 3, (2, 6, 4))
    sequence[0, :2] = 0
    days, dense = torch.rand(2, 5) * 30, torch.randn(2, 6, 2)
    with torch.inference_mode():
        whole = net(sequence, days, parts, dense)
        for u in range(2):
            for c in range(6):
                t = net.embedding(parts[u, c])
                pooled = torch.zeros(4)
                for e in range(5):
                    h = net.embedding(sequence[u, e])
                    a = net.bilinear(t) @ h + net.out(torch.relu(net.event(h) + net.candidate(t)))[0]
                    a = torch.sigmoid(a + net.age(torch.bucketize(days[u, e], net.edges))[0])
                    pooled = pooled + (a * h if sequence[u, e, 1] > 0 else 0)
                pooled = pooled / 5**0.5
                x = torch.cat([dense[u, c], t, pooled, pooled * t])[None, None]
                torch.testing.assert_close(whole[u, c], net.head(x)[0, 0, 0])


def test_an_event_that_is_padding_changes_nothing():
    torch.manual_seed(0)
    net = DIN([9, 4, 3, 3], dense=2, embedding_size=4, hidden=8, units=3, dropout=0.0).eval()
    sequence, parts, dense = (
        torch.zeros(1, 5, 4, dtype=torch.int),
        torch.ones(1, 2, 4, dtype=torch.int),
        torch.randn(1, 2, 2),
    )
    with torch.inference_mode():
        torch.testing.assert_close(
            net(sequence, torch.zeros(1, 5), parts, dense), net(sequence, torch.full((1, 5), 9.0), parts, dense)
        )


def log_odds(score: np.ndarray) -> np.ndarray:
    """Of an event whose log odds are score + a standard normal that is not known."""
    unknown = np.random.default_rng(9).normal(size=2000)
    at = np.linspace(score.min(), score.max(), 200)
    p = (1 / (1 + np.exp(-(at[:, None] + unknown)))).mean(1)
    return np.interp(score, at, np.log(p / (1 - p)))


def test_the_stack_finds_weights_and_calibrates():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4000), 30)
    x, z = rng.normal(size=(2, len(group)))
    truth = 1 / (1 + np.exp(-(1.0 * x + 0.7 * z - 3)))
    label = (rng.random(len(group)) < truth).astype(np.float32)
    logit = log_odds(0.7 * z - 3)  # calibrated, as the networks are
    keep = (label > 0) | (rng.random(len(group)) < 0.25)  # a sample with its weights is as good as all
    weight = np.where(label > 0, 1, 4).astype(np.float32)[keep]
    fitted = stack.fit(x[keep], logit[keep], label[keep], weight, group[keep])
    assert 0.4 < fitted.network / fitted.prerank < 1.2
    assert expected_calibration_error(fitted.probability(x, logit, group), label) < 0.01


def test_networks_that_stand_alone_keep_their_own_probability():
    logit = np.random.default_rng(4).normal(size=200) - 2
    probability = stack.Stack().probability(np.zeros(200), logit, np.repeat(np.arange(20), 10))
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), rtol=1e-4)


def test_the_stack_falls_back_to_the_order_that_helps():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(300), 20)
    x = rng.normal(size=len(group))
    label = (rng.random(len(group)) < 1 / (1 + np.exp(2 - 2 * x))).astype(np.float32)
    worse = -x + rng.normal(size=len(group))
    fitted = stack.fit(x, worse, label, np.ones(len(x), np.float32), group)
    assert fitted.network <= 0.2 * fitted.prerank
    probability, order = fitted.probability(x, worse, group), fitted.order(x, worse)
    assert all(np.array_equal(np.argsort(probability[group == g]), np.argsort(order[group == g])) for g in range(300))


def test_the_users_base_rate_comes_from_the_networks():
    """Prerank's scores of a busy and of an idle user are alike, the networks' are not; the order is prerank's."""
    rng = np.random.default_rng(2)
    users, each = 2000, 30
    group = np.repeat(np.arange(users), each)
    base = np.where(np.arange(users) % 2, -1.0, -5.0)[group]
    x = rng.normal(size=len(group))
    label = (rng.random(len(group)) < 1 / (1 + np.exp(-(x + base)))).astype(np.float32)
    logit = log_odds(base)  # knows the user, not the item
    keep = (label > 0) | (rng.random(len(group)) < 0.25)
    weight = np.where(label > 0, 1, 4).astype(np.float32)
    fitted = stack.fit(x[keep], logit[keep], label[keep], weight[keep], group[keep])
    assert fitted.network == 0
    probability = fitted.probability(x, logit, group)
    for some in (base == -1, base == -5):
        assert abs(probability[some].mean() / label[some].mean() - 1) < 0.15
    assert np.array_equal(np.lexsort((probability, group)), np.lexsort((x, group)))


def test_a_gain_that_is_not_significant_changes_no_order():
    """Twenty lists whose networks are a little better by chance: prerank's order stands."""
    mixed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(20), 30)
        x = rng.normal(size=len(group))
        label = (rng.random(len(group)) < 1 / (1 + np.exp(2 - 2 * x))).astype(np.float32)
        noise = x + rng.normal(size=len(group))  # no news beyond prerank's
        mixed += stack.fit(x, noise, label, np.ones(len(x), np.float32), group).network > 0
    assert mixed <= 3
