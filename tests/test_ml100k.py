"""The whole cascade on movielens-100k."""

from __future__ import annotations

import pytest

from narrows.asof import Asof
from tests.fixtures import run_line
from tests.test_cascade import value


@pytest.mark.slow
def test_ml100k_beats_the_simple_rows_and_item_knn(tmp_path_factory):
    """In recall and NDCG, in a domain where nothing is taken twice; the data come out of a wheel, not installed."""
    folder = tmp_path_factory.mktemp("ml100k")
    (folder / "narrows.toml").write_text('[source]\nname = "movielens-100k"\n[evaluation]\nresamples = 100\n')
    line = run_line(folder / "narrows.toml", Asof.parse("1998-03-08"))
    for metric in ("recall", "ndcg"):
        published = value(line, "published", "published", metric)
        for baseline in ("popular", "popular_new", "own_then_popular"):
            assert published > value(line, "baseline", baseline, metric), baseline
        for channel in ("popular_1x", "popular_4x", "segment", "item_to_item", "ease", "two_tower"):
            assert published > value(line, "channel", channel, metric), channel
