"""Items that came after the fit: the towers give them a vector by what they are, and the index stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from features.lookup import Catalogue
from narrows.asof import DAY
from stages.recall import Recall, newcomers, two_tower
from stages.recall import model as recall_model
from stages.recall.channels.two_tower import TwoTower
from stages.recall.query import Query
from tests.recall.tiny import ASOF, SMALL, WEEK, Rows, events, random_rows, shard

ROWS = random_rows()
NEW = "i60"
"""Of category c0, subcategory s0 and brand b0, as i0 and i30."""
LATER: Rows = [*ROWS, ("u001", NEW, 0), ("u002", NEW, 0)]
CHANNEL = TwoTower(min_users=2, pairs=500, batch=64, seed=3)


@pytest.fixture(scope="module")
def model() -> two_tower.TwoTowerModel:
    known = shard(ROWS)
    return CHANNEL.fit(Query(known.users, known.items), events(ROWS), ASOF.end)


def proposed(
    model: two_tower.TwoTowerModel, rows: Rows, n: int = 100, between: bool = True
) -> dict[tuple[str, str], float]:
    """The score of each (user, item)."""
    known = shard(rows)
    found = model.propose(Query(known.users, known.items, between_fits=between), n)
    assert (np.diff(found.user) >= 0).all()
    users, items = known.users["user_id"].to_pylist(), known.items["item_id"].to_pylist()
    return {(users[u], items[i]): s for u, i, s in zip(found.user, found.item, found.score, strict=True)}


def test_an_item_born_after_the_fit_is_found_by_what_it_is(model):
    before, count = proposed(model, ROWS), model.index.ntotal
    found = proposed(model, LATER)
    mine = {user for user, item in found if item == NEW}
    assert mine == {user for user, _ in before} - {"u001", "u002"}, "who had it is not offered it"
    assert model.index.ntotal == count, "nothing is built anew"
    alike = {user: (found[user, NEW], found[user, "i30"]) for user in mine if (user, "i30") in found}
    assert np.corrcoef(np.array([*alike.values()]).T)[0, 1] > 0.5, "who likes its kind likes it"
    others = {pair: score for pair, score in found.items() if pair[1] != NEW and pair[0] not in ("u001", "u002")}
    assert others == {pair: score for pair, score in before.items() if pair[0] not in ("u001", "u002")}


def test_its_vector_is_the_sum_of_what_is_known_and_the_mean_of_what_is_not(model):
    items = shard(LATER).items
    [row], inputs, vectors = newcomers.newcomers(model.towers, model.items, model.known, Catalogue(items))
    assert items["item_id"][int(row)].as_py() == NEW
    tables, parts = model.towers.embeddings, model.towers.parts
    twin = parts[model.items.to_pylist().index("i0")]
    wanted = tables[0](parts[:, 0]).mean(0) + sum(tables[k].weight[twin[k]] for k in (1, 2, 3))
    assert torch.allclose(inputs[0], wanted, atol=1e-6)
    assert torch.allclose(vectors[0, :-1], model.towers.item_layer(wanted) + wanted, atol=1e-6)
    intercept, slope = model.known.line
    assert vectors[0, -1].item() == pytest.approx(intercept + slope * np.log(3), rel=1e-5)


def test_an_item_with_too_few_users_or_of_no_known_kind_has_none(model):
    assert not any(item == NEW for _, item in proposed(model, [*ROWS, ("u001", NEW, 0)]))
    known = shard(LATER)
    strange = pa.array(["?" if name == NEW else None for name in known.items["item_id"].to_pylist()])
    items = known.items
    for level in ("category", "subcategory", "brand"):
        at = items.column_names.index(level)
        items = items.set_column(at, level, pa.array(
            [new or old for new, old in zip(strange.to_pylist(), items[level].to_pylist(), strict=True)]
        ))  # fmt: skip
    rows = newcomers.newcomers(model.towers, model.items, model.known, Catalogue(items))[0]
    assert not len(rows)


def test_a_user_who_had_nothing_but_new_items_gets_proposals(model):
    rows: Rows = [*LATER, ("u999", NEW, 0)]
    assert any(user == "u999" for user, _ in proposed(model, rows))
    assert not any(user == "u999" for user, _ in proposed(model, [*ROWS, ("u999", NEW, 0)]))


def test_what_was_passed_over_at_the_fit_has_no_vector_later(model):
    """Of a sample of the users: by their profiles items had users enough that the sample does not show."""
    known = shard(ROWS)
    some = known.users.slice(0, 10)
    fitted = CHANNEL.fit(Query(some, known.items), events(ROWS), ASOF.end)
    assert len(fitted.known.passed_over)
    rows = newcomers.newcomers(fitted.towers, fitted.items, fitted.known, Catalogue(known.items))[0]
    assert not len(rows)


def test_a_saved_model_knows_the_same_newcomers(model, tmp_path):
    model.save(tmp_path)
    assert proposed(two_tower.load(tmp_path), LATER) == proposed(model, LATER)


@pytest.mark.parametrize(("days", "refit", "found"), [(0, "7d", False), (1, "7d", True), (1, "1d", False)])
def test_only_between_two_fits(days: int, refit: str, found: bool):
    """At a fit, and where the windows of a first run are narrowed by the oldest model, a score means what it meant to those who learn from it."""
    room, known = Recall(channels=SMALL, refit=refit), shard(ROWS)
    fitted = recall_model.fit(room, events(ROWS), known.users, known.items, ASOF, WEEK, DAY)
    later = replace(shard(LATER), asof=ASOF + days * DAY)
    kept = room.narrow(fitted, later).kept
    new = kept.filter(pc.equal(kept["item_id"], NEW))
    assert new.num_rows
    assert (new["two_tower_score"].null_count < new.num_rows) == found
