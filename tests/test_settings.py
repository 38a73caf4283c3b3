"""``narrows.toml`` and the environment: what is wrong is said with file, key and remedy."""

from __future__ import annotations

import dataclasses
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic.dataclasses import is_pydantic_dataclass

from narrows.config.constraints import allowed, bounds
from narrows.settings import SECTIONS, Settings, SettingsError, load_settings
from stages import PIPELINE
from stages.evaluation import Evaluation
from stages.recommendations import Recommendations


def settings(folder: Path, text: str, **env: str):
    (folder / "narrows.toml").write_text(text)
    return load_settings(folder / "narrows.toml", env)


def test_without_a_file_everything_has_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = load_settings(env={})
    assert made.source.name == "completejourney"
    assert made.state == tmp_path / "var"
    assert made.serving_url == f"sqlite:///{tmp_path / 'var' / 'recommendations.db'}"
    assert list(made.rooms) == [room.name for room in PIPELINE]


def test_file_and_environment(tmp_path):
    text = "[store]\nroot = 'state'\n[events]\nmax_bad_share = 0\n[user_profiles]\nhistory_length = 7"
    env = {
        "NARROWS_USER_PROFILES__HISTORY_LENGTH": "9", "NARROWS_SOURCE__NAME": "files",
        "NARROWS_SOURCE__EVENT_COLUMNS": '{user_id = "who"}', "NARROWS_EVENTS__MAX_CLOCK_SKEW_HOURS": "2",
        "NARROWS_FILE": "ignored because a path is given", "NARROWS_OTHER": "not ours", "PATH": "/bin",
    }  # fmt: skip
    made = settings(tmp_path, text, **env)
    assert made.state == tmp_path / "state"
    assert made.rooms["events"].max_bad_share == 0.0
    assert isinstance(made.rooms["events"].max_bad_share, float)
    assert made.rooms["events"].max_clock_skew_hours == 2.0
    assert made.rooms["user_profiles"].history_length == 9
    assert made.source.name == "files"
    assert made.source.event_columns == {"user_id": "who"}


def test_the_file_may_be_named_by_the_environment(tmp_path):
    (tmp_path / "other.toml").write_text("[source]\nhorizon = '14d'")
    assert load_settings(env={"NARROWS_FILE": str(tmp_path / "other.toml")}).source.horizon == "14d"


def test_a_variable_may_lead_into_a_table(tmp_path):
    text = "[source]\nname = 'files'\n[source.event_columns]\nuser_id = 'who'\nitem_id = 'what'"
    checked = settings(tmp_path, text, NARROWS_SOURCE__EVENT_COLUMNS__ITEM_ID="thing", NARROWS_STORE__ROOT="7")
    assert checked.source.event_columns == {"user_id": "who", "item_id": "thing"}
    assert checked.store.root == "7", "text needs no quotes, whatever it looks like"


