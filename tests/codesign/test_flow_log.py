"""A flow log is split by time, taken apart by request, and comes back as it was written."""

from dataclasses import fields, replace

import numpy as np
import pytest

from narrows.codesign.log import ABOUT, FlowLog, FlowLogError
from tests.codesign.small_log import small_log


def same(one: FlowLog, other: FlowLog) -> None:
    for field in fields(FlowLog):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, field.name)
            assert left.dtype == right.dtype, field.name
        else:
            assert left == right, field.name


@pytest.mark.parametrize("truth", [False, True])
def test_a_log_comes_back_as_it_was_saved(tmp_path, truth):
    log = small_log(truth=truth)
    log.save(tmp_path / "log")
    same(FlowLog.load(tmp_path / "log"), log)


def test_a_log_without_columns_or_requests_comes_back(tmp_path):
    empty = small_log().take(np.arange(0))
    bare = replace(empty, columns=(), seen_from=np.zeros(0, np.int8), features=np.zeros((0, 0), np.float32))
    bare.save(tmp_path)
    same(FlowLog.load(tmp_path), bare)


def test_what_is_no_log_is_refused(tmp_path):
    with pytest.raises(FlowLogError, match="no readable flow log"):
        FlowLog.load(tmp_path)
    small_log().save(tmp_path)
    (tmp_path / ABOUT).write_text('{"version": 99}')
    with pytest.raises(FlowLogError, match="version 99"):
        FlowLog.load(tmp_path)


def test_requests_are_taken_with_their_rows_in_the_order_given():
    log = small_log(truth=True)
    some = log.take(np.array([7, 2]))
    rows = [*range(log.bounds[7], log.bounds[8]), *range(log.bounds[2], log.bounds[3])]
    np.testing.assert_array_equal(some.item, log.item[rows])
    np.testing.assert_array_equal(some.value, log.value[rows])
    np.testing.assert_array_equal(some.oracle, log.oracle[[7, 2]])
    np.testing.assert_array_equal(some.sizes, log.sizes[[7, 2]])
    np.testing.assert_array_equal(some.request, np.repeat([0, 1], log.sizes[[7, 2]]))
    same(log.take(np.arange(40) < 3), log.take(np.arange(3)))


def test_a_split_is_by_time_and_leaves_nothing_out():
    log = small_log()
    train, validation, test = log.split((0.5, 0.25, 0.25))
    assert [len(part) for part in (train, validation, test)] == [20, 10, 10]
    assert train.time.max() < validation.time.min() <= validation.time.max() < test.time.min()
    assert len(train.item) + len(validation.item) + len(test.item) == len(log.item)


def test_requests_of_one_instant_are_never_split():
    log = replace(small_log(), time=np.repeat([0, 1, 2], [36, 2, 2]))
    assert [len(part) for part in log.split((0.3, 0.3, 0.4))] == [36, 2, 2]
    with pytest.raises(FlowLogError, match="log more as-ofs"):
        replace(log, time=np.repeat([0, 1], 20)).split()
