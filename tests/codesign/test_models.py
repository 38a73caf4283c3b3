"""Batches hold what the log has; models see what they may, and no padding changes a score."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from narrows.codesign.batch import UNKNOWN, Batch, Inputs
from narrows.codesign.models import MODELS, stage_model
from tests.codesign.small_log import small_log

LOG = small_log()
INPUTS = Inputs.of(LOG)


def test_a_batch_has_the_rows_of_its_requests_and_a_mask_for_the_rest():
    batch = INPUTS.encode(LOG).batch(torch.tensor([4, 0]))
    sizes = LOG.sizes[[4, 0]]
    assert batch.mask.sum(1).tolist() == sizes.tolist()
    assert batch.item.shape == (2, sizes.max())
    rows = slice(LOG.bounds[4], LOG.bounds[5])
    np.testing.assert_array_equal(batch.item[0, : sizes[0]], INPUTS.code(LOG.item[rows]))
    np.testing.assert_array_equal(batch.grade[0, : sizes[0]], LOG.reached[rows])
    np.testing.assert_array_equal(batch.features[0, : sizes[0]], INPUTS.scale(LOG.features)[rows])


def test_batches_go_over_all_requests_once():
    encoded = INPUTS.encode(LOG)
    drawn = list(encoded.batches(7, torch.Generator().manual_seed(1)))
    assert [len(batch.item) for batch in drawn] == [7] * 5 + [5]
    assert sum(int(batch.mask.sum()) for batch in drawn) == len(LOG.item)
    assert torch.equal(next(iter(encoded.batches(7))).sequence, encoded.sequence[:7])


def test_features_are_scaled_by_quantiles_and_gaps_get_indicators():
    scaled = INPUTS.scale(LOG.features)
    assert scaled.shape[1] == INPUTS.width == 4
    missing = np.isnan(LOG.features)
    np.testing.assert_array_equal(scaled[:, 2:], missing)
    assert (scaled[:, :2][missing] == 0).all()
    assert abs(scaled[:, :2][~missing].mean()) < 0.05
    assert abs(scaled[:, :2][~missing].std() - 1) < 0.05
    order = np.argsort(LOG.features[~missing[:, 0], 0])
    assert (np.diff(scaled[~missing[:, 0], 0][order]) >= 0).all()


def test_rare_and_unseen_items_are_unknown():
    log = replace(small_log(), item=np.where(small_log().item == 3, 21, small_log().item).astype(np.int32))
    log.item[:] = np.where(np.arange(len(log.item)) == 5, 30, log.item)
    inputs = Inputs.of(log)
    assert inputs.code(np.array([0, 30, 99])).tolist() == [0, UNKNOWN, UNKNOWN]
    assert inputs.code(np.array([21]))[0] > UNKNOWN
    assert inputs.items == inputs.known.max() + 1


def test_features_of_the_user_and_of_the_ranker_are_told_apart():
    features = LOG.features.copy()
    features[:, 0] = np.arange(len(LOG))[LOG.request]
    inputs = Inputs.of(replace(LOG, features=features))
    assert inputs.of_user == (0,)
    assert inputs.ranker_only == (1, 2)  # the column and its indicator


@pytest.mark.parametrize("name", MODELS)
def test_scores_do_not_depend_on_padding_or_neighbours(name):
    torch.manual_seed(0)
    model = stage_model(name, INPUTS, ranker=True, embedding_size=8, hidden=(16, 8))
    torch.nn.init.normal_(model.embedding.weight)
    encoded = INPUTS.encode(LOG)
    together = encoded.batch(torch.arange(12))
    scores = model(together)
    assert scores.shape == together.item.shape
    assert scores.dtype == torch.float32
    for request in (0, 5, 11):
        alone = model(encoded.batch(torch.tensor([request])))[0]
        torch.testing.assert_close(scores[request, : len(alone)], alone, rtol=1e-4, atol=1e-5)
    scores[together.mask].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_a_pre_ranker_does_not_see_what_only_the_ranker_sees(name):
    torch.manual_seed(0)
    model = stage_model(name, INPUTS, ranker=False, embedding_size=8, hidden=(16, 8))
    batch = INPUTS.encode(LOG).batch(torch.arange(5))
    changed = batch.features.clone()
    changed[..., [1, 3]] += 1
    assert torch.equal(model(batch), model(replace(batch, features=changed)))
    changed[..., 0] += torch.rand(changed.shape[:2])
    assert not torch.equal(model(batch), model(replace(batch, features=changed)))


def test_din_is_the_attention_of_its_definition():
    torch.manual_seed(0)
    model = stage_model("din", INPUTS, ranker=True, embedding_size=4, hidden=(8,))
    batch = INPUTS.encode(LOG).batch(torch.tensor([3]))
    items, events = model.embedding(batch.item)[0], model.embedding(batch.sequence)[0]
    expected = []
    for item, features in zip(items, batch.features[0], strict=True):
        past = torch.zeros(4)
        for event, code in zip(events, batch.sequence[0], strict=True):
            if code:
                inner = model.event(event) + model.target(item) + model.product @ (item * event)
                past += model.attention(torch.relu(inner)) * event / (batch.sequence[0] != 0).sum()
        expected.append(model.layers(torch.cat([item, past, item * past, features])))
    torch.testing.assert_close(model(batch)[0], torch.cat(expected))


def test_a_batch_is_narrowed_to_some_candidates():
    batch = INPUTS.encode(LOG).batch(torch.arange(6))
    shown = batch.grade == 3
    few = batch.narrowed(shown)
    assert isinstance(few, Batch)
    assert few.item.shape[1] == (shown & batch.mask).sum(1).max()
    for request in range(6):
        chosen = (shown & batch.mask)[request]
        assert torch.equal(few.item[request][few.mask[request]], batch.item[request][chosen])
        assert torch.equal(few.features[request][few.mask[request]], batch.features[request][chosen])


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="two_tower"):
        stage_model("transformer", INPUTS, ranker=True)
