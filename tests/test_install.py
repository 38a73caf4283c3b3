"""The installer hands pip's configuration on to uv."""

from __future__ import annotations

import runpy

from tests.paths import ROOT

install = runpy.run_path(str(ROOT / "infra" / "install.py"))


def test_pips_indexes_links_and_constraints_become_options_of_uv():
    options, variables = install["handed_on"](
        ":env:.find-links='/wheels'\n"
        "global.cert='/etc/ca.crt'\n"
        "global.constraint='/etc/limits.txt'\n"
        "global.extra-index-url='file:///one file:///two'\n"
        "install.find-links='/wheels /more'\n"
        "global.timeout='180'\n"
    )
    assert options == [
        "--extra-index-url", "file:///one", "--extra-index-url", "file:///two",
        "--find-links", "/wheels", "--find-links", "/more",
        "--constraint", "/etc/limits.txt", "--index-strategy", "unsafe-best-match",
    ]  # fmt: skip
    assert variables == {"SSL_CERT_FILE": "/etc/ca.crt"}


def test_a_single_index_is_the_last_that_is_configured():
    options, _ = install["handed_on"](":env:.index-url='file:///b'\nglobal.index-url='file:///a'\n")
    assert options == ["--index-url", "file:///b"]
    assert install["handed_on"]("global.no-index='true'\n")[0] == ["--no-index"]
    assert install["handed_on"]("")[0] == []
