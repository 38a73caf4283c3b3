"""A channel from outside the package: one file, and all that recall shows of a channel."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from features.pair import FEATURES
from narrows.asof import DAY
from narrows.cli.reference.pages import channels_page
from narrows.reasons import of_rooms
from narrows.run.fingerprint import Recipes
from narrows.settings import SettingsError, load_settings
from stages import PIPELINE
from stages.recall import Recall, model
from stages.recall.channels import CHANNELS, Channel, build, channel
from tests.outside import forgotten, imported, shown, written
from tests.recall.tiny import ASOF, SMALL, WEEK, events, random_rows, shard

ROWS = random_rows()
NAME, EXAMPLE = "my_company.trending", shown("add-a-channel.md", "python")

LEARNER = '''
from pathlib import Path
import numpy as np
from stages.recall.channels import Channel, channel
from stages.recall.query import Proposals

class Chosen:
    def __init__(self, item):
        self.item = item

    def propose(self, query, n):
        users = np.arange(query.users.num_rows)
        item = query.ids.index(self.item).as_py()
        return Proposals.best(users, np.full(len(users), item), np.ones(len(users), np.float32), n)

    def save(self, folder):
        (folder / "item.txt").write_text(self.item)

@channel
class Rarest(Channel):
    """Proposes the item with the fewest events."""

    name, reason, meaning = "rarest", "rarest", "hardly anyone has it"

    def fit(self, query, events, end):
        counts = events["item_id"].value_counts()
        return Chosen(counts[int(np.argmin(counts.field("counts")))]["values"].as_py())

    def load(self, folder):
        return Chosen((folder / "item.txt").read_text())
'''


@pytest.fixture
def clean() -> Iterator[None]:
    with forgotten(CHANNELS, FEATURES):
        yield


@pytest.fixture
def trending(tmp_path) -> Iterator[ModuleType]:
    with imported(tmp_path, NAME, EXAMPLE, CHANNELS, FEATURES) as module:
        yield module


@pytest.fixture
def rarest(tmp_path) -> Iterator[ModuleType]:
    with imported(tmp_path, "my_rarest", LEARNER, CHANNELS, FEATURES) as module:
        yield module


def test_the_documented_channel_needs_its_file_only(trending):
    room = Recall(channels=SMALL | {"trending": {"quota": 2, "min_users": 1}})
    room.check(load_settings(env={}))
    known = shard(ROWS)
    fitted = model.fit(room, events(ROWS), known.users, known.items, ASOF, WEEK, DAY)
    kept = room.narrow(fitted, known).kept
    score, rank = (kept[name].combine_chunks() for name in ("trending_score", "trending_rank"))
    assert score.null_count == rank.null_count < len(rank)
    week, month = (known.items[name].to_numpy() for name in ("users_1x", "users_4x"))
    best = known.items["item_id"].to_pylist()[np.argmax(np.where(week > 0, week / np.maximum(month, 1), -1))]
    first = {
        row["item_id"] for row in kept.select(["item_id", "trending_rank"]).to_pylist() if row["trending_rank"] == 1
    }
    assert first == {best}
    alone = Recall(channels={name: {"quota": 0} for name in CHANNELS} | {"trending": {"quota": 2, "min_users": 1}})
    kept = alone.narrow(model.fit(alone, events(ROWS), known.users, known.items, ASOF, WEEK, DAY), known).kept
    assert kept.num_rows == 2 * known.users.num_rows
    assert set(kept["recall_reason"].to_pylist()) == {"trending"}
    assert of_rooms(PIPELINE).kept["trending"] == "more users have it every week"
    assert list(FEATURES)[-2:] == ["two_tower_score", "trending_score"]
    assert "| [`trending`](#trending) | Proposes the items that grow most" in channels_page()
    assert "Items that fewer users had in the last 7 days are left out. |" in channels_page()


def test_the_settings_file_names_the_channels_module_and_its_code_is_part_of_the_recipe(clean, tmp_path):
    file, module = tmp_path / "narrows.toml", written(tmp_path, NAME, EXAMPLE)
    file.write_text('[pipeline]\nimports = ["my_company.trending"]\n[recall.channels.trending]\nquota = 2\n')
    settings = load_settings(file, {})
    assert list(build(settings.rooms["recall"].channels))[-1] == "trending"
    assert list(FEATURES)[-1] == "trending_score"
    before = Recipes(settings)
    recall, profiles = before.of("recall"), before.of("item_profiles")
    module.write_text(EXAMPLE.replace("week >= self.min_users", "week > self.min_users"))
    after = Recipes(settings)
    assert after.of("recall") != recall
    assert after.of("item_profiles") == profiles
    file.write_text('[pipeline]\nimports = ["my_company.trending"]\n[recall.channels.trending]\nquota = -2\n')
    with pytest.raises(SettingsError, match=r"\[recall.channels.trending\] quota = -2: give 0 or more"):
        load_settings(file, {})


def test_a_channel_that_learns_is_saved_with_recalls_model(rarest, tmp_path):
    rows = [*ROWS, ("u001", "i999", 3)]
    room, known = Recall(channels=SMALL), shard(rows)
    fitted = model.fit(room, events(rows), known.users, known.items, ASOF, WEEK, DAY)
    folder = tmp_path / "model"
    folder.mkdir()
    fitted.save(folder)
    assert (folder / "rarest" / "item.txt").read_text() == "i999"
    kept = room.narrow(room.load(folder), known).kept
    assert kept.equals(room.narrow(fitted, known).kept)
    proposed = {row["item_id"] for row in kept.to_pylist() if row["rarest_rank"]}
    assert proposed == {"i999"}
    assert "rarest_score" not in FEATURES  # score_feature is off by default


@pytest.mark.parametrize("name", ["1st", "Best", "a-b"])
def test_a_name_that_cannot_be_a_columns_prefix_is_refused(clean, name):
    with pytest.raises(ValueError, match="channel name = "):
        channel(type("Wrong", (Channel,), {"name": name, "reason": "r", "meaning": "m"}))


def test_a_channel_cannot_have_the_name_of_a_room(clean):
    channel(type("Rank", (Channel,), {"name": "rank", "reason": "r", "meaning": "m"}))
    with pytest.raises(ValueError, match=r"channels.rank: a room has this name; give the channel another"):
        Recall().check(load_settings(env={}))


@pytest.mark.parametrize("missing", ["name", "reason", "meaning"])
def test_a_channel_says_what_it_is(clean, missing):
    given = {key: "x" for key in ("name", "reason", "meaning") if key != missing}
    with pytest.raises(ValueError, match=f"has no {missing}: give it one"):
        channel(type("Silent", (Channel,), given))


def test_two_channels_cannot_have_one_name_but_a_module_may_be_imported_again(trending):
    with pytest.raises(ValueError, match=r"'own' of .*: stages.recall.channels.own has it"):
        channel(type("Other", (Channel,), {"name": "own", "reason": "r", "meaning": "m"}))
    features, before = list(FEATURES), CHANNELS["trending"]
    importlib.reload(trending)
    assert CHANNELS["trending"] is not before
    assert list(FEATURES) == features


def test_the_channels_scores_are_the_last_features():
    assert list(FEATURES)[-3:] == ["item_to_item_score", "ease_score", "two_tower_score"]
