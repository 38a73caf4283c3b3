"""What holds for every shard and every policy."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rerank_shards import lists, shard

from stages.rerank import Rerank
from stages.rerank.policy import Pin, Policy

CATEGORIES = ["A", "A", "B", "C", None, "A", "B", "B"]
score = st.floats(0, 1, width=32)
worlds = st.lists(st.lists(score, max_size=8), min_size=1, max_size=5).map(lambda rows: shard(rows, CATEGORIES))
some_items = st.lists(st.sampled_from([f"i{j}" for j in range(8)]), max_size=2)
policies = st.builds(
    Policy,
    minimum=st.integers(0, 5),
    cap=st.integers(0, 3),
    category_caps=st.dictionaries(st.sampled_from("AB"), st.integers(0, 2)),
    block=st.fixed_dictionaries({"items": some_items, "categories": st.lists(st.sampled_from("AC"), max_size=1)}),
    boost=st.fixed_dictionaries({"items": st.dictionaries(st.sampled_from(["i1", "i7"]), st.floats(0.5, 3))}),
    pins=st.lists(st.builds(Pin, st.sampled_from(["i0", "i5"]), st.integers(1, 5)), max_size=2).map(tuple),
)
rooms = st.builds(
    Rerank,
    n=st.integers(3, 5),
    diversity=st.sampled_from([0.0, 0.2, 1.0]),
    epsilon=st.sampled_from([0.0, 0.3, 1.0]),
    explore_position=st.integers(0, 3),
    explore_pool=st.integers(0, 4),
    explore_temperature=st.sampled_from([0.5, 1.0, 7.0]),
    seed=st.integers(0, 99),
)


def pairs(table: pa.Table) -> Counter[tuple[str, str]]:
    return Counter(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def half(world, number: int):
    """The shard of every second user."""
    users, candidates = (
        table.filter(pa.array([int(user[1:]) % 2 == number for user in table["user_id"].to_pylist()], pa.bool_()))
        for table in (world.users, world.candidates)
    )
    return replace(world, users=users, candidates=candidates)


@settings(max_examples=150, deadline=None)
@given(worlds, policies, rooms)
def test_laws_of_every_list(world, policy, room):
    narrowed = room.narrow(policy, world)
    received, accounted = pairs(world.candidates), pairs(narrowed.kept) + pairs(narrowed.removed)
    assert accounted == received
    both, pinned = pa.concat_tables([narrowed.survivors, narrowed.removed]), {pin.item for pin in policy.pins}
    if narrowed.added is not None:
        assert not pairs(narrowed.added) & received
        assert {item for _, item in pairs(narrowed.added)} <= pinned
        assert narrowed.added["rank"].null_count == 0
    assert both["reason"].null_count == 0
    by_user: dict[str, list[dict]] = {}
    for row in both.to_pylist():
        by_user.setdefault(row["user_id"], []).append(row)
    for rows in by_user.values():
        shown = sorted((row for row in rows if row["rank"]), key=lambda row: row["rank"])
        assert len(shown) <= room.n
        assert [row["rank"] for row in shown] == list(range(1, len(shown) + 1))
        assert sum(row["propensity"] for row in rows) == pytest.approx(len(shown), abs=1e-12)
        assert all(0 < row["propensity"] <= 1 for row in shown)
        allowed = []
        for row in rows:
            category = CATEGORIES[int(row["item_id"][1:])]
            blocked = row["item_id"] in policy.block["items"] or category in policy.block["categories"]
            allowed += [row] * (not blocked)
            assert not (blocked and row["rank"])
            assert (row["reason"] == "policy:block") == blocked
            assert (row["reason"] == "pinned") <= (row["item_id"] in pinned)
        eligible = [pin for pin in policy.pins if pin.position <= room.n and pin.item not in policy.block["items"]]
        eligible = [pin for pin in eligible if CATEGORIES[int(pin.item[1:])] not in policy.block["categories"]]
        if eligible:  # the last of them has nobody above it
            assert eligible[-1].item in [row["item_id"] for row in shown if row["reason"] == "pinned"]
        assert len(shown) >= min(policy.minimum, room.n, len(allowed))
        own = Counter(CATEGORIES[int(row["item_id"][1:])] for row in shown if row["reason"] not in ("filled", "pinned"))
        for category, count in own.items():
            cap = policy.category_caps.get(category, policy.cap)
            assert category is None or not cap or count <= cap


@settings(max_examples=60, deadline=None)
@given(worlds, policies, rooms, st.randoms(use_true_random=False))
def test_neither_order_nor_sharding_of_users_changes_a_list(world, policy, room, random):
    whole = room.narrow(policy, world)
    order = list(range(world.candidates.num_rows))
    random.shuffle(order)
    assert lists(
        room.narrow(policy, replace(world, candidates=world.candidates.take(pa.array(order, pa.int64()))))
    ) == lists(whole)
    parts = [room.narrow(policy, half(world, number)) for number in (0, 1)]
    keys = [("user_id", "ascending"), ("item_id", "ascending")]
    for name in ("survivors", "removed"):
        joined = pa.concat_tables([getattr(part, name) for part in parts]).sort_by(keys)
        assert joined.equals(getattr(whole, name).sort_by(keys))  # to the last bit of the propensities


@pytest.mark.parametrize(("temperature", "capped"), [(1.0, False), (0.5, True), (5.0, False)])
def test_the_stored_propensity_is_how_often_an_item_is_drawn(temperature, capped):
    scores = [0.9, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1]
    world = shard([scores] * 400, ["A", "B", "B", "A", "C", "A", "C"])
    room = Rerank(n=2, epsilon=0.6, explore_pool=4, explore_temperature=temperature, diversity=0.05)
    seen: Counter[str] = Counter()
    for seed in range(25):
        narrowed = replace(room, seed=seed).narrow(Policy(cap=1) if capped else Policy(), world)
        both = pa.concat_tables([narrowed.kept, narrowed.removed])
        seen.update(narrowed.kept.filter(pc.field("rank") == 2)["item_id"].to_pylist())
        stored = dict(zip(both["item_id"].to_pylist(), both["propensity"].to_pylist(), strict=True))
        distinct = both.select(["item_id", "propensity"]).group_by(["item_id", "propensity"]).aggregate([])
        assert distinct.num_rows == len(scores)  # the distribution depends on neither the user's draw nor the seed
    pool = [1, 2, 4, 6] if capped else [1, 2, 3, 4, 5]  # A is full; the slot's own B is not, for the slot
    weights = {f"i{j}": scores[j] ** (1 / temperature) for j in pool}
    for item, probability in stored.items():
        if item == "i0":
            assert probability == 1
            continue
        exact = 0.6 * weights.get(item, 0.0) / sum(weights.values()) + 0.4 * (item == "i1")
        assert probability == pytest.approx(exact, rel=1e-6)
        deviation = (exact * (1 - exact) / seen.total()) ** 0.5
        assert seen[item] / seen.total() == pytest.approx(exact, abs=4 * deviation)


def test_draws_differ_between_users_days_and_seeds():
    world = shard([[0.9 - j / 100 for j in range(8)]] * 40, ["A"] * 8)
    room = Rerank(n=2, epsilon=1.0, explore_temperature=100.0)
    base = lists(room.narrow(Policy(), world))
    assert len({tuple(made) for made in base.values()}) > 4
    assert lists(replace(room, seed=2).narrow(Policy(), world)) != base
    assert lists(room.narrow(Policy(), replace(world, asof=world.asof - timedelta(days=1)))) != base
