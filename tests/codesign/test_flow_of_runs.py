"""The flow log of finished runs says what their tables say."""

import numpy as np
import pyarrow.compute as pc
import pytest

from features.lookup import Pairs
from features.pair import FEATURES, matrix
from narrows.cli.codesign.tables import Choice, of_runs
from narrows.cli.main import main
from narrows.codesign.errors import CodesignError
from narrows.codesign.log import FlowLog
from narrows.settings import load_settings
from narrows.store.partitions import StoreError


@pytest.fixture(scope="module")
def settings(line):
    return load_settings(line.file, {})


@pytest.fixture(scope="module")
def log(line, settings):
    """Of the last as-of alone, whole."""
    return of_runs(settings, str(line.asof), Choice(candidates=0, windows=1))


def table(line, room, where=None):
    return line.table(room).arrow(where=where)


def test_every_candidate_has_come_as_far_as_the_tables_say(line, log):
    assert log.stages == ("recall", "prerank", "rank", "rerank")
    offered = table(line, "recall", pc.field("kept"))
    assert len(log.item) == offered.num_rows
    assert len(log) == pc.count_distinct(offered["user_id"]).as_py()
    for stage, room in enumerate(log.stages[1:], 1):
        assert (log.reached > stage).sum() == table(line, room, pc.field("kept")).num_rows
        received = table(line, room).num_rows
        assert (log.reached >= stage).sum() == received
        assert (log.rank[:, stage] > 0).sum() > 0
    assert np.isfinite(log.score[:, 1][log.reached >= 1]).all()
    assert np.isnan(log.score[:, 2][log.reached < 2]).all()
    assert (log.weight == 1).all()
    assert (log.time == int(line.asof.end.timestamp())).all()


def test_labels_are_what_was_taken_in_the_horizon_after_the_as_of(line, settings, log):
    events = line.runner.store.current("events", line.asof + settings.source.horizon_length).arrow()
    later = events.filter(pc.greater_equal(events["event_time"], line.asof.end))
    pairs = set(zip(later["user_id"].to_pylist(), later["item_id"].to_pylist(), strict=True))
    offered = table(line, "recall", pc.field("kept"))
    rows = zip(offered["user_id"].to_pylist(), offered["item_id"].to_pylist(), strict=True)
    assert log.label.sum() == sum(pair in pairs for pair in rows) > 0


def test_features_are_those_of_the_pipeline(line, log):
    offered = table(line, "recall", pc.field("kept"))
    users = table(line, "user_profiles", pc.field("user_id").isin(pc.unique(offered["user_id"])))
    first = users["user_id"][0].as_py()
    mine = offered.filter(pc.equal(offered["user_id"], first)).sort_by("item_id")
    expected = matrix(Pairs(users.slice(0, 1), table(line, "item_profiles"), mine), tuple(FEATURES))
    rows = log.features[: log.bounds[1]]
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(expected, axis=0))
    events = users["sequence_item"][0].as_py()[-50:]
    assert (log.sequence[0] > 0).sum() == len(events)
    codes = {}
    for item, code in zip(events, log.sequence[0][log.sequence[0] > 0].tolist(), strict=True):
        assert codes.setdefault(item, code) == code
    assert len(set(codes.values())) == len(codes)


def test_channels_rank_as_the_first_room_says(line, log):
    offered = table(line, "recall", pc.field("kept"))
    columns = [name for name in offered.column_names if name.endswith("_rank") and name != "recall_rank"]
    assert [f"{name}_rank" for name in log.channels] == columns
    assert len(log.channels) > 2
    for place, name in enumerate(columns):
        ranks = pc.fill_null(offered[name], 0).to_numpy()
        np.testing.assert_array_equal(np.sort(log.channel_rank[:, place]), np.sort(ranks))
    assert (log.channel_rank > 0).any(1).all()
    assert log.request_weight is None


def test_a_sample_takes_of_each_group_alike_and_weighs_it(line, settings, log):
    some = of_runs(settings, str(line.asof), Choice(candidates=12, windows=1))
    assert (some.sizes <= 12).all()
    for stage in range(1, 5):
        whole = np.bincount(log.request, log.reached == stage)
        stood_for = np.bincount(some.request, (some.reached == stage) * some.weight)
        np.testing.assert_allclose(stood_for, whole, rtol=1e-5)


def test_a_sampled_run_gives_requests_with_their_weights(sampled_line):
    sampled = of_runs(load_settings(sampled_line.file, {}), str(sampled_line.asof), Choice(candidates=0, windows=1))
    received = sampled_line.table("recall").arrow(where=pc.field("kept") & pc.field("request_weight").is_valid())
    weights = dict(zip(received["user_id"].to_pylist(), received["request_weight"].to_pylist(), strict=True))
    assert len(sampled) == len(weights) < 81
    np.testing.assert_allclose(np.sort(sampled.request_weight), np.sort(list(weights.values())), rtol=1e-6)
    assert sampled.request_weight.max() > 1


def test_earlier_as_ofs_are_the_past_to_learn_from(settings, line):
    every = of_runs(settings, None, Choice(candidates=6))
    times = np.unique(every.time)
    assert len(times) > 3
    assert times[-1] == int(line.asof.end.timestamp())
    train, _, test = every.split()
    assert train.time.max() < test.time.min()
    assert (every.reached[every.time[every.request] == times[0]] == 1).all()  # past alone: later rooms did not run


def test_the_command_writes_a_log(line, tmp_path, capsys):
    given = ["--file", str(line.file), "codesign", "log", "--out", str(tmp_path / "flow"), "--windows", "3"]
    assert main([*given, "--ranker-only", "history_count,history_due"]) == 0
    assert "requests" in capsys.readouterr().out
    log = FlowLog.load(tmp_path / "flow")
    assert [log.columns[at] for at in np.flatnonzero(log.seen_from)] == ["history_count", "history_due"]


def test_what_cannot_be_logged_is_refused(settings, line):
    with pytest.raises(CodesignError, match="no such feature"):
        of_runs(settings, None, Choice(ranker_only=("colour",)))
    with pytest.raises(StoreError, match="Run: narrows run --asof 2020-01-01"):
        of_runs(settings, "2020-01-01")
