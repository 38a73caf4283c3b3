"""Settings of single channels: what is wrong is said with table, key and remedy."""

from __future__ import annotations

import pytest

from narrows.settings import SettingsError, load_settings
from stages.recall.channels import CHANNELS, build


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "[recall.channels.trendy]",
            "[recall.channels] 'trendy' is not a known channel. The channels are: own, popular",
        ),
        ("[recall.channels.eese]", "[recall.channels] 'eese' is not a known channel. Did you mean 'ease'?"),
        (
            "[recall.channels.ease]\nqouta = 3",
            "[recall.channels.ease] 'qouta' is not a known key. Did you mean 'quota'?",
        ),
        ("[recall.channels.ease]\nzzz = 3", "'zzz' is not a known key. The keys are: quota, items, ridge."),
        ("[recall.channels.ease]\nquota = -1", "[recall.channels.ease] quota = -1: give 0 or more."),
        ("[recall.channels.ease]\nquota = '20'", "quota = '20' has the wrong type: give a whole number."),
        ("[recall.channels.ease]\nridge = 0", "[recall.channels.ease] ridge = 0: give a number above 0."),
        ("[recall.channels.two_tower]\nindex = 'flat'", "index = 'flat': give auto, exact, ivf or hnsw."),
        ("[recall.channels]\nease = 3", "[recall.channels] ease = 3 has the wrong type: give a table."),
        ("[recall]\nown = 9", "[recall] own = 9 is now quota = 9 in [recall.channels.own]."),
        ("[recall]\nspare = 1.5", "[recall] spare = 1.5 is now oversample = 1.5."),
        (
            "\n".join(f"[recall.channels.{name}]\nquota = 0" for name in CHANNELS),
            "[recall] channels: every channel has quota = 0; give one of them 1 or more.",
        ),
    ],
)
def test_wrong_settings_name_the_key_and_the_remedy(tmp_path, text, says):
    file = tmp_path / "narrows.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(file, {})
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_settings_of_a_channel_leave_its_other_defaults():
    channels = build({"item_to_item": {"quota": 7}, "ease": {"quota": 0}})
    assert "ease" not in channels
    assert list(channels) == [name for name in CHANNELS if name != "ease"]
    assert (channels["item_to_item"].quota, channels["own"].quota) == (7, 250)