@pytest.mark.parametrize(
    ("horizon", "grain", "lengths"),
    [("7d", "day", (168, 24)), ("1h", "hour", (1, 1)), ("30m", "30m", (0.5, 0.5)), ("36h", "12h", (36, 12))],
)
def test_the_horizon_is_a_multiple_of_the_grain(tmp_path, horizon, grain, lengths):
    source = settings(tmp_path, f"[source]\nhorizon = '{horizon}'\ngrain = '{grain}'").source
    hour = timedelta(hours=1)
    assert (source.horizon_length / hour, source.grain_length / hour) == lengths


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sauce]", "'sauce' is not a known section. Did you mean 'source'?"),
        ("[zzz]", "'zzz' is not a known section. The sections are: source, store"),
        ("name = 'x'", "'name' is not a known section"),
        ("[source]\nnaem = 'x'", "[source] 'naem' is not a known key. Did you mean 'name'?"),
        ("[recall]\nqqq = 1", "[recall] 'qqq' is not a known key. The keys are:"),
        ("[source]\nname = 1", "[source] name = 1 has the wrong type: give text"),
        ("source = 3", "source must be a section: write [source] and its keys below"),
        ("[source]\nhorizon_days = 14", '[source] horizon_days = 14 is now horizon = "14d".'),
        ("[source]\nhorizon = 7", "[source] horizon = 7 has the wrong type: give a duration, such as 7d, 1h, 30m."),
        ("[source]\nhorizon = '0d'", "[source] horizon = '0d': give a duration, such as 7d"),
        ("[source]\nhorizon = '1.5d'", "[source] horizon = '1.5d': give a duration, such as 7d"),
        ("[source]\nhorizon = '367d'", '[source] horizon = "367d": give at most 366d.'),
        ("[source]\nhorizon = '99999999999d'", "horizon = '99999999999d': give a duration"),
        ("[source]\nhorizon = '1h'", 'horizon = "1h" is no multiple of grain = "day": set grain = "hour".'),
        ("[source]\nhorizon = '45m'\ngrain = 'hour'", 'no multiple of grain = "hour": set grain = "15m".'),
        ("[source]\ngrain = 'week'", "grain = 'week': give day, hour or a duration that divides a day, such as 30m."),
        ("[source]\ngrain = '7h'", '[source] grain = "7h" does not divide a day: give day, hour'),
        ("[spark]\nshuffle_partitions = '4'", "shuffle_partitions = '4' has the wrong type: give a whole number"),
        ("[spark]\nshuffle_partitions = 4.5", "shuffle_partitions = 4.5 has the wrong type"),
        ("[spark]\nshuffle_partitions = true", "shuffle_partitions = True has the wrong type"),
        ("[source]\ntime_format = 'days'", "[source] time_format = 'days': give auto, iso, seconds or milliseconds"),
        ("[source]\nevent_columns = 'user'", "event_columns = 'user' has the wrong type: give a table"),
        ("[source.event_columns]\nuser_id = 3", "[source.event_columns] user_id = 3 has the wrong type: give text"),
        ("[events]\nmax_bad_share = 'no'", "max_bad_share = 'no' has the wrong type: give a number"),
        ("[events]\nmax_clock_skew_hours = -1", "[events] max_clock_skew_hours = -1: give 0 or more"),
        ("[events]\nmax_clock_skew_hours = nan", "[events] max_clock_skew_hours = nan: give 0 or more"),
        ("[pipeline]\nwindows = 0", "[pipeline] windows = 0: give 1 or more"),
        ("[pipeline]\nwindows = 2", "[examples] scored_windows = 2, [pipeline] windows = 2: give fewer scored_windows"),
        ("[examples]\nscored_windows = 8", "scored_windows, or windows 9 or more."),
        ("[examples]\nscored_windows = 0", "[examples] scored_windows = 0: give 1 or more"),
        ("[examples]\nhard_share = 1.5", "[examples] hard_share = 1.5: give a number above 0 and up to 1"),
        (
            "[pipeline]\nrooms = 'no_rooms'",
            "[pipeline] rooms = 'no_rooms': no module 'no_rooms' can be imported. Give the module",
        ),
        ("[pipeline]\nrooms = 'json'", "[pipeline] json: PIPELINE is missing or empty. It lists the room classes"),
        ("[pipeline]\nimports = ['no_plugin']", "[pipeline] imports = 'no_plugin' cannot be imported: No module named"),
        ("[pipeline]\nimports = 'own'", "[pipeline] imports = 'own' has the wrong type: give a list"),
        ("[recommendations]\nclock = 'sun'", "[recommendations] clock = 'sun': give auto, wall or asof"),
        ("[rerank]\nn = 0", "[rerank] n = 0: give 1 or more"),
        ("[rerank]\nexplore_temperature = 0", "[rerank] explore_temperature = 0: give a number above 0"),
        ("[rerank]\nexplore_position = 21", "[rerank] explore_position = 21: give a position of the list, or 0"),
        ("[rerank]\npolicy = 'none.toml'", "none.toml: there is no such file. Give the path of your policy"),
        ("[evaluation]\nconfidence = 1", "[evaluation] confidence = 1: give a number between 0 and 1"),
        ("[evaluation]\ncutoffs = []", "[evaluation] cutoffs = []: give numbers of 1 or more"),
        ("[evaluation]\ncutoffs = 5", "[evaluation] cutoffs = 5 has the wrong type: give a list"),
        ("[evaluation]\ncutoffs = [5, -5]", "[evaluation] cutoffs = [5, -5]: give numbers of 1 or more"),
        ("[events]\nmax_bad_share = 2", "[events] max_bad_share = 2: give a number from 0 to 1"),
        ("[user_profiles]\nsequence_length = 0", "[user_profiles] sequence_length = 0: give 1 or more"),
        ("[spark]\nshuffle_partitions = -1", "[spark] shuffle_partitions = -1: give 1 or more"),
        ("[serving]\nurl = 'nonsense'", "[serving] url: give a SQLAlchemy URL, such as postgresql://"),
        ("[spark]\ndriver_memory = 'abc'", "[spark] driver_memory = 'abc': give a size with its unit"),
        ("[spark]\ndriver_memory = '2gb'", "[spark] driver_memory = '2gb': give a size with its unit"),
        ("[source", "not valid TOML"),
        ("[source]\nname = 'a'\nname = 'b'", "not valid TOML"),
    ],
)
def test_wrong_settings_name_the_file_the_key_and_the_remedy(tmp_path, text, says):
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, text)
    assert says in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("NARROWS_SAUCE__NAME", "x", "environment variable NARROWS_SAUCE__NAME: 'sauce' is not a known section"),
        ("NARROWS_SOURCE__NAEM", "x", "NARROWS_SOURCE__NAEM: 'naem' is not a known key"),
        (
            "NARROWS_SPARK__SHUFFLE_PARTITIONS",
            "x",
            "NARROWS_SPARK__SHUFFLE_PARTITIONS = 'x' has the wrong type: give a whole",
        ),
        ("NARROWS_SOURCE__HORIZON_DAYS", "14", 'NARROWS_SOURCE__HORIZON_DAYS = 14 is now horizon = "14d".'),
        ("NARROWS_SOURCE__HORIZON", "1h", """NARROWS_SOURCE__HORIZON = "1h" is no multiple of grain = "day": set"""),
        ("NARROWS_EXAMPLES__SCORED_WINDOWS", "9", "NARROWS_EXAMPLES__SCORED_WINDOWS = 9, [pipeline] windows = 8: give"),
        ("NARROWS_EVALUATION__CUTOFFS", "[5, 0]", "NARROWS_EVALUATION__CUTOFFS = [5, 0]: give numbers of 1 or more"),
        ("NARROWS_SOURCE__EVENT_COLUMNS__USER_ID__X", "y", "EVENT_COLUMNS__USER_ID__X = {'x': 'y'} has the wrong type"),
    ],
)
def test_wrong_environment_names_the_variable(tmp_path, variable, value, says):
    with pytest.raises(SettingsError, match="NARROWS_") as raised:
        settings(tmp_path, "", **{variable: value})
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("section", "key"),
    [("serving", "url"), ("mlflow", "tracking_uri"), ("source", "events"), ("source", "items"), ("source", "users")],
)
def test_no_secret_is_in_a_message(tmp_path, section, key):
    """Neither in the line nor in what a traceback would show."""
    secret = "hun" + "ter2"
    url = {"NARROWS_SERVING__URL": secret}
    for text, env in ((f"[{section}]\n{key} = ['{secret}']", {}), (f"{section} = '{secret}'", {}), ("", url)):
        with pytest.raises(SettingsError) as raised:
            settings(tmp_path, text, **env)
        assert section in str(raised.value) or env
        assert secret not in "".join(traceback.format_exception(raised.value))
    files = "name = 'files'\nevents = 'e.csv'\n" if section == "source" and key != "events" else ""
    files = "name = 'files'\n" if section == "source" and key == "events" else files
    assert secret not in repr(settings(tmp_path, f"[{section}]\n{files}{key} = 'sqlite://{secret}'"))


