"""Rank: networks, stack, and the room."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from narrows.settings import SettingsError, load_settings
from narrows.stage import Shard
from stages.rank import Rank, stack
from stages.rank import model as rank_model
from stages.rank.fit import fit as rank_fit
from stages.rank.net import DIN
from stages.rank.rankers import BUILT_IN, RANKERS
from tests.rank.small import DAYS, examples, small_shard
from tests.recall.tiny import ASOF, WEEK

ROOM = Rank(ensemble_size=1, epochs=4, batch=8, hidden=16, min_count=2, n=10)


@pytest.fixture(scope="module")
def asked() -> Shard:
    return small_shard()


def fit(asked: Shard, room: Rank = ROOM, scored: bool = True) -> rank_model.RankModel:
    return rank_fit(room, examples(asked, scored), dict.fromkeys(DAYS, asked.users), asked.items, WEEK)


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


def test_networks_without_a_share_in_the_order_say_how_much_a_user_takes(asked):
    """Of some of the user's candidates; whatever shard the user is in."""
    model = fit(asked)
    model.stack = stack.Stack(prerank=1.0, network=0.0, scale=0.1)
    kept = ROOM.narrow(model, asked).kept
    wanted = asked.candidates.sort_by([("user_id", "ascending"), ("prerank_score", "descending")])
    assert kept.num_rows == 10 * asked.users.num_rows
    for user in asked.users["user_id"].to_pylist():
        first = wanted.filter(pc.equal(wanted["user_id"], user))["item_id"].to_pylist()[:10]
        assert kept.filter(pc.equal(kept["user_id"], user))["item_id"].to_pylist() == first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_model, "EACH", 1)
        of_all = ROOM.narrow(model, asked).kept["rank_score"].to_numpy()
    score = kept["rank_score"].to_numpy()
    assert 0.7 < score.mean() / of_all.mean() < 1.4
    half = Shard(asked.users.slice(0, 7), asked.items, asked.candidates.slice(0, 7 * asked.items.num_rows), ASOF)
    np.testing.assert_allclose(ROOM.narrow(model, half).kept["rank_score"].to_numpy(), score[:70], rtol=1e-4)


def test_nothing_to_rank_and_nothing_to_learn(asked):
    narrowed = ROOM.narrow(fit(asked), replace(asked, candidates=asked.candidates.slice(0, 0)))
    assert narrowed.kept.num_rows == 0
    rows = examples(asked)
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.zeros(len(rows), np.int32)))
    with pytest.raises(ValueError, match="label 1"):
        rank_fit(ROOM, rows, dict.fromkeys(DAYS, asked.users), asked.items, WEEK)


REFUSAL = re.escape("model = 'mlp' is not a registered ranker. The rankers are: din, wide_deep. Name one")


def test_an_unknown_ranker_is_refused_by_the_fit(asked):
    assert tuple(RANKERS) == BUILT_IN
    with pytest.raises(ValueError, match=REFUSAL):
        fit(asked, Rank(model="mlp"))


def test_an_unknown_ranker_is_refused_with_the_settings(tmp_path):
    (tmp_path / "narrows.toml").write_text('[rank]\nmodel = "mlp"')
    with pytest.raises(SettingsError, match=re.escape("narrows.toml: [rank] ") + REFUSAL):
        load_settings(tmp_path / "narrows.toml", {})


@pytest.mark.parametrize(
    ("section", "old", "new"),
    [("rank", "width", r"embedding_size = 8"), ("prerank", "windows", r"windows = 8 in \[pipeline\]")],
)
def test_a_former_setting_says_what_it_is_called_now(section, old, new, tmp_path):
    (tmp_path / "narrows.toml").write_text(f"[{section}]\n{old} = 8")
    with pytest.raises(SettingsError, match=rf"\[{section}\] {old} = 8 is now {new}"):
        load_settings(tmp_path / "narrows.toml", {})


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
