"""``narrows doctor``: one line a check, and an exit status that says whether a run can start."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from narrows.cli.check import machine as check_machine
from narrows.cli.check.finding import Counts
from narrows.cli.main import main
from narrows.serving import schema
from narrows.settings import load_settings
from tests import world
from tests.source_files import written

NAMES = ["settings", "java", "source", "events", "items", "users", "dates", "as-of", "size", "memory", "disk", "database",
         "tracking", "device", "faiss"]  # fmt: skip


@pytest.fixture
def doctor(tmp_path, monkeypatch, capsys, spark):
    """Runs the command in a folder: its exit status, and the checks by name."""
    monkeypatch.chdir(tmp_path)

    def run() -> tuple[int, dict[str, tuple[str, str]]]:
        status = main(["doctor", "--json"])
        said = json.loads(capsys.readouterr().out)
        assert said["ready"] == (status == 0)
        return status, {check["name"]: (check["status"], check["message"]) for check in said["checks"]}

    return run


def own(
    folder, text: str, more: str = "", columns: str = 'user_id = "who"\nitem_id = "what"\nevent_time = "at"'
) -> None:
    (folder / "e.csv").write_text(text)
    (folder / "narrows.toml").write_text(
        f'[source]\nname = "files"\nevents = "e.csv"\n[source.event_columns]\n{columns}\n{more}'
    )


ROWS = "who,what,at,paid\n" + "".join(f"u{n % 9},i{n % 5},2024-0{1 + n % 6}-01,1.5\n" for n in range(60))


def test_a_world_that_can_run(doctor, tmp_path, capsys):
    world.write(tmp_path)
    status, checks = doctor()
    assert (status, list(checks)) == (0, NAMES)
    assert {found for found, _ in checks.values()} <= {"ok", "warning"}
    assert checks["events"][1].startswith(
        "user_id, item_id, event_time, value, price, context, session_id: 10,000 rows tried, 0"
    )
    assert "a run takes 2024-04-08: the latest that can be judged" in checks["as-of"][1]
    assert "events from 2024-01-01 to 2024-04-15" in checks["dates"][1]
    assert f" of {world.HOUSEHOLDS} users and " in checks["size"][1]
    assert not (tmp_path / "var" / "recommendations.db").exists()
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == NAMES
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}


@pytest.mark.parametrize(
    ("columns", "check", "says"),
    [
        ('user_id = "nobody"\nitem_id = "what"\nevent_time = "at"', "columns", "no such column"),
        ('user_id = "who"\nitem_id = "what"\nevent_time = "paid + "', "columns", "Spark says"),
        ('user_id = "who"\nitem_id = "what"\nevent_time = "what"', "events", "event_time has no value that can be read"),
        ('user_id = "who"\nitem_id = "what"\nevent_time = "at"\nprice = "who"', "events", "value or price is not a number: 60"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_used_fails(columns, check, says, doctor, tmp_path):
    own(tmp_path, ROWS, columns=columns)
    status, checks = doctor()
    assert (status, checks[check][0]) == (2, "fails")
    assert says in checks[check][1]


def test_an_optional_column_without_a_value_is_a_warning(doctor, tmp_path):
    own(tmp_path, ROWS, columns='user_id = "who"\nitem_id = "what"\nevent_time = "at"\ncontext = "nullif(what, what)"')
    status, checks = doctor()
    assert (status, checks["events"][0]) == (0, "warning")
    assert "context without a value" in checks["events"][1]


def test_a_day_of_items_that_no_run_could_read_is_a_warning(doctor, tmp_path):
    own(tmp_path, ROWS, more='[source.item_columns]\nitem_id = "what"\navailable_at = "who"\n')
    file = tmp_path / "narrows.toml"
    file.write_text(file.read_text().replace('events = "e.csv"', 'events = "e.csv"\nitems = "e.csv"'))
    status, checks = doctor()
    assert (status, checks["items"][0]) == (0, "warning")
    assert "available_at without a value" in checks["items"][1]


def test_missing_files_and_too_little_history_fail(doctor, tmp_path):
    own(tmp_path, "who,what,at\nu,i,2024-01-01\nv,j,2024-01-09\n")
    status, checks = doctor()
    assert (status, checks["as-of"][0]) == (2, "fails")
    assert "4 horizons of 7 days are needed" in checks["as-of"][1]
    (tmp_path / "e.csv").unlink()
    status, checks = doctor()
    assert (status, checks["source"][0]) == (2, "fails")
    assert "as-of" not in checks


def test_rows_dated_in_the_future_are_a_warning(doctor, tmp_path):
    own(tmp_path, ROWS + "u1,i1,2150-01-01,1\n")
    status, checks = doctor()
    assert (status, checks["dates"][0]) == (0, "warning")
    assert "1 rows are dated later" in checks["dates"][1]


def test_without_java_the_rest_is_checked(doctor, tmp_path, monkeypatch):
    world.write(tmp_path)
    monkeypatch.setattr("narrows.cli.check.doctor.check_java", lambda: "Java is missing. Install one")
    status, checks = doctor()
    assert (status, checks["java"]) == (2, ("fails", "Java is missing. Install one"))
    assert checks["columns"][0] == "warning"
    assert checks["as-of"][0] == "ok"


def settings(folder, more: str = ""):
    (folder / "narrows.toml").write_text(more)
    return load_settings(folder / "narrows.toml", {})


def test_a_database_that_cannot_be_written_fails_without_its_password(tmp_path):
    (tmp_path / "broken.db").write_bytes(b"no database at all" * 99)
    for url, says in (
        (f"sqlite:///{tmp_path}/broken.db", "not a database"),
        (f"sqlite:///{tmp_path}/broken.db/recommendations.db", "cannot be written"),
        ("nonsense://me:secret@host/db", "not a URL that SQLAlchemy knows"),
    ):
        found = check_machine.database(settings(tmp_path, f'[serving]\nurl = "{url}"'))
        assert (found.status, says in found.message, "secret" in found.message) == ("fails", True, False)


def test_checking_a_database_leaves_nothing_in_it(tmp_path):
    engine = schema.open_engine(f"sqlite:///{tmp_path}/var/recommendations.db")
    schema.create(engine)
    found = check_machine.database(settings(tmp_path))
    assert (found.status, found.message.endswith("can be written")) == ("ok", True)
    assert check_machine.SCRATCH_TABLE not in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_a_tracking_server_that_does_not_answer_fails_without_its_password(tmp_path):
    found = check_machine.tracking(settings(tmp_path, '[mlflow]\ntracking_uri = "http://me:secret@127.0.0.1:9"'))
    assert (found.status, "secret" in found.message) == ("fails", False)
    assert "does not answer" in found.message
    found = check_machine.tracking(settings(tmp_path, '[mlflow]\ntracking_uri = "sqlite:///mlflow.db"'))
    assert (found.status, "relative path" in found.message) == ("fails", True)


def test_memory_and_disk_that_will_not_do_are_warnings(tmp_path, monkeypatch):
    given = settings(tmp_path)
    assert check_machine.memory(given, Counts(10**12, 10, 10)).status == "warning"
    assert check_machine.disk(given, Counts(10**12, 10, 10)).status == "warning"
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=3e9))
    assert check_machine.memory(given, None).status == "ok"
    assert check_machine.memory(settings(tmp_path, '[spark]\ndriver_memory = "8g"'), None).status == "warning"
    (tmp_path / "file").touch()
    assert check_machine.disk(settings(tmp_path, '[store]\nroot = "file/var"'), None).status == "fails"


@pytest.mark.parametrize(
    ("windows", "counts", "measured"),
    [
        (5, Counts(48_509, 300, 369), 2.03),
        (8, Counts(100_000, 943, 1_682), 2.24),
        (8, Counts(1_419_000, 2_463, 92_348), 3.17),
    ],
)
def test_the_estimate_of_memory_fits_what_was_measured(windows, counts, measured, tmp_path, monkeypatch):
    assert 0.9 * measured < estimate(tmp_path, monkeypatch, counts, f"windows = {windows}") < 1.2 * measured


def estimate(folder, monkeypatch, counts, pipeline="", memory="14g"):
    """GB that a run takes, by the doctor, on two cores."""
    monkeypatch.setattr("narrows.engine.memory.cores", lambda: 2)
    given = settings(folder, f'[engine]\nmemory = "{memory}"\n[pipeline]\n{pipeline}')
    return float(re.search(r"a run takes about ([\d.]+) GB", check_machine.memory(given, counts).message)[1])


def test_what_settings_bound_bounds_the_estimate_of_memory(tmp_path, monkeypatch):
    few, many = Counts(10**7, 10**6, 10**5), Counts(10**8, 10**7, 10**5)
    assert estimate(tmp_path, monkeypatch, many) == estimate(tmp_path, monkeypatch, few) < 9
    assert estimate(tmp_path, monkeypatch, many, memory="4g") < 5
    assert estimate(tmp_path, monkeypatch, few, 'mode = "staged"\nexample_rows = 2000000') < 9


def test_a_folder_that_cannot_be_written_is_found_before_it_is_made(tmp_path):
    written(tmp_path / "e.csv")
    assert check_machine.existing(tmp_path / "a" / "b") == tmp_path


@pytest.mark.parametrize(
    ("kinds", "status", "says"),
    [
        ('positive = ["buy"]\ncontext = ["view"]', "ok", "positive buy 40; context view 20"),
        ('positive = ["buy"]\ncontext = ["view", "cart"]', "warning", "context view 20, cart 0. The file has no cart"),
        ('positive = ["buy"]', "fails", "names no kind of event_type 'view' (20 rows). Add them to a list"),
    ],
)
def test_kinds_are_held_against_the_types_that_the_file_has(doctor, tmp_path, kinds, status, says):
    rows = "".join(f"{line},{'buy' if n % 3 else 'view'}\n" for n, line in enumerate(ROWS.splitlines()[1:]))
    columns = 'user_id = "who"\nitem_id = "what"\nevent_time = "at"\nevent_type = "type"'
    own(tmp_path, f"who,what,at,paid,type\n{rows}", f"[source.kinds]\n{kinds}", columns)
    found, checks = doctor()
    assert checks["kinds"][0] == status
    assert says in checks["kinds"][1]
    assert (found == 2) >= (status == "fails")
