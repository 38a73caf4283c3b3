"""A channel from outside the package: one file, and all that recall shows of a channel."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from features.pair import FEATURES
from narrows.cli.airflow import ROOT
from narrows.cli.explain import explain
from narrows.cli.reference import channels_page
from narrows.settings import SettingsError, load_settings
from stages.recall import Recall, model
from stages.recall.channels import CHANNELS, Channel, build, channel
from tests.recall.tiny import ASOF, SMALL, events, random_rows, shard

ROWS = random_rows()

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
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registries as before, whatever a test registers."""
    channels, features, modules = dict(CHANNELS), dict(FEATURES), set(sys.modules)
    yield
    for registry, before in ((CHANNELS, channels), (FEATURES, features)):
        registry.clear()
        registry.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("my_"):
            del sys.modules[name]


def load(folder: Path, name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


def example() -> str:
    """The file that the documentation shows."""
    page = (ROOT / "docs" / "add-a-channel.md").read_text(encoding="utf-8")
    return textwrap.dedent(page.partition("   ```python\n")[2].partition("   ```\n")[0])


def test_the_documented_channel_needs_its_file_only(clean, tmp_path, monkeypatch):
    before = list(FEATURES)
    load(tmp_path, "my_trending", example(), monkeypatch)
    room = Recall(channels=SMALL | {"trending": {"quota": 2, "min_users": 1}})
    room.check(load_settings(env={}))
    known = shard(ROWS)
    fitted = model.fit(room, events(ROWS), known.users, known.items, ASOF)
    kept = room.narrow(fitted, known).kept
    score, rank = (kept[name].combine_chunks() for name in ("trending_score", "trending_rank"))
    assert score.null_count == rank.null_count < len(rank)
    week, month = (known.items[name].to_numpy() for name in ("users_7d", "users_28d"))
    best = known.items["item_id"].to_pylist()[np.argmax(np.where(week > 0, week / np.maximum(month, 1), -1))]
    first = {
        row["item_id"] for row in kept.select(["item_id", "trending_rank"]).to_pylist() if row["trending_rank"] == 1
    }
    assert first == {best}
    alone = Recall(channels={name: {"quota": 0} for name in CHANNELS} | {"trending": {"quota": 2, "min_users": 1}})
    kept = alone.narrow(model.fit(alone, events(ROWS), known.users, known.items, ASOF), known).kept
    assert kept.num_rows == 2 * known.users.num_rows
    assert set(kept["recall_reason"].to_pylist()) == {"trending"}
    assert explain("trending") == "trending (more users have it every week)"
    assert list(FEATURES) == [*before, "trending_score"]
    assert "| [`trending`](#trending) | Proposes the items that grow most" in channels_page()
    assert "Items that fewer users had in the last 7 days are left out. |" in channels_page()


def test_a_channel_that_learns_is_saved_with_recalls_model(clean, tmp_path, monkeypatch):
    load(tmp_path, "my_rarest", LEARNER, monkeypatch)
    rows = [*ROWS, ("u001", "i999", 3)]
    room, known = Recall(channels=SMALL), shard(rows)
    fitted = model.fit(room, events(rows), known.users, known.items, ASOF)
    folder = tmp_path / "model"
    folder.mkdir()
    fitted.save(folder)
    assert (folder / "rarest" / "item.txt").read_text() == "i999"
    kept = room.narrow(room.load(folder), known).kept
    assert kept.equals(room.narrow(fitted, known).kept)
    proposed = {row["item_id"] for row in kept.to_pylist() if row["rarest_rank"]}
    assert proposed == {"i999"}
    assert "rarest_score" not in FEATURES  # score_feature is off by default


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[recall.channels.trendy]",
            "[recall.channels] 'trendy' is not a known channel. The channels are: own, popular",
        ),
        ("[recall.channels.eese]", "[recall.channels] 'eese' is not a known channel. Did you mean 'ease'?"),
        (
            "[recall.channels.ease]\nqouta = 3",
            "[recall.channels.ease] 'qouta' is not a known key. Did you mean 'quota'?",
        ),
        ("[recall.channels.ease]\nzzz = 3", "'zzz' is not a known key. The keys are: quota, items, ridge."),
        ("[recall.channels.ease]\nquota = -1", "[recall.channels.ease] quota = -1: give 0 or more."),
        ("[recall.channels.ease]\nquota = '20'", "quota = '20' has the wrong type: give a whole number."),
        ("[recall.channels.ease]\nridge = 0", "[recall.channels.ease] ridge = 0: give a number above 0."),
        ("[recall.channels.two_tower]\nindex = 'flat'", "index = 'flat': give exact, ivf or hnsw."),
        ("[recall.channels]\nease = 3", "[recall.channels] ease = 3 has the wrong type: give a table."),
        ("[recall]\nown = 9", "[recall] own = 9 is now quota = 9 in [recall.channels.own]."),
        ("[recall]\nspare = 1.5", "[recall] spare = 1.5 is now oversample = 1.5."),
        (
            "\n".join(f"[recall.channels.{name}]\nquota = 0" for name in CHANNELS),
            "[recall] channels: every channel has quota = 0; give one of them 1 or more.",
        ),
    ],
)
def test_wrong_settings_name_the_key_and_the_remedy(tmp_path, text, says):
    file = tmp_path / "narrows.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(file, {})
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_settings_of_a_channel_leave_its_other_defaults():
    channels = build({"item_to_item": {"quota": 7}, "ease": {"quota": 0}})
    assert "ease" not in channels
    assert list(channels) == [name for name in CHANNELS if name != "ease"]
    assert (channels["item_to_item"].quota, channels["own"].quota) == (7, 250)


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


def test_two_channels_cannot_have_one_name_but_a_module_may_be_imported_again(clean, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"'own' of .*: stages.recall.channels.own has it"):
        channel(type("Other", (Channel,), {"name": "own", "reason": "r", "meaning": "m"}))
    module = load(tmp_path, "my_trending", example(), monkeypatch)
    features = list(FEATURES)
    importlib.reload(module)
    assert CHANNELS["trending"] is module.Trending
    assert list(FEATURES) == features


def test_the_channels_scores_are_the_last_features():
    assert list(FEATURES)[-3:] == ["item_to_item_score", "ease_score", "two_tower_score"]
