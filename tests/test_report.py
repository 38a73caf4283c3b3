"""The report: one screen, right numbers, nothing invented."""

import io
import json
import re

import pytest

from narrows.cli.layout import WIDTH
from narrows.cli.report import screen as report
from narrows.cli.report.summary import COSTS as COST_NAMES
from narrows.cli.report.summary import summary, to_json

ROOMS = (
    "events", "user_profiles", "item_profiles", "examples", "recall", "prerank", "rank", "rerank", "recommendations",
    "evaluation",
)  # fmt: skip


def row(population, kind, name, metric, value, k=0, detail="", low=None, high=None, users=10):
    keys = ("population", "kind", "list", "metric", "k", "detail", "value", "low", "high", "users")
    return dict(zip(keys, (population, kind, name, metric, k, detail, value, low, high, users), strict=True))


def evaluation(rank_step=0.01, high=0.02):
    rows = []
    names = [
        ("published", "published"),
        ("baseline", "popular"),
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
    outcomes = [("none", "no channel proposed it"), ("shown", "shown")] + [("rerank", f"reason {n}") for n in range(9)]
    rows += [
        row("all", "ledger", stage, "count", 100 - at, detail=reason) for at, (stage, reason) in enumerate(outcomes)
    ]
    rows.append(row("all", "published", "published", "users_without_list", 3))
    rows.append(row("all", "published", "published", "novelty", 4.2, 20))
    rows += [
        row("candidates", "calibration", "rank", "ece", 0.0123),
        row("candidates", "calibration", "rank", "log_loss", 0.12),
    ]
    return [*rows, row("candidates", "calibration", "rank", "log_loss", 0.16, detail="one for all")]


COSTS = {name: dict.fromkeys(COST_NAMES, 1234567.8) for name in ROOMS}
GIVEN = {
    "asof": "2017-11-30",
    "source": "completejourney",
    "horizon": "7 days",
    "quarantine": {f"a rather long reason number {n}": 1000 * n for n in range(6)},
    "next_steps": ["make ui", "narrows show 1", "narrows why 1 ITEM"],
}


def test_the_report_is_one_screen():
    lines = report.text(summary(evaluation(), COSTS, **GIVEN)).split("\n")
    assert len(lines) <= 50
    assert max(map(len, lines)) <= WIDTH
    assert not any(line != line.rstrip() for line in lines)


def test_the_report_says_what_the_tables_say():
    printed = report.text(summary(evaluation(), COSTS, **GIVEN))
    for words in (
        "completejourney · as of 2017-11-30 · judged on the 7 days after", "list of 20 · 1,344 users",
        ".3000 [.200, .400]", "+.0200 [+.010, +.030]", "off by 0.0123", "log loss 0.1200, constant's 0.1600",
        "judged users served the fallback 3",
        "every scoring stage orders at least as well", "4 more reasons",
        "no channel proposed it", "narrows show 1",
    ):  # fmt: skip
        assert words in printed
    assert [line.split()[0] for line in printed.split("\n")[3:13]] == list(ROOMS)


def test_what_a_contract_warns_of_is_said():
    line = "events: expect_column_values_to_be_between(column='volume(known)'): 2017-11-30 has 3 rows"
    printed = report.text(summary(evaluation(), COSTS, **GIVEN, contract_warnings=[line]))
    assert "!! contract  events:" in printed
    assert "!! contract" not in report.text(summary(evaluation(), COSTS, **GIVEN))


def test_recall_survival_counts_what_no_channel_proposed():
    stages = summary(evaluation(), {}, asof="x", rooms=ROOMS)["stages"]
    assert {stage["room"]: stage["survival"] for stage in stages if stage["survival"]} == {
        "recall": 0.25, "prerank": 0.5, "rank": 0.5, "rerank": 0.5, "recommendations": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(("high", "doubt"), [(0.02, True), (-0.001, False)])
def test_a_stage_that_orders_worse_is_flagged(high, doubt):
    printed = report.text(summary(evaluation(-0.01, high), COSTS, **GIVEN))
    assert "!! rank orders worse than prerank: recall -.0100" in printed
    assert ("the interval holds 0" in printed) == doubt


def test_what_rerank_costs_is_relative_to_rank():
    steps = summary(evaluation(), {}, asof="x")["steps"]
    rank = next(each for each in evaluation() if (each["kind"], each["list"]) == ("stage", "rank"))
    diversity = next(step for step in steps if step["step"] == "diversity" and step["metric"] == "recall")
    assert diversity["share"] == pytest.approx(-0.002 / rank["value"])


def test_json_holds_everything_and_a_run_without_truth_reports_costs():
    assert json.loads(to_json(summary(evaluation(), COSTS, **GIVEN)))["k"] == 20
    printed = report.text(summary([], COSTS, asof="2017-12-31"))
    assert "nothing to judge yet: the horizon after the as-of has not closed" in printed
    assert "1,234,568" in printed


def test_before_the_horizon_has_closed_the_report_says_until_when():
    given = {"k": 20, "due": "2017-12-31", "known_until": "2017-12-30", "horizon": "7 days"}
    printed = report.text(summary([], COSTS, asof="2017-12-24", **given))
    assert ("the lists are judged when 2017-12-31 has closed; the source has events until 2017-12-30") in printed
    assert "recall@20" in printed
    assert "@0" not in printed
    assert "judged on" not in printed


def test_a_horizon_without_an_event_has_closed():
    undefined = [
        each | {"value": None, "low": None, "high": None, "users": 0}
        for each in evaluation()
        if each["kind"] != "ledger"
    ]
    printed = report.text(summary(undefined, {}, asof="x"))
    assert "nothing to judge: the horizon after the as-of has closed without an event" in printed


def test_the_work_for_earlier_windows_is_shown_apart():
    costs = {
        "recall": {"seconds": 10.0, "cpu_seconds": 15.0, "past_seconds": 40.0, "past_cpu_seconds": 70.0},
        "rank": {"seconds": 5.0, "cpu_seconds": 5.0},
    }
    facts = summary(evaluation(), costs, asof="x")
    lines = report.text(facts).split("\n")
    header = next(line for line in lines if line.startswith("stage "))
    seconds, past, cpu = (header.index(name) + len(name) for name in (" sec", "past s", "cpu s"))
    values = {line.split()[0]: [line[at - 7 : at].strip() for at in (seconds, past, cpu)] for line in lines if line}
    assert (values["recall"], values["rank"]) == (["10.0", "40.0", "15.0"], ["5.0", "", "5.0"])
    assert values["all"] == ["15.0", "40.0", "20.0"]
    assert "cost         55.0 s, 40.0 of them · 90.0 cpu s, 70.0 of them for earlier windows" in lines
    assert [stage["past_cpu_seconds"] for stage in json.loads(to_json(facts))["stages"]] == [70.0, None]
    assert "earlier windows" not in report.text(summary(evaluation(), {"rank": costs["rank"]}, asof="x"))


def test_what_users_outside_the_flow_sample_cost_is_told_by_room():
    rooms = summary(evaluation(), COSTS, **GIVEN)["narrowing"]
    counts = {"users": 1000, "received": 9, "kept": 9}
    counts |= {f"cpu.{room}": 0.25 for room in rooms} | {f"rows.{room}": 0 for room in rooms}
    counts |= {"cpu.recall": 0.5, "rows.recall": 400_000}
    facts = summary(evaluation(), COSTS, **GIVEN, fused=dict(sorted(counts.items())))
    assert [each["room"] for each in facts["fused"]] == rooms
    by_room = {each["room"]: each for each in facts["fused"]}
    assert (by_room["recall"]["ms_a_user"], by_room["recall"]["us_a_row"], by_room["rank"]["us_a_row"]) == (
        0.5,
        1.25,
        None,
    )
    assert "1,000 users in memory: " in report.text(facts)
    assert "recall 0.50" in report.text(facts)
    assert "in memory" not in report.text(summary(evaluation(), COSTS, **GIVEN, fused=dict.fromkeys(counts, 0)))


def test_whether_the_lists_are_served_is_in_the_text_and_in_the_json():
    live = {"release_id": "r1", "live": True, "kept_because": ""}
    kept = {"release_id": "r1", "live": False, "kept_because": "release r2 as of 2018-01-01 is newer"}
    assert "serving      release r1 is LIVE" in report.text(summary([], {}, asof="x", serving=live))
    facts = summary([], {}, asof="x", serving=kept)
    assert "release r1 is kept, because release r2 as of 2018-01-01 is newer" in report.text(facts)
    assert json.loads(to_json(facts))["serving"] == kept


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def steps():
    """An evaluation with three steps of popularity, the second one best, and a channel that proposed nothing."""
    worth = {"popular_1x": (0.1, 0.2), "popular_4x": (0.15, 0.3), "popular_16th": (0.05, 0.1), "viewed": (0.0, 0.0)}
    rows = evaluation()
    for name, (value, coverage) in worth.items():
        rows += [row("all", "channel", name, metric, value, 20, low=0.0, high=0.4) for metric in ("recall", "ndcg")]
        rows.append(row("served", "channel", name, "coverage", coverage, 20))
    return rows


def test_of_the_steps_of_a_channel_the_best_is_shown_and_no_list_without_an_item():
    facts = summary(steps(), COSTS, **GIVEN)
    printed = report.text(facts)
    (popular,) = [line for line in printed.split("\n") if "channel popular_" in line]
    assert popular.startswith("channel popular_4x best of 3   .1500 [")
    assert "channel channel_0 " in printed
    assert [line for line in printed.split("\n") if "viewed" in line] == ["proposed nothing: channel viewed"]
    assert {"popular_1x", "popular_16th", "viewed"} < {each["list"] for each in json.loads(to_json(facts))["lists"]}
    assert "proposed nothing" not in report.text(summary(evaluation(), COSTS, **GIVEN))


def test_kinds_of_events_are_counted_where_there_is_more_than_one():
    kinds = {"positive": 1200, "context": 34567}
    facts = summary(evaluation(), COSTS, **GIVEN, kinds=kinds)
    assert "events       positive 1,200 · context 34,567" in report.text(facts)
    assert json.loads(to_json(facts))["kinds"] == kinds
    assert "positive 1,200" not in report.text(summary(evaluation(), COSTS, **GIVEN, kinds={"positive": 1200}))


def test_a_terminal_gets_colours_and_everything_else_plain_text(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    kept = {"release_id": "r1", "live": False, "kept_because": "release r2 is newer"}
    costs = {name: dict.fromkeys(COST_NAMES, 1234.5) for name in ROOMS}
    facts = summary(evaluation(-0.01, -0.001), costs, **GIVEN, serving=kept)
    plain = io.StringIO()
    report.print_report(facts, plain)
    assert plain.getvalue() == report.text(facts) + "\n"
    monkeypatch.setenv("COLUMNS", "120")
    coloured = Terminal()
    report.print_report(facts, coloured)
    assert "\x1b[1;31m!! rank orders worse" in coloured.getvalue()
    assert "\x1b[1;33mkept, because release r2 is newer" in coloured.getvalue()
    without = re.sub(r"\x1b\[[\d;]*m", "", coloured.getvalue())
    for line in report.text(facts).split("\n"):
        assert line in [each.rstrip() for each in without.split("\n")], line
    monkeypatch.setenv("COLUMNS", "80")
    narrow = Terminal()
    report.print_report(facts, narrow)
    assert narrow.getvalue() == plain.getvalue()
