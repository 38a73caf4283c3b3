"""``narrows.toml`` and the environment: what is wrong is said with file, key and remedy."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from narrows.settings import SECTIONS, SettingsError, load_settings
from stages import PIPELINE


def settings(folder: Path, text: str, **env: str):
    (folder / "narrows.toml").write_text(text)
    return load_settings(folder / "narrows.toml", env)


def test_without_a_file_everything_has_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = load_settings(env={})
    assert made.source.name == "completejourney"
    assert made.state == tmp_path / "var"
    assert made.serving_url == f"sqlite:///{tmp_path / 'var' / 'recommendations.db'}"
    assert list(made.rooms) == list(PIPELINE)


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
    (tmp_path / "other.toml").write_text("[source]\nhorizon_days = 1")
    assert load_settings(env={"NARROWS_FILE": str(tmp_path / "other.toml")}).source.horizon_days == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[sauce]", "'sauce' is not a known section. Did you mean 'source'?"),
        ("[zzz]", "'zzz' is not a known section. The sections are: source, store"),
        ("name = 'x'", "'name' is not a known section"),
        ("[source]\nnaem = 'x'", "[source] 'naem' is not a known key. Did you mean 'name'?"),
        ("[recall]\nqqq = 1", "[recall] 'qqq' is not a known key. The keys are:"),
        ("[source]\nname = 1", "[source] name = 1 has the wrong type: give text"),
        ("[source]\nhorizon_days = '7'", "[source] horizon_days = '7' has the wrong type: give a whole number"),
        ("[source]\nhorizon_days = 7.5", "horizon_days = 7.5 has the wrong type"),
        ("[source]\nhorizon_days = true", "horizon_days = True has the wrong type"),
        ("[source]\nhorizon_days = 0", "[source] horizon_days = 0: give 1 to 366"),
        ("[source]\nhorizon_days = 99999999", "[source] horizon_days = 99999999: give 1 to 366"),
        ("[source]\ntime_format = 'days'", "[source] time_format = 'days': give auto, iso, seconds or milliseconds"),
        ("[source]\nevent_columns = 'user'", "event_columns = 'user' has the wrong type: give a table"),
        ("[source.event_columns]\nuser_id = 3", "has the wrong type: give a table of text values"),
        ("[events]\nmax_bad_share = 'no'", "max_bad_share = 'no' has the wrong type: give a number"),
        ("[events]\nmax_clock_skew_hours = -1", "[events] max_clock_skew_hours = -1.0: give 0 or more"),
        ("[events]\nmax_clock_skew_hours = nan", "[events] max_clock_skew_hours = nan: give 0 or more"),
        ("[recall]\nn = -5", "[recall] n = -5: give 1 or more"),
        ("[recall]\nown = -1", "[recall] own = -1: give 0 or more"),
        ("[recall]\nrecent_half_life = 0", "[recall] recent_half_life = 0.0: give a number above 0"),
        ("[recall]\nspare = 0.5", "[recall] spare = 0.5: give 1 or more"),
        ("[recall]\nindex = 'flat'", "[recall] index = 'flat': give exact, ivf or hnsw"),
        ("[prerank]\nwindows = 0", "[prerank] windows = 0: give 1 or more"),
        ("[prerank]\nwindows = 2", "[prerank] windows = 2, [examples] scored_windows = 2: give windows 3 or more"),
        ("[examples]\nscored_windows = 8", "[prerank] windows = 8, [examples] scored_windows = 8: give windows 9"),
        ("[prerank]\nn = 0", "[prerank] n = 0: give 1 or more"),
        ("[prerank]\norder_leaves = 1", "[prerank] order_leaves = 1: give 2 or more"),
        ("[prerank]\nlearning_rate = 0", "[prerank] learning_rate = 0.0: give a number above 0"),
        ("[prerank]\nrow_share = 1.5", "[prerank] row_share = 1.5: give a number above 0 and up to 1"),
        ("[rank]\nn = -1", "[rank] n = -1: give 1 or more"),
        ("[evaluation]\ncutoffs = [5, -5]", "[evaluation] cutoffs = [5, -5]: give numbers of 1 or more"),
        ("[events]\nmax_bad_share = 2", "[events] max_bad_share = 2.0: give a share from 0 to 1"),
        ("[user_profiles]\nsequence_length = 0", "[user_profiles] sequence_length = 0: give 1 or more"),
        ("[spark]\nshuffle_partitions = -1", "[spark] shuffle_partitions = -1: give 1 or more"),
        ("[serving]\nurl = 'nonsense'", "[serving] url is not a SQLAlchemy URL: give for example postgresql://"),
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
    assert str(tmp_path / "narrows.toml") in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("NARROWS_SAUCE__NAME", "x", "environment variable NARROWS_SAUCE__NAME: 'sauce' is not a known section"),
        ("NARROWS_SOURCE__NAEM", "x", "NARROWS_SOURCE__NAEM: 'naem' is not a known key"),
        ("NARROWS_SOURCE__HORIZON_DAYS", "soon", "NARROWS_SOURCE__HORIZON_DAYS = 'soon' has the wrong type"),
    ],
)
def test_wrong_environment_names_the_variable(tmp_path, variable, value, says):
    with pytest.raises(SettingsError, match="NARROWS_") as raised:
        settings(tmp_path, "", **{variable: value})
    assert says in str(raised.value)


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
    sections = {name: getattr(made, name) for name in SECTIONS} | made.rooms
    text = "\n".join(f"[{name}]\n" + "\n".join(_lines(section)) for name, section in sections.items())
    again = settings(tmp_path, text)
    for name, section in sections.items():
        assert (getattr(again, name) if name in SECTIONS else again.rooms[name]) == section


def _lines(section: object) -> list[str]:
    return [f"{f.name} = {_toml(getattr(section, f.name))}" for f in dataclasses.fields(section)]  # type: ignore[arg-type]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)
