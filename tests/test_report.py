"""The report: one screen, right numbers, nothing invented."""

import json

import pytest

from narrows.cli import report
from stages import PIPELINE


def row(population, kind, name, metric, value, k=0, detail="", low=None, high=None, users=10):
    keys = ("population", "kind", "list", "metric", "k", "detail", "value", "low", "high", "users")
    return dict(zip(keys, (population, kind, name, metric, k, detail, value, low, high, users), strict=True))


def evaluation(rank_step=0.01, high=0.02):
    rows = []
    names = [
        ("published", "published"),
        ("baseline", "popular_7d"),
        *(("channel", f"channel_{n}") for n in range(5)),
    ]
    names += [("stage", name) for name in ("recall", "prerank", "rank", "rerank")]
    for at, (kind, name) in enumerate(names):
        for metric in ("recall", "ndcg"):
            rows.append(row("all", kind, name, metric, 0.3 - at / 100, 20, low=0.2, high=0.4, users=1344))
        rows.append(row("new", kind, name, "recall", 0.01, 20))
        rows.append(row("served", kind, name, "coverage", 0.2, 20))
        if kind != "published":
            cells = {"k": 20, "detail": f"{kind} {name}", "low": 0.01, "high": 0.03}
            rows.append(row("all", "difference", "published", "recall", 0.02, **cells))
    for step, before, value in (
        ("prerank", "recall", 0.03),
        ("rank", "prerank", rank_step),
        ("diversity", "rank", -0.002),
    ):
        cells = {"k": 20, "detail": f"stage {before}", "low": -0.03, "high": high}
        rows += [row("all", "difference", step, metric, value, **cells) for metric in ("recall", "ndcg")]
    for gate in ("channels", "recall", "prerank", "rank", "rerank", "published"):
        rows += [row("all", "flow", gate, "survival", 0.5), row("all", "flow", gate, "joint_survival", 0.25)]
    fates = [("none", "no channel proposed it"), ("shown", "shown")] + [("rerank", f"reason {n}") for n in range(9)]
    rows += [row("all", "ledger", stage, "count", 100 - at, detail=reason) for at, (stage, reason) in enumerate(fates)]
    rows.append(row("all", "published", "published", "users_without_list", 3))
    rows.append(row("all", "published", "published", "novelty", 4.2, 20))
    rows += [
        row("candidates", "calibration", "rank", "ece", 0.0123),
        row("candidates", "calibration", "rank", "log_loss", 0.12),
    ]
    return [*rows, row("candidates", "calibration", "rank", "log_loss", 0.16, detail="one for all")]


COSTS = {name: dict.fromkeys(report.SPENT, 1234567.8) for name in PIPELINE}
GIVEN = {
    "asof": "2017-11-30",
    "source": "completejourney",
    "horizon_days": 7,
    "quarantine": {f"a rather long reason number {n}": 1000 * n for n in range(6)},
    "next_steps": ["make ui", "narrows show 1", "narrows why 1 ITEM"],
}


def test_the_report_is_one_screen():
    lines = report.text(report.summary(evaluation(), COSTS, **GIVEN)).split("\n")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= report.WIDTH
    assert not any(line != line.rstrip() for line in lines)


def test_the_report_says_what_the_tables_say():
    said = report.text(report.summary(evaluation(), COSTS, **GIVEN))
    for words in (
        "completejourney · as of 2017-11-30 · judged on the 7 days after", "list of 20 · 1,344 users",
        ".3000 [.200, .400]", "+.0200 [+.010, +.030]", "off by 0.0123", "log loss 0.1200, constant's 0.1600",
        "judged users without a list (worth 0) 3",
        "every scoring stage orders at least as well", "4 more reasons",
        "no channel proposed it", "narrows show 1",
    ):  # fmt: skip
        assert words in said
    assert [line.split()[0] for line in said.split("\n")[3:13]] == list(PIPELINE)


def test_recall_survival_counts_what_no_channel_proposed():
    stages = report.summary(evaluation(), {}, asof="x")["stages"]
    assert {stage["room"]: stage["survival"] for stage in stages if stage["survival"]} == {
        "recall": 0.25, "prerank": 0.5, "rank": 0.5, "rerank": 0.5, "recommendations": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(("high", "doubt"), [(0.02, True), (-0.001, False)])
def test_a_stage_that_orders_worse_is_flagged(high, doubt):
    said = report.text(report.summary(evaluation(-0.01, high), COSTS, **GIVEN))
    assert "!! rank orders worse than prerank: recall -.0100" in said
    assert ("the interval holds 0" in said) == doubt


def test_what_rerank_costs_is_relative_to_rank():
    steps = report.summary(evaluation(), {}, asof="x")["steps"]
    rank = next(each for each in evaluation() if (each["kind"], each["list"]) == ("stage", "rank"))
    diversity = next(step for step in steps if step["step"] == "diversity" and step["metric"] == "recall")
    assert diversity["share"] == pytest.approx(-0.002 / rank["value"])


def test_json_holds_everything_and_a_run_without_truth_reports_costs():
    assert json.loads(report.to_json(report.summary(evaluation(), COSTS, **GIVEN)))["k"] == 20
    said = report.text(report.summary([], COSTS, asof="2017-12-31"))
    assert "nothing to judge yet" in said
    assert "1,234,568" in said
    undefined = [
        each | {"value": None, "low": None, "high": None, "users": 0}
        for each in evaluation()
        if each["kind"] != "ledger"
    ]
    assert "nothing to judge yet" in report.text(report.summary(undefined, {}, asof="x"))
