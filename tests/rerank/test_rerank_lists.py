"""The list: each step on shards whose right answer is plain to see."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rerank_shards import lists, reasons, shard

from narrows.run.narrowing import check, flow
from stages.rerank import Rerank
from stages.rerank.policy import Pin, Policy

PLAIN = Rerank(n=3, diversity=0.0, epsilon=0.0)


def test_without_steps_the_list_is_the_rank_order_and_keeps_every_column():
    world = shard([[0.1, 0.4, 0.3, 0.2]], ["A"] * 4)
    made = PLAIN.narrow(Policy(), world)
    assert lists(made) == {"u0": ["i1", "i2", "i3"]}
    assert made.kept["rank"].to_pylist() == [1, 2, 3]
    assert made.kept["propensity"].to_pylist() == [1.0, 1.0, 1.0]
    assert made.kept["score"].to_pylist() == pytest.approx([0.4, 0.3, 0.2])
    assert reasons(made) == {
        "i1": "because_history",
        "i2": "ranked",
        "i3": "because_history",
        "i0": "rank_cut",
    }
    assert made.kept.schema == made.removed.schema
    assert set(world.candidates.column_names) < set(made.kept.column_names)


def test_equal_scores_keep_the_rank_order():
    world = shard([[0.5, 0.5, 0.5, 0.5]], ["A"] * 4)
    flipped = world.candidates.set_column(
        world.candidates.column_names.index("rank_rank"), "rank_rank", pa.array([4, 3, 2, 1], pa.int32())
    )
    assert lists(PLAIN.narrow(Policy(), replace(world, candidates=flipped))) == {"u0": ["i3", "i2", "i1"]}


def test_diversity_follows_the_formula_of_mmr():
    # relevance over its maximum 1, .9, .8, .5; similarity 1 within a category: lambda = .5
    world = shard([[1.0, 0.9, 0.8, 0.5]], ["A", "A", "A", "B"])
    room = Rerank(n=3, diversity=0.5, epsilon=0.0, subcategory_weight=0.0, brand_weight=0.0)
    made = room.narrow(Policy(), world)
    assert lists(made) == {"u0": ["i0", "i3", "i1"]}  # .5*.5 - 0 beats .5*.9 - .5
    assert reasons(made)["i2"] == "diversity"


@pytest.mark.parametrize("trade", [0.3, 0.8])
def test_diversity_agrees_with_a_loop(trade):
    random = np.random.default_rng(0)
    scores = random.random((7, 12))
    categories = [str(c) for c in random.integers(0, 4, 12)]
    room = Rerank(n=6, diversity=1 - trade, epsilon=0.0, category_weight=3.0, brand_weight=1.0, subcategory_weight=0.0)
    made = lists(room.narrow(Policy(), shard(scores.tolist(), categories)))
    for user, row in enumerate(scores.astype(np.float32).astype(float)):
        picked: list[int] = []
        while len(picked) < 6:

            def value(j: int, row=row, picked=picked) -> float:
                alike = [0.75 * (categories[j] == categories[i]) + 0.25 * (j % 2 == i % 2) for i in picked]
                return trade * row[j] / row.max() - (1 - trade) * max(alike, default=0.0)

            picked.append(max((j for j in range(12) if j not in picked), key=value))
        assert made[f"u{user}"] == [f"i{j}" for j in picked]


def test_a_cap_holds_and_says_so():
    world = shard([[0.9, 0.8, 0.7, 0.6, 0.5]], ["A", "A", "A", "B", None])
    made = PLAIN.narrow(Policy(cap=2), world)
    assert lists(made) == {"u0": ["i0", "i1", "i3"]}
    assert reasons(made)["i2"] == "policy:cap:A"
    assert reasons(made)["i4"] == "rank_cut"
    assert lists(PLAIN.narrow(Policy(cap=2, category_caps={"A": 1}), world)) == {"u0": ["i0", "i3", "i4"]}
    assert lists(PLAIN.narrow(Policy(cap=1, category_caps={"A": 0}), world)) == {"u0": ["i0", "i1", "i2"]}


def test_a_short_list_is_filled_above_the_cap():
    world = shard([[0.9, 0.8, 0.7]], ["A", "A", "A"])
    assert lists(PLAIN.narrow(Policy(cap=1), world)) == {"u0": ["i0"]}
    made = PLAIN.narrow(Policy(cap=1, minimum=2), world)
    assert lists(made) == {"u0": ["i0", "i1"]}
    assert reasons(made) == {"i0": "ranked", "i1": "filled", "i2": "policy:cap:A"}


@pytest.mark.parametrize("subject", [("items", "i0"), ("brands", "b0"), ("categories", "A")])
def test_blocked_is_never_shown(subject):
    world = shard([[0.9, 0.1]], ["A", "B"])
    made = PLAIN.narrow(Policy(block={subject[0]: [subject[1]]}, pins=(Pin("i0", 1),), minimum=3), world)
    assert lists(made) == {"u0": ["i1"]}
    assert reasons(made)["i0"] == "policy:block"


def test_a_boost_moves_the_order_and_leaves_the_score():
    world = shard([[0.9, 0.8, 0.7, 0.3]], ["A", "A", "A", "B"])
    made = PLAIN.narrow(Policy(boost={"categories": {"B": 2.0}, "items": {"i3": 1.3}}), world)
    assert lists(made) == {"u0": ["i0", "i1", "i3"]}
    last = made.kept.to_pylist()[2]
    assert (last["score"], last["rerank_score"]) == pytest.approx((0.3, 0.78))
    assert reasons(made) == {"i0": "ranked", "i1": "because_history", "i3": "boosted", "i2": "policy:boost"}


def test_a_pin_takes_its_position_where_its_scene_and_segment_are():
    world = shard([[0.9, 0.8, 0.7, 0.1]] * 2, ["A"] * 4, ["young", None])
    made = PLAIN.narrow(Policy(pins=(Pin("i3", 2, "home", "young"), Pin("i2", 1, "cart"))), world)
    assert lists(made) == {"u0": ["i0", "i3", "i1"], "u1": ["i0", "i1", "i2"]}
    out = {(row["user_id"], row["item_id"]): row["reason"] for row in made.removed.to_pylist()}
    assert out == {("u0", "i2"): "policy:pin", ("u1", "i3"): "rank_cut"}
    assert made.kept.to_pylist()[1]["reason"] == "pinned"


def test_a_pin_puts_an_eligible_item_in_the_list_that_no_stage_proposed():
    world = shard([[0.9, 0.8, 0.7], [0.5], []], ["A"] * 5, ["young", None, "young"])
    assert world.candidates is not None
    received = world.candidates.num_rows
    policy = Policy(pins=(Pin("i4", 2), Pin("i3", 1, segment="young"), Pin("i9", 3)), cap=1)
    narrowed = check(PLAIN, world, PLAIN.narrow(policy, world))
    assert lists(narrowed) == {"u0": ["i3", "i4"], "u1": ["i0", "i4"], "u2": ["i3", "i4"]}
    assert narrowed.kept.num_rows + narrowed.removed.num_rows == received
    assert narrowed.added is not None
    assert narrowed.added.schema == narrowed.kept.schema
    for row in narrowed.added.to_pylist():
        assert (row["reason"], row["propensity"], row["score"], row["rerank_score"]) == ("pinned", 1.0, 0.0, 0.0)
        assert row["rank_score"] is row["rank_rank"] is row["recall_reason"] is None
    log = flow(narrowed)
    assert log.num_rows == received + narrowed.added.num_rows
    assert log.filter(pc.field("kept")).num_rows == 6
    assert Counter(log["reason"].to_pylist()) == {"pinned": 5, "because_history": 1, "policy:cap:A": 3}


def test_what_a_pin_displaces_says_so():
    world = shard([[0.9, 0.8, 0.7]], ["A"] * 5)
    narrowed = PLAIN.narrow(Policy(pins=(Pin("i4", 1), Pin("i3", 2))), world)
    assert lists(narrowed) == {"u0": ["i4", "i3", "i0"]}
    assert reasons(narrowed) == {
        "i4": "pinned", "i3": "pinned", "i0": "ranked", "i1": "policy:pin", "i2": "policy:pin",
    }  # fmt: skip
    short = shard([[0.9, 0.8]], ["A"] * 5)
    assert reasons(PLAIN.narrow(Policy(pins=(Pin("i4", 1), Pin("i3", 2))), short))["i1"] == "policy:pin"


@pytest.mark.parametrize(
    "pin", [Pin("i1", 1), Pin("i9", 1), Pin("i2", 1, "cart"), Pin("i2", 1, segment="old"), Pin("i2", 9)]
)
def test_a_pin_that_is_not_eligible_changes_nothing(pin):
    world, block = shard([[0.9]], ["A"] * 3, ["young"]), {"items": ["i1"]}
    narrowed = PLAIN.narrow(Policy(pins=(pin,), block=block), world)
    assert narrowed.added is None
    assert narrowed.kept.equals(PLAIN.narrow(Policy(block=block), world).kept)


def test_an_added_item_is_in_no_other_steps_order_and_is_never_drawn():
    world = shard([[0.9, 0.8, 0.7, 0.6]] * 50, ["A"] * 6)
    room = replace(PLAIN, epsilon=1.0, explore_temperature=100.0)
    narrowed = room.narrow(Policy(pins=(Pin("i5", 1),)), world)
    assert {places[0] for places in lists(narrowed).values()} == {"i5"}
    assert len({tuple(places) for places in lists(narrowed).values()}) > 1
    assert narrowed.added is not None
    assert set(narrowed.added["rank_after_policy"].to_pylist()) == {1}
    for step in ("rank_after_diversity", "rank_after_exploration"):
        assert narrowed.added[step].null_count == 50
    both = pa.concat_tables([narrowed.survivors, narrowed.removed])
    sums = both.group_by("user_id").aggregate([("propensity", "sum")])["propensity_sum"].to_pylist()
    assert sums == pytest.approx([3.0] * 50, abs=1e-12)


def test_a_pin_beyond_a_short_list_moves_up_and_unknown_items_are_ignored():
    world = shard([[0.9, 0.8]], ["A"] * 2)
    assert lists(PLAIN.narrow(Policy(pins=(Pin("i0", 3), Pin("nobody", 1))), world)) == {"u0": ["i1", "i0"]}


def test_names_that_no_item_has_are_told(caplog):
    policy = Policy(block={"brands": ["b0", "bo"]}, boost={"items": {"i9": 2.0}}, category_caps={"A": 1, "a": 1})
    PLAIN.narrow(replace(policy, pins=(Pin("i1", 1), Pin("i8", 2))), shard([[0.9, 0.8]], ["A"] * 2))
    assert caplog.messages == [
        "policy: block.brands: no item has 'bo'",
        "policy: boost.items: no item has 'i9'",
        "policy: cap.categories: no item has 'a'",
        "policy: pin: no item has 'i8'",
    ]


def test_each_step_can_be_scored_apart():
    world = shard([[1.0, 0.9, 0.8, 0.5]], ["A", "A", "A", "B"])
    room = Rerank(n=2, diversity=0.5, epsilon=1.0, subcategory_weight=0.0, brand_weight=0.0)
    made = room.narrow(Policy(block={"items": ["i0"]}), world)
    rows = sorted(made.kept.to_pylist() + made.removed.to_pylist(), key=lambda row: row["item_id"])
    assert [row["rank_after_diversity"] for row in rows] == [1, None, None, 2]
    assert [row["rank_after_policy"] for row in rows] == [None, 1, 2, None]
    explored = [row["rank_after_exploration"] for row in rows]
    assert explored[0] == 1
    assert sorted(place or 0 for place in explored) == [0, 0, 1, 2]


def test_users_without_candidates_and_an_empty_shard():
    world = shard([[], [0.5]], ["A"])
    assert lists(PLAIN.narrow(Policy(cap=1), world)) == {"u1": ["i0"]}
    pinned = Policy(cap=1, pins=(Pin("i0", 1),))
    assert lists(PLAIN.narrow(pinned, world)) == {"u0": ["i0"], "u1": ["i0"]}
    assert lists(PLAIN.narrow(pinned, shard([[]], ["A"]))) == {"u0": ["i0"]}
    empty = PLAIN.narrow(Policy(), shard([[]], ["A"]))
    assert empty.kept.num_rows == empty.removed.num_rows == 0
    assert empty.kept.schema == PLAIN.narrow(Policy(), world).kept.schema


def test_a_missing_score_is_an_error():
    world = shard([[0.5]], ["A"])
    holed = world.candidates.set_column(3, "rank_score", pa.array([None], pa.float32()))
    with pytest.raises(ValueError, match="rank_score must be a probability"):
        PLAIN.narrow(Policy(), replace(world, candidates=holed))
