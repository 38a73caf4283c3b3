"""The page of a run: it says what the record says, to eyes and to screen readers, and loads nothing."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import pytest

from narrows.cli.main import main
from narrows.cli.report import page, record
from narrows.cli.report.summary import summary
from narrows.cli.running import make
from narrows.markup import style
from narrows.settings import load_settings
from tests.browser import browser
from tests.pages import check
from tests.test_report import COSTS, GIVEN, ROOMS, evaluation, row, steps

EVIL = "<script>alert('x')</script>"
NARROWING = ("recall", "prerank", "rank", "rerank")


def bins():
    return [
        row("candidates", "calibration", "rank", metric, value * at / 10, at)
        for at in range(4)
        for metric, value in (("predicted", 1.0), ("observed", 0.8), ("rows", 100.0))
    ]


def made(judged=True, number=1, **facts):
    """A record as a run would leave it."""
    rows = [*evaluation(), *bins()] if judged else []
    counts = {"positives_received": 100.0, "positives_passed": 50.0}
    rows += (
        [row("all", "flow", gate, metric, n) for gate in ("channels", *NARROWING) for metric, n in counts.items()]
        if judged
        else []
    )
    said = summary(rows, COSTS, rooms=ROOMS, narrowing=NARROWING, **GIVEN)
    said |= {"serving": {"release_id": "r1", "live": True, "kept_because": ""}} | facts
    table = {"version": "0" * 16, "cached": False, "made_by": "run", "rows": 50, "inputs": {}}
    return {
        "number": number, "run_id": "manual__2017-11-30T00:00:00+00:00", "asof": "2017-11-30", "name": "2017-11-30 rank.n=40",
        "recorded_at": "2017-12-08T00:00:00Z", "source": "shop", "horizon": "7d", "grain": "day", "code": "abc",
        "design": {"rank.n": 40}, "settings": {"rank": {"n": 40}}, "facts": json.loads(json.dumps(said)),
        "tables": {room: table | {"cached": room == "rank"} for room in ROOMS},
    }  # fmt: skip


def test_what_a_contract_warns_of_has_a_part():
    text = page.html(made(contract_warnings=["events: nothing came <today>"]))
    assert "Warnings of the contracts" in text
    assert "nothing came &lt;today&gt;" in text
    assert "Warnings of the contracts" not in page.html(made())


def test_what_users_outside_the_flow_sample_cost_has_a_table():
    rank = {"room": "rank", "users": 1000, "rows": 200_000, "cpu_seconds": 0.5, "ms_a_user": 0.5, "us_a_row": 2.5}
    text = page.html(made(fused=[rank]))
    assert "The 1,000 users outside the flow sample" in text
    assert "2.50" in text
    assert "outside the flow sample" not in page.html(made())


def test_a_page_has_every_part_and_can_be_read_aloud():
    text = page.html(made())
    tree = check(text)
    assert [tree.texts[at] for at, _ in tree.all("h2")] == [
        "The funnel", "Quality of each stage", "Where the positives went", "Calibration", "What it cost", "What serves",
        "Quarantine", "Design", "Tables",
    ]  # fmt: skip
    assert len(tree.all("svg")) == 5
    assert len(tree.all("figure")) == len(tree.all("figcaption")) == 5
    assert all(tree.within(at, "table") for at, _ in tree.all("figure"))
    for words in (
        ".3000",
        "95% [.200, .400]",
        "no channel proposed it",
        "rank.n",
        "LIVE",
        "earlier (cached)",
        "a rather long reason",
    ):
        assert words in text
    links = [given["href"] for _, given in tree.all("a")]
    assert f"../data_docs/validations/rank/{'0' * 16}/20171130T000000.000000Z/rank.html" in links
    assert "http://127.0.0.1:8080/dags/daily/runs/manual__2017-11-30T00%3A00%3A00%2B00%3A00" in links


def test_the_drawing_has_the_best_step_of_a_channel_and_the_table_all():
    record = made()
    said = summary(
        [*steps(), *bins()], COSTS, rooms=ROOMS, narrowing=NARROWING, **GIVEN, kinds={"positive": 7, "undo": 2}
    )
    tree = check(page.html(record | {"facts": record["facts"] | json.loads(json.dumps(said))}))
    drawn = [tree.texts[at] for at, _ in tree.all("text")]
    assert [name for name in drawn if "popular_" in name] == ["channel popular_4x, best of 3"]
    assert "channel viewed" not in drawn
    heads = [tree.texts[at] for at, given in tree.all("th") if given.get("scope") == "row"]
    assert {"channel popular_1x", "channel popular_4x", "channel popular_16th", "channel viewed", "undo"} <= set(heads)


def test_the_page_leads_to_its_run_in_mlflow():
    for server, address in (("", "http://127.0.0.1:8081"), ("https://mlflow.example/", "https://mlflow.example")):
        text = page.html(made() | {"mlflow": {"experiment": "3", "run": "abc", "server": server}})
        assert f'href="{address}/#/experiments/3/runs/abc?workflowType=machine_learning"' in text
    assert 'href="http://127.0.0.1:8081/"' in page.html(made())


def test_the_drawings_show_the_numbers():
    text = page.html(made())
    ledger = sum(each["count"] for each in made()["facts"]["ledger"])
    assert f"{ledger:,} positives" in text
    first = re.search(r'<rect x="120.0" y="28.0" width="([\d.]+)"', text)
    assert first
    assert float(first[1]) == pytest.approx(592 * (1 - 100 / ledger), abs=0.1)  # all but "no channel proposed it"
    assert text.count('class="cached"') >= 3  # rank was in the store; nothing of the lowest bin was taken


def luminance(colour):
    levels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_in_light_and_dark(scheme):
    """By WCAG 2: 4.5 for text, 3 for what a drawing is read by."""
    blocks = re.findall(r":root \{(.*?)\}", style(), re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[scheme]))
    for below in ("paper", "panel"):
        for name in ("ink", "soft", "main", "good", "bad"):
            assert contrast(colours[name], colours[below]) >= 4.5, (name, below)
        for name in ("main-soft", "lost", "other"):
            assert contrast(colours[name], colours[below]) >= 3, (name, below)
    assert contrast(colours["ink"], colours["main-soft"]) >= 4.5


def test_before_it_is_judged_a_page_says_so_and_draws_no_quality():
    given = {"due": "2017-12-07", "known_until": "2017-12-01"}
    text = page.html(made(judged=False, **given))
    tree = check(text)
    assert (
        "Not judged yet: the lists are judged when 2017-12-07 has closed; the source has events until 2017-12-01"
        in text
    )
    headings = {tree.texts[at] for at, _ in tree.all("h2")}
    assert "The funnel" in headings
    assert not headings & {"Quality of each stage", "Calibration", "Where the positives went"}
    assert "positives left" in text
    assert "positives still there" not in text


def test_what_users_wrote_is_text(tmp_path):
    record = made(quarantine={EVIL: 3}, serving={"release_id": EVIL, "live": False, "kept_because": EVIL})
    record |= {"source": EVIL, "design": {EVIL: EVIL}, "name": f"2017-11-30 {EVIL}"}
    record["facts"]["ledger"][0]["reason"] = EVIL
    record["facts"]["lists"][1]["list"] = f'"{EVIL}'
    text = page.html(record)
    check(text)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 8


@pytest.fixture
def state(line, tmp_path):
    """The settings of the finished run in a folder of its own."""
    root = tmp_path / "world"
    shutil.copytree(line.file.parent, root)
    return load_settings(root / "narrows.toml", {})


def test_every_run_has_a_page_and_a_line_in_the_index(state, line, tmp_path, capsys):
    first = record.write(state, line.runner.run_id, line.asof, "abc")
    file = page.publish(state, first)
    tree = check(file.read_text())
    audit = next(given["href"] for _, given in tree.all("a") if "/rank/" in given["href"])
    assert (file.parent / audit).exists()
    (state.state / "runs" / "2.json").write_text(json.dumps(made(judged=False, number=2)))
    page.publish(state, first)
    index = check((file.parent / "index.html").read_text())
    assert [given["href"] for _, given in index.all("a")][-2:] == ["2.html", "1.html"]
    assert (file.parent / "2.html").exists()
    words = [index.texts.get(at) for at, _ in index.all("td")]
    assert words.count("not yet") == 1
    settings, elsewhere = str(tmp_path / "world" / "narrows.toml"), tmp_path / "elsewhere" / "page.html"
    assert main(["--file", settings, "report", "--run", "9", "--html", str(elsewhere)]) == 2
    assert "no run '9'" in capsys.readouterr().err
    assert main(["--file", settings, "report", "--run", "1", "--html", str(elsewhere)]) == 0
    linked = [given["href"] for _, given in check(elsewhere.read_text()).all("a") if "/rank/" in given["href"]]
    assert (elsewhere.parent / linked[0]).exists()
    assert main(["--file", settings, "report", "--run", "2"]) == 0
    assert "completejourney" in capsys.readouterr().out


@pytest.mark.parametrize("new", [True, False])
def test_the_last_room_leaves_the_page_and_attaches_it_where_something_is_new(state, line, new):
    told = []
    log = SimpleNamespace(
        place={"experiment": "3", "run": "abc", "server": ""},
        finish=lambda **given: told.append("finish"),
        attach=lambda file, name: told.append((file.name, name)),
        curve=lambda series: told.append(sorted(series)),
    )
    runner = SimpleNamespace(
        pipeline=line.runner.pipeline, settings=state, run_id=line.runner.run_id, log=log,
        new_versions=["evaluation"] if new else [],
    )  # fmt: skip
    runner.run, runner.judge = (lambda room, asof: line.table(room)), lambda room, asof: []
    assert make(runner, "rank", line.asof)
    assert not (state.state / "reports").exists()
    make(runner, line.runner.pipeline.names[-1], line.asof)
    assert (state.state / "reports" / "1.html").exists()
    series = ["last_runs.lead@20", "last_runs.ndcg@20", "last_runs.recall@20"]
    assert told == ([series, "finish", ("1.html", "report.html")] if new else [])
    led = (
        "http://127.0.0.1:8081/#/experiments/3/runs/abc?workflowType=machine_learning"
        in (state.state / "reports" / "1.html").read_text()
    )
    assert led == new
    listed = (state.state / "reports" / "index.html").read_text()
    assert ("http://127.0.0.1:8081/#/experiments/3/runs?" in listed) == new


def test_the_quality_of_the_last_runs_is_a_curve():
    def number(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    last = [
        {"asof": f"2024-01-{day:02}", "k": 20, "users": 900, "recall": number(0.2 + day / 100), "ndcg": number(0.1),
         "lead": number(0.02), "best": "baseline popular"}
        for day in range(1, 15)
    ]  # fmt: skip
    drawn = page.html(made(), last=last)
    assert "The last runs" in drawn
    assert "2024-01-14" in drawn
    assert ".3400 [.330, .350]" in drawn
    assert "The last runs" not in page.html(made(), last=last[:1])


def test_a_browser_shows_the_page_whole_at_every_width_and_asks_for_nothing_else(tmp_path):
    file = tmp_path / "1.html"
    file.write_text(page.html(made()))
    with browser(tmp_path / "profile") as tab:
        colours = set()
        for width, scheme in ((1600, "light"), (800, "dark"), (400, "light")):
            tab.open(file.as_uri(), width, scheme)
            assert tab.overflow() == 0, width
            assert tab.requests() == [file.as_uri()]
            assert not tab.problems()
            colours.add(tab.value("getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2, "dark differs from light"
        assert "Where the positives went" in tab.value("document.body.innerText")
        drawings = [*tab.names("img"), *tab.names("image")]
        assert {
            "The funnel",
            "Quality by list",
            "Where the positives went",
            "Calibration curve",
            "Cost by stage",
        } == set(drawings)
        assert tab.value("document.querySelectorAll('svg').length") == 5
        assert tab.value("[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().width > 300)")
