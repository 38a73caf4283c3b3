"""The rule of advise: it learns what there is to learn, says how sure it is, and is honest about what it has not seen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bench import codesign_rule
from narrows.cli.codesign.advise import text
from narrows.cli.main import main
from narrows.codesign import advise
from narrows.codesign.design import Design
from narrows.codesign.errors import CodesignError
from narrows.codesign.signs import SIGNS, described, popularity_auc, signs, vector
from tests.codesign.small_log import small_log

SCHEMES = ("distilled", "survival", "joint", "single")


def worlds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Signs at random; joint gains where the first sign is high and loses where it is low, distilled the other way round."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, len(SIGNS))) * 2 + 5
    pull = (rows[:, 0] - 5) / 2
    leads = np.column_stack([-0.02 * pull, np.full(count, -0.01), 0.02 * pull, np.full(count, 0.3)])
    return rows, leads + 0.005 * random.normal(size=leads.shape)


@pytest.fixture
def rule():
    return advise.fit(*worlds(150, 0), SCHEMES)


def test_it_names_winners_of_worlds_that_it_has_not_seen(rule):
    rows, leads = worlds(200, 1)
    true = advise.winners(leads, SCHEMES)
    assert set(true) <= {"independent", "distilled", "survival", "joint"}, "a dearer scheme wins nothing at equal cost"
    right, low, high = advise.share_right(advise.calls(rule, rows), true)
    always, *_ = advise.share_right(["joint"] * 200, true)
    assert low < right < high
    assert right > 0.8 > always


def test_errors_are_those_of_worlds_left_out(rule):
    assert rule.error[0] == pytest.approx(0.005, rel=0.3)
    noise = advise.fit(worlds(40, 2)[0], np.random.default_rng(0).normal(size=(40, 4)), SCHEMES)
    assert min(noise.error) > 0.9, "what cannot be learned stays as uncertain as it was"


def test_advice_is_as_sure_as_the_errors_allow(rule):
    clear = dict(zip(SIGNS, [12.0] + [5.0] * (len(SIGNS) - 1), strict=True))
    said = advise.advice(rule, clear)
    assert (said.scheme, said.beyond) == ("joint", ("auc_gap",))
    assert said.probability > 0.95
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert "single" not in said.probabilities
    assert said.leads["single"] == pytest.approx(0.3, abs=0.01)
    unsure = advise.advice(replace(rule, error=(0.5,) * 4), clear)
    assert unsure.probability < 0.5
    assert said == advise.advice(rule, clear)


def test_a_rule_is_kept_as_json_and_refused_where_it_does_not_fit(rule, tmp_path):
    file = tmp_path / "rule.json"
    advise.save(rule, file)
    assert advise.load(file) == rule
    file.write_text(json.dumps(json.loads(file.read_text()) | {"signs": ["height"]}))
    with pytest.raises(CodesignError, match="on other signs"):
        advise.load(file)
    file.write_text("{}")
    with pytest.raises(CodesignError, match="holds no rule"):
        advise.load(file)


def test_the_rule_of_the_package_is_sound():
    made = advise.load()
    assert made.worlds > 0
    assert set(made.schemes) == set(SCHEMES)
    assert 0 <= made.right <= 1


def test_shares_have_wilson_intervals():
    share, low, high = advise.share_right(["a"] * 8 + ["b"] * 2, ["a"] * 10)
    assert (share, round(low, 3), round(high, 3)) == (0.8, 0.49, 0.943)
    assert np.isnan(advise.share_right([], [])[0])


def test_signs_of_a_log_are_numbers_in_order():
    found = signs(
        small_log(requests=80), Design(widths=(4, 2), embedding_size=4, hidden=(4,), rank_hidden=(4,), epochs=1)
    )
    assert list(found.values) == list(SIGNS)
    assert np.isfinite(vector(found.values)).all()
    assert found.values["seen_share"] == 0.5
    assert found.values["positives"] >= 0


def test_a_request_of_weight_3_counts_as_three_of_its_like():
    log = small_log(requests=60)
    times = np.random.default_rng(0).integers(1, 4, len(log))
    once, repeated = replace(log, request_weight=times.astype(float)), log.take(np.repeat(np.arange(len(log)), times))
    one, other = described(once, once, 3), described(repeated, repeated, 3)
    assert other.pop("requests") > one.pop("requests")
    assert one == pytest.approx(other)
    assert one["labelled_share"] != pytest.approx(described(log, log, 3)["labelled_share"])


def test_selection_is_seen():
    log = small_log(requests=200)
    common = np.bincount(log.item)[log.item]
    level = replace(log, reached=(common > np.median(common)).astype(np.int8) + 1)
    assert popularity_auc(level) > 0.95
    assert popularity_auc(log) == pytest.approx(0.5, abs=0.1)
    assert popularity_auc(replace(log, reached=np.ones_like(log.reached))) == 0.5


def test_the_command_says_who_wins_how_sure_and_what_would_settle_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small_log(requests=80).save(tmp_path / "flow")
    assert main(["codesign", "advise", "--log", "flow", "--widths", "4", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said["signs"]) == set(SIGNS)
    assert main(["codesign", "advise", "--log", "flow", "--widths", "4", "2"]) == 0
    shown = capsys.readouterr().out
    assert "Likeliest to win at equal serving cost: " in shown
    assert "narrows codesign scheme --log flow" in shown


def test_a_rule_no_better_than_the_commonest_says_so(rule):
    values = dict.fromkeys(SIGNS, 5.0)
    said = advise.advice(rule, values)
    assert "take its order as a guess" in text(values, said, replace(rule, right=0.4, commonest=0.5), "")
    assert "take its order as a guess" not in text(values, said, replace(rule, right=0.6, commonest=0.5), "")


def test_switches_of_the_test_are_not_those_of_the_fit():
    fresh = [name for name, (fit, test) in codesign_rule.SWITCHES.items() if not set(fit) & set(test)]
    assert {"noise", "popular", "drift", "views", "items", "recalled", "signal", "exploration"} <= set(fresh)
    one, other = (codesign_rule.drawn(3, test, 100)[0] for test in (False, True))
    assert one.world.seed != other.world.seed
    assert codesign_rule.drawn(3, False, 100) == codesign_rule.drawn(3, False, 100)


def test_following_the_rule_is_worth_the_lead_of_what_it_names():
    leads = np.array([[0.01, 0.02, 0.03, 0.2], [-0.01, 0.0, -0.02, 0.1]])  # in the order of SCHEMES
    named = codesign_rule.worth(["joint", "independent"], leads)
    np.testing.assert_allclose(named, [0.03, 0.0])
