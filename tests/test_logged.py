"""What MLflow holds of a whole run, for comparing designs: on a real SQLite store."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from narrows.asof import Asof
from narrows.cli.airflow.workflow import ROOT
from narrows.cli.compare import previous
from narrows.cli.mlflow import logged, saved_view
from narrows.cli.report import record
from narrows.settings import load_settings
from narrows.tracking import models
from narrows.tracking.log import RunLog
from tests.test_run_log import ASOF, children, client, held, publish


def row(value: float | None, by: float = 0.01) -> dict[str, Any]:
    return {"value": value, "low": value and value - by, "high": value and value + by, "users": 9}


def a_list(kind: str, name: str, ndcg: float, lead: float | None) -> dict[str, Any]:
    return {
        "kind": kind,
        "list": name,
        "ndcg": row(ndcg),
        "recall": row(ndcg + 0.1),
        "lead": row(lead),
        "ndcg_lead": row(lead),
    }


def stage(room: str, **given: Any) -> dict[str, Any]:
    usual = {"rows_in": 9, "rows_out": 5, "seconds": 2.0, "cpu_seconds": 3.0, "peak_mb": 100.0, "past_seconds": 1.0,
             "past_cpu_seconds": 1.5, "survival": 0.5, "ndcg": 0.3, "recall": 0.4}  # fmt: skip
    return {"room": room, **usual, **given}


def a_record(judged: bool = True, cached: tuple[str, ...] = ("recall",), **given: Any) -> dict[str, Any]:
    """A record of two rooms, as ``record.write`` keeps it."""
    lists = [a_list("published", "published", 0.3, None), a_list("channel", "own", 0.2, 0.1),
             a_list("channel", "ease", 0.1, 0.2), a_list("baseline", "popular", 0.25, 0.05)]  # fmt: skip
    facts = {
        "k": 20, "users": 9 if judged else None, "judged": judged, "due": "2017-12-07", "known_until": "", "narrowing": ["recall", "rank"],
        "stages": [stage("recall"), stage("rank", seconds=10.0, peak_mb=300.0)], "lists": lists if judged else [],
        "serving": {"release_id": "r1", "live": True}, "joint_survival": 0.25, "coverage": 0.1, "novelty": 4.0,
        "users_without_list": 1, "calibration_error": 0.01, "log_loss": None,
    }  # fmt: skip
    tables = {room: {"version": room * 3, "cached": room in cached, "made_by": "first"} for room in ("recall", "rank")}
    return {
        "number": 2, "run_id": "second", "asof": "2017-11-30", "source": "files", "horizon": "7d", "grain": "day",
        "name": "2017-11-30 rank.n=40", "design": {"rank.n": 40}, "tables": tables, "facts": facts, **given,
    }  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    file = tmp_path_factory.mktemp("logged") / "narrows.toml"
    file.write_text("")
    return load_settings(file, {})


def parent_of(settings, run_log):
    return client(settings).get_run(run_log._parent)


def test_the_parent_row_holds_what_a_person_compares(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    run_log.finish(**logged.closing(a_record()))
    run = parent_of(settings, run_log)
    assert run.info.run_name == "2017-11-30 rank.n=40"
    assert run_log.place == {"experiment": run.info.experiment_id, "run": run.info.run_id, "server": ""}
    assert run.data.params == {"asof": "2017-11-30", "source": "files", "horizon": "7d", "grain": "day", "rank.n": "40"}
    numbers = run.data.metrics
    assert numbers["ndcg_at_20"] == 0.3
    assert (numbers["ndcg_at_20.low"], numbers["ndcg_at_20.high"]) == pytest.approx((0.29, 0.31))
    assert numbers["ndcg_at_20.lead"] == 0.05  # over the best simple list, not the largest lead
    assert run.data.tags["best_simple_list"] == "baseline popular"
    assert numbers["cost.rank.seconds"] == 10
    assert numbers["cost.recall.rows_out"] == 5
    assert (numbers["cost.seconds"], numbers["cost.peak_mb"], numbers["past.seconds"]) == (12, 300, 2)
    assert numbers["spent.seconds"] == 11  # rank and its past; recall was found again
    assert (numbers["cached.recall"], numbers["cached.rank"], run.data.tags["cached"]) == (1, 0, "recall")
    assert (numbers["survival.rank"], numbers["survival.joint"]) == (0.5, 0.25)
    assert "log_loss" not in numbers
    assert "recall (by first)" in run.data.tags["mlflow.note.content"]


def test_a_stage_that_was_found_again_is_a_child_too(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    table = publish(settings, "rank", "a" * 64)
    run_log(settings.rooms["rank"], table, held(table), None)
    for _ in range(2):
        run_log.finish(**logged.closing(a_record()))
    runs = children(settings, run_log)
    assert set(runs) == {"recall", "rank"}
    tags = runs["recall"].data.tags
    assert (tags["cached"], tags["version"], tags["made_by"]) == ("true", "recallrecallrecall", "first")
    assert runs["recall"].data.metrics["cost.seconds"] == 2
    assert "cached" not in runs["rank"].data.tags


def test_the_experiment_says_what_it_is_and_has_the_view(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    run_log.finish(**logged.closing(a_record()))
    experiment = client(settings).get_experiment(parent_of(settings, run_log).info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    assert "ndcg_at_<k>" in experiment.tags["mlflow.note.content"]
    view = json.loads(experiment.tags["mlflow.sharedViewState.narrows"])
    state = json.loads(view["state"])
    metrics = parent_of(settings, run_log).data.metrics
    shown = [name.split("`")[1] for name in state["selectedColumns"] if name.startswith("metrics.")]
    assert set(shown) <= set(metrics)  # no column is empty
    assert all(chart[axis]["key"] in metrics for chart in state["compareRunCharts"] for axis in ("xaxis", "yaxis"))
    found = client(settings).search_runs([experiment.experiment_id], state["searchFilter"])
    assert found
    assert not [run for run in found if "mlflow.parentRunId" in run.data.tags]
    assert saved_view.link("http://127.0.0.1:8081/", "1").startswith("http://127.0.0.1:8081/#/experiments/1/runs?")


def test_of_a_horizon_without_an_event_there_is_nothing_to_say(settings):
    run_log, empty = RunLog(settings, "empty", ASOF), a_record()
    none = {"value": None, "low": None, "high": None, "users": 0}
    lists = [each | dict.fromkeys(("ndcg", "recall", "lead", "ndcg_lead"), none) for each in empty["facts"]["lists"]]
    empty["facts"] |= {"users": 0, "joint_survival": None, "lists": lists}
    run_log.finish(**logged.closing(empty))
    tags = parent_of(settings, run_log).data.tags
    assert tags["judged"] == "false"
    assert "the horizon after the as-of has closed without an event" in tags["mlflow.note.content"]


def test_a_run_that_waits_is_judged_by_a_later_one(settings):
    waits, judges = RunLog(settings, "waits", ASOF), RunLog(settings, "judges", ASOF)
    serving = {"serving": {"release_id": "r7", "live": True}}
    pending, done = a_record(judged=False), a_record()
    pending["facts"] |= serving
    done["facts"] |= serving
    waits.finish(**logged.closing(pending))
    run = parent_of(settings, waits)
    assert run.data.tags["judged"] == "false"
    assert not [name for name in run.data.metrics if name.startswith("ndcg")]
    assert "2017-12-07 has closed" in run.data.tags["mlflow.note.content"]
    judges.finish(**logged.closing(done))
    run = parent_of(settings, waits)
    assert (run.data.tags["judged"], run.data.tags["judged_by"]) == ("true", "judges")
    assert run.data.metrics["ndcg_at_20"] == 0.3


def test_versions_say_what_they_are_worth(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    model = publish(settings, "rank.model", "7" * 64)
    run_log(settings.rooms["rank"], model, None, model.model_folder)
    table = publish(settings, "recommendations", "8" * 64, live=True, release_id="r1")
    run_log(settings.rooms["recommendations"], table, held(table), None)
    run_log.finish(**logged.closing(a_record()))
    version = models.find(client(settings), "rank", "7" * 64)
    tags = client(settings).get_model_version("rank", version).tags
    assert {name: tags[name] for name in ("asof", "design", "ndcg_at_20", "input.recall")} == {
        "asof": "2017-11-30", "design": "rank.n=40", "ndcg_at_20": "0.3000", "input.recall": "abc",
    }  # fmt: skip
    text = client(settings).get_model_version("rank", version).description
    assert text == (
        "2017-11-30 rank.n=40: ndcg@20 0.3000 [0.2900, 0.3100], +0.0500 [+0.0400, +0.0600] over baseline popular"
    )
    released = client(settings).get_model_version_by_alias("release", "champion").tags
    assert (released["asof"], released["published"], released["ndcg_at_20.lead"]) == ("2017-11-30", "r1", "0.0500")
    assert released["stage.recommendations"] == "8" * 16


def test_an_older_as_of_is_not_the_newest(settings, request):
    room = settings.rooms["prerank"]
    later, earlier = Asof.parse("2017-12-07"), Asof.parse("2017-11-23")
    for fingerprint, asof in (("1" * 64, ASOF), ("2" * 64, later), ("3" * 64, earlier)):
        table = publish(settings, "prerank.model", fingerprint, asof)
        RunLog(settings, f"{request.node.name} {asof}", asof)(room, table, None, table.model_folder)
    assert client(settings).get_model_version_by_alias("prerank", "newest").tags["fingerprint"] == "2" * 64


def test_a_model_of_a_first_runs_past_is_logged_and_not_registered(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    table = publish(settings, "recall.model", "4" * 64, Asof.parse("2017-11-23"))
    table.meta["past"] = True
    run_log(settings.rooms["recall"], table, None, table.model_folder)
    run = children(settings, run_log)["recall 2017-11-23"]
    assert "model_version" not in run.data.tags
    assert [file.path for file in client(settings).list_artifacts(run.info.run_id, f"model/{'4' * 16}")]
    assert not client(settings).search_model_versions("name = 'recall'")


NAMES = {"<stage>": r"\w+", "<k>": r"\d+", "<setting>": r"\w+(\.\w+)+"}
DIFFERENCE = {"value": -0.1, "low": -0.2, "high": -0.05, "paired": True}
PAGE = (ROOT / "docs" / "mlflow.md").read_text(encoding="utf-8")


def documented(heading: str) -> list[str]:
    """The names in the first column of the page's table below a heading, as patterns."""
    section = PAGE.split(f"### {heading}\n")[1].split("\n#")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names = [re.escape(name) for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    for word, pattern in NAMES.items():
        names = [name.replace(re.escape(word), pattern) for name in names]
    return names


def test_the_page_names_all_that_is_logged_and_nothing_else(settings, request):
    run_log = RunLog(settings, request.node.name, ASOF)
    entry = a_record(against={"name": "before", "warning": "worse", "difference": DIFFERENCE})
    entry["facts"]["log_loss"] = 0.1
    run_log.finish(**logged.closing(entry))
    data = parent_of(settings, run_log).data
    tags = {name for name in data.tags if not name.startswith("mlflow.")} | {"judged_by"}
    for heading, names in (("Metrics", data.metrics), ("Parameters", data.params), ("Tags", tags)):
        known = documented(heading)
        assert not [name for name in names if not any(re.fullmatch(each, name) for each in known)], heading
        assert not [each for each in known if not any(re.fullmatch(each, name) for name in names)], heading
    assert data.tags["worse_than_previous"] == "true"
    assert "Warning: worse" in data.tags["mlflow.note.content"]


def test_the_page_names_all_that_the_small_world_logs(line, tmp_path):
    (tmp_path / "narrows.toml").write_text("")
    run_log = RunLog(load_settings(tmp_path / "narrows.toml", {}), "world", line.asof)
    run_log.finish(**logged.closing(record.write(line.runner.settings, line.runner.run_id, line.asof, "abc")))
    data = parent_of(run_log.settings, run_log).data
    known = documented("Metrics")
    assert not [name for name in data.metrics if not any(re.fullmatch(each, name) for each in known)]
    assert {"ndcg_at_20.lead.low", "cost.rank.seconds", "survival.joint"} <= set(data.metrics)


def test_what_serves_is_held_against_the_run_before_it(monkeypatch, tmp_path):
    first, second = a_record(number=1), a_record(number=2)
    first["facts"]["serving"] = {"release_id": "r0", "live": False}
    other = a_record(number=3, asof="2017-12-01")
    assert previous.before([first, second, other], second) is first
    assert previous.before([first], other) is None
    assert previous.before([a_record(number=1)], second) is None  # the same release
    assert previous.against(tmp_path, [first], a_record(judged=False)) is None
    second["facts"]["serving"]["live"] = False
    assert previous.against(tmp_path, [first], second) is None  # it does not serve


@pytest.mark.parametrize(("high", "warns"), [(-0.01, True), (0.01, False)])
def test_a_warning_needs_the_whole_interval_below_zero(high, warns, monkeypatch, tmp_path):
    from narrows.cli.compare import judged

    found = {("published", "ndcg"): {"value": -0.02, "low": -0.03, "high": high, "paired": True}}
    monkeypatch.setattr(judged, "judge", lambda *_: None)
    monkeypatch.setattr(judged, "differences", lambda *_: found)
    monkeypatch.setattr(judged.Side, "settings", type("Settings", (), {"cutoffs": (5, 20)})())
    first = a_record(number=1)
    first["facts"]["serving"] = {"release_id": "r0", "live": False}
    told = previous.against(tmp_path, [first], a_record())
    assert told["number"] == 1
    assert bool(told["warning"]) == warns
    if warns:
        assert "narrows compare 1 2" in told["warning"]


def test_it_says_which_models_stood_back():
    record = a_record()
    assert logged.tags(record)["stood_back"] == ""
    record["facts"]["stood_back"] = [{"room": "prerank", "order": "popular_16th", "instead_of": "trees"}]
    assert logged.tags(record)["stood_back"] == "prerank: popular_16th"
    assert "**prerank orders by popular_16th**" in logged.note(record)
