"""A ranker and a pair feature of somebody else's package: the modules that the pages docs/add-a-*.md show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.lookup import Pairs, stacked
from features.pair import FEATURES, candidate_score, feature
from narrows.settings import Settings, load_settings
from stages.prerank import Prerank, learn
from stages.rank import Rank
from stages.rank.fit import fit as rank_fit
from stages.rank.rankers import BUILT_IN, RANKERS, ranker
from tests.outside import imported, shown
from tests.rank.small import DAYS, examples, small_shard
from tests.recall.tiny import WEEK

PRERANK = Prerank(
    min_rows=5, positives_per_tree=1, pointwise_trees=12, lambdarank_trees=10, first_trees=5, n=10, stand_back=False
)
RANK = Rank(epochs=2, batch=8, hidden=16, min_count=2, n=10)
FEATURE = shown("add-a-pair-feature.md", "python")
RANKER = shown("add-a-ranker.md", "python")


def settings_shown(page: str, folder: Path) -> Settings:
    """The settings of the page's ``narrows.toml``, which imports its module."""
    (folder / "narrows.toml").write_text(shown(page, "toml"))
    return load_settings(folder / "narrows.toml", {})


def test_a_ranker_from_outside_is_fitted_narrows_and_is_the_same_after_a_reload(tmp_path):
    asked, room = small_shard(), replace(RANK, model="last_item")
    with imported(tmp_path, "my_company.rankers", RANKER, RANKERS):
        assert settings_shown("add-a-ranker.md", tmp_path).rooms["rank"].model == "last_item"
        model = rank_fit(room, examples(asked), dict.fromkeys(DAYS, asked.users), asked.items, WEEK)
        assert type(model.nets[0]).__module__ == "my_company.rankers"
        narrowed = room.narrow(model, asked)
        assert narrowed.kept.num_rows == 10 * asked.users.num_rows
        assert narrowed.kept.num_rows + narrowed.removed.num_rows == asked.candidates.num_rows
        model.save(tmp_path)
        assert room.narrow(room.load(tmp_path), asked).kept.equals(narrowed.kept)
    assert "last_item" not in RANKERS


def test_a_pair_feature_from_outside_is_a_column_of_both_models(tmp_path):
    asked = small_shard()
    with imported(tmp_path, "my_company.features", FEATURE, FEATURES):
        assert list(FEATURES)[-1] == "my_price_gap"
        assert settings_shown("add-a-pair-feature.md", tmp_path).pipeline_settings.imports == ("my_company.features",)
        pairs = Pairs(asked.users, asked.items, asked.candidates)
        np.testing.assert_array_equal(FEATURES["my_price_gap"](pairs), np.ones(len(pairs), np.float32))
        rows = examples(asked)
        assert "my_price_gap" not in learn.fit(PRERANK, rows).ensemble[0].feature_name(), "it has one value"
        price = pa.array(np.arange(asked.items.num_rows) % 3 + 1, pa.float32())
        at = asked.items.column_names.index("price")
        asked = replace(asked, items=asked.items.set_column(at, "price", price))
        rows = examples(asked)
        trees = learn.fit(PRERANK, rows)
        dense = stacked(rows, tuple(FEATURES), np.arange(rows.num_rows))
        varies = tuple(name for name, column in zip(FEATURES, dense.T, strict=True) if len(np.unique(column)) > 1)
        assert varies[-1] == "my_price_gap"
        assert trees.ensemble[0].feature_name() == list(varies)
        networks = rank_fit(RANK, rows, dict.fromkeys(DAYS, asked.users), asked.items, WEEK)
        assert networks.encoder.columns == varies
        for room, model in ((PRERANK, trees), (RANK, networks)):
            received = asked.candidates.drop_columns(["prerank_score", "prerank_rank"]) if room is PRERANK else None
            narrowed = room.narrow(model, replace(asked, candidates=received or asked.candidates))
            assert narrowed.kept.num_rows == 10 * asked.users.num_rows
    assert "my_price_gap" not in FEATURES
    with pytest.raises(ValueError, match=r"my_price_gap is not registered: name the module .* in \[pipeline\] imports"):
        PRERANK.narrow(trees, asked)


def test_a_name_that_is_taken_is_an_error_that_names_both_modules():
    with pytest.raises(ValueError, match=r"item_price is defined twice, in features\.pair\.item and "):

        @feature
        def item_price(pairs: Pairs) -> np.ndarray:
            """Another price."""
            return pairs.of_item("price")

    with pytest.raises(ValueError, match="ease_score is defined twice"):
        candidate_score("ease")
    with pytest.raises(ValueError, match=r"'din' is defined twice, in stages\.rank\.net and tests"):
        ranker("din")(type("Other", (), {"__module__": "tests"}))
    assert tuple(RANKERS) == BUILT_IN