def test_every_number_has_a_bound():
    """A mistyped number is refused at the start, and what may be tried is data."""
    for room in (*SECTIONS.values(), *load_settings(env={}).pipeline.rooms):
        for key, field in bounds(room).items() if is_pydantic_dataclass(room) else ():
            for each in (field, field.get("items", {})):
                if each.get("type") in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum"} & set(each), f"{room.__name__}.{key} has no lower bound"


def test_bounds_are_data():
    evaluation = bounds(Evaluation)
    assert evaluation["resamples"] == {"title": "Resamples", "type": "integer", "minimum": 1, "default": 1000}
    assert evaluation["cutoffs"]["items"] == {"type": "integer", "minimum": 1}
    assert allowed(evaluation["confidence"]) == "a number between 0 and 1"
    assert allowed(bounds(Recommendations)["clock"]) == "auto, wall or asof"


def test_a_wrong_policy_is_one_line_at_the_start(tmp_path):
    (tmp_path / "policy.toml").write_text("[cap]\ndefault = -1")
    with pytest.raises(SettingsError, match=rf"^{tmp_path}/policy.toml: \[cap\] default = -1: give .*\.$"):
        settings(tmp_path, "")


def test_a_named_file_must_be_there_and_be_a_file(tmp_path):
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings(tmp_path / "none.toml", {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path, {})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings(tmp_path / "binary.toml", {})


def test_every_setting_survives_the_file(tmp_path):
    """Write out all defaults as TOML, read them back, and find the same settings."""
    made = load_settings(env={})
    sections = _sections(made)
    text = "\n".join(f"[{name}]\n" + "\n".join(_lines(section)) for name, section in sections.items())
    assert _sections(settings(tmp_path, text)) == sections


def _sections(checked: Settings) -> dict[str, object]:
    own = {name: getattr(checked, name) for name in SECTIONS if name != "pipeline"}
    return {**own, "pipeline": checked.pipeline_settings, **checked.rooms}


def _lines(section: object) -> list[str]:
    return [f"{f.name} = {_toml(getattr(section, f.name))}" for f in dataclasses.fields(section)]  # type: ignore[arg-type]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)  # type: ignore[arg-type]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)
