"""What was missed is made in order, before the run's own, and each as-of by itself; never two at once."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from narrows.asof import DAY, HOUR, Asof
from narrows.cli import catching_up, running
from narrows.cli.main import build_parser
from narrows.pipeline import Pipeline
from narrows.run.missed import missed
from narrows.source.errors import SourceError
from narrows.store.partitions import StoreHeld
from stages import PIPELINE as ROOMS

PIPELINE = Pipeline.of(ROOMS)


def asof(text: str, grain: timedelta = HOUR) -> Asof:
    return Asof.parse(text, grain)


class Made:
    """A store in which lists lie."""

    def __init__(self, *asofs: Asof) -> None:
        self.asofs = sorted(asofs)

    def partitions(self, name: str) -> list[Asof]:
        return self.asofs if name == "recommendations" else []


def settings(most: int = 24):
    return SimpleNamespace(pipeline=PIPELINE, engine=SimpleNamespace(catch_up=most))


@pytest.mark.parametrize(
    ("made", "every", "most", "wanted"),
    [
        (["2024-01-01T10"], HOUR, 24, ["2024-01-01T11", "2024-01-01T12", "2024-01-01T13"]),
        (["2024-01-01T07", "2024-01-01T10"], HOUR, 2, ["2024-01-01T12", "2024-01-01T13"]),
        (["2024-01-01T13"], HOUR, 24, []),
        (["2024-01-01T10"], HOUR, 0, []),
        ([], HOUR, 24, []),
        (["2024-01-01T10", "2024-01-01T14"], HOUR, 24, []),
        (["2024-01-01T10", "2024-01-01T16"], HOUR, 24, []),
        (["2023-12-31T14"], DAY, 24, []),
        (["2023-12-29T14"], DAY, 24, ["2023-12-30T14", "2023-12-31T14"]),
        (["2023-12-29T12"], DAY, 24, ["2023-12-29T14", "2023-12-30T14", "2023-12-31T14"]),
    ],
)
def test_missed_is_what_lies_between_the_last_lists_and_the_run(made, every, most, wanted):
    found = missed(settings(most), Made(*map(asof, made)), asof("2024-01-01T14"), every)
    assert found == [asof(text) for text in wanted]


@pytest.fixture
def line(monkeypatch):
    """Runs of the line that only leave their as-of; ``fails`` says which fail, and how."""
    made, fails = [asof("2024-01-01T10")], {}

    def run(_, each, force=False):
        if error := fails.get(str(each)):
            raise error
        made.append(each)

    monkeypatch.setattr(running, "run_line", run)
    monkeypatch.setattr("narrows.store.partitions.open_store", lambda _: Made(*made))
    return made, fails


def test_hours_that_arrive_at_once_are_made_in_order_and_once(line):
    made, _ = line
    wanted = [asof(f"2024-01-01T{hour}") for hour in (11, 12, 13)]
    assert catching_up.catch_up(settings(), asof("2024-01-01T14"), HOUR) == wanted
    assert made[1:] == wanted
    assert catching_up.catch_up(settings(), asof("2024-01-01T14"), HOUR) == []


def test_one_that_cannot_be_made_is_warned_of_and_passed_over(line, caplog):
    made, fails = line
    fails["2024-01-01T12"] = SourceError("it is broken")
    catching_up.catch_up(settings(), asof("2024-01-01T14"), HOUR)
    assert [str(each)[-3:] for each in made] == ["T10", "T11", "T13"]
    assert "!! 2024-01-01T12 was missed and cannot be made up for: SourceError: it is broken" in caplog.text


def test_what_mends_itself_ends_the_try_and_the_next_goes_on(line):
    made, fails = line
    fails["2024-01-01T12"] = StoreHeld("another run holds the store")
    with pytest.raises(StoreHeld):
        catching_up.catch_up(settings(), asof("2024-01-01T14"), HOUR)
    assert [str(each)[-3:] for each in made] == ["T10", "T11"]
    fails.clear()
    catching_up.catch_up(settings(), asof("2024-01-01T14"), HOUR)
    assert [str(each)[-3:] for each in made] == ["T10", "T11", "T12", "T13"]


def test_run_and_a_room_make_what_was_missed_first(line, monkeypatch):
    made, _ = line
    monkeypatch.setattr(running, "print_newest", lambda *_: 0)
    args = build_parser(PIPELINE).parse_args(["run", "--asof", "2024-01-01T13", "--catch-up", "1h"])
    args.asof = asof(args.asof)
    assert running.run(settings(), args) == 0
    assert [str(each)[-3:] for each in made] == ["T10", "T11", "T12", "T13"]


def test_how_often_is_a_duration(capsys):
    with pytest.raises(SystemExit):
        build_parser(PIPELINE).parse_args(["run", "--catch-up", "hourly"])
    assert "invalid duration value: 'hourly'" in capsys.readouterr().err
