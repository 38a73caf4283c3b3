"""A small feather of RecFlow's shape is read as a flow log."""

from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pytest

from narrows.codesign.log import FlowLogError
from narrows.codesign.recflow import COLUMNS, GROUPS, STAGES, read

NOON = 1_705_147_200
"""2024-01-13 12:00 UTC."""


def day(folder, name, requests, begin, per_group=12):
    """Requests of 4 groups; the first rank_pos of each is viewed."""
    rows = []
    for request, user in requests:
        for stage, group in enumerate(GROUPS):
            for place in range(per_group):
                video = 1000 * stage + 20 * request + place
                rows.append({
                    "request_id": request, "request_timestamp": (begin + 60 * request) * 1000, "user_id": user,
                    "device_id": 1, "age": 3, "gender": user % 2, "province": 5, "video_id": video, "author_id": video % 7,
                    "category_level_one": video % 3, "category_level_two": 0, "upload_type": 1,
                    "upload_timestamp": (begin - 86_400) * 1000, "duration": 9000 + video, "realshow": int(stage == 3),
                    "rank_index": place + 1 if stage == 3 else 0, "rerank_index": 0,
                    **{flag: int(flag == group) for flag in GROUPS}, "rerank_pos": 0, "rerank_neg": 0,
                    "effective_view": int(stage == 3 and place == 0), "long_view": 0, "like": 0,
                })  # fmt: skip
    file = folder / f"{name}.feather"
    feather.write_feather(pa.Table.from_pylist(rows), file)
    return file


@pytest.fixture
def files(tmp_path):
    later = day(tmp_path, "2024-01-14", [(5, 11), (4, 12)], NOON + 86_400)
    return [later, day(tmp_path, "2024-01-13", [(2, 11), (1, 12), (3, 11)], NOON)]


def test_requests_candidates_and_labels(files):
    log = read(files)
    assert log.stages == STAGES
    assert log.time.tolist() == [NOON + 60, NOON + 120, NOON + 180, NOON + 86_640, NOON + 86_700]
    assert log.user.tolist() == [1, 0, 0, 1, 0]
    assert log.sizes.tolist() == [40] * 5
    assert all((np.bincount(log.request, log.reached == stage) == 10).all() for stage in (1, 2, 3, 4))
    np.testing.assert_array_equal(log.label, log.reached == 4)
    np.testing.assert_allclose(log.weight, 1.2)
    assert ((log.rank[:, -1] > 0) == (log.reached == 4)).all()
    assert not log.rank[:, :-1].any()


def test_sequences_are_the_effective_views_before(files):
    log = read(files, per_group=0)
    videos = {video: code for code, video in enumerate(sorted(
        1000 * stage + 20 * request + place for stage in range(4) for request in range(1, 6) for place in range(12)
    ), 1)}  # fmt: skip
    viewed = {request: videos[3000 + 20 * request] for request in range(1, 6)}
    pasts = [[code for code in row if code] for row in log.sequence.tolist()]
    assert pasts == [[], [], [viewed[2]], [viewed[1]], [viewed[2], viewed[3]]]
    assert log.sizes.tolist() == [48] * 5
    assert (log.weight == 1).all()


def test_features_are_of_the_time_of_the_request(files):
    log = read(files)
    column = {name: log.features[:, place] for place, name in enumerate(COLUMNS)}
    last = log.request == 4
    assert np.isfinite(log.features).all()
    np.testing.assert_allclose(column["video_age_days"][last], 1 + 300 / 86_400, rtol=1e-5)
    np.testing.assert_allclose(
        column["hour_cos"][log.request == 0], np.cos(2 * np.pi * (12 * 60 + 1) / (24 * 60)), rtol=1e-5
    )
    assert set(column["author_share"][last].tolist()) <= {0.0, 0.5, 1.0}
    assert not column["author_share"][log.request == 0].any()


def test_other_labels_and_a_share_of_the_users(files):
    viewed = read(files, label="effective_view", per_group=0)
    assert viewed.label.sum() == 5
    found = set()
    for seed in range(12):
        with suppress(FlowLogError):  # nobody was drawn
            found.add(tuple((read(files, users=0.5, seed=seed).time - NOON).tolist()))
    assert found > {(60, 86_640), (120, 180, 86_700)}  # all requests of a user or none


def test_what_is_no_such_file_is_refused(tmp_path):
    other = tmp_path / "other.feather"
    feather.write_feather(pa.table({"a": [1]}), other)
    with pytest.raises(FlowLogError, match="request_id"):
        read([other])
    text = tmp_path / "text.feather"
    text.write_text("no feather")
    with pytest.raises(FlowLogError, match="cannot be read"):
        read([text])
    with pytest.raises(FlowLogError, match="no row"):
        read([])
