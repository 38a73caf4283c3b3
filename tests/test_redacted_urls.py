"""Credentials in a source's URL reach no message, whoever words it: we, fsspec, the library behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest

from narrows.asof import Asof
from narrows.settings import SettingsError
from narrows.source.errors import SourceError
from narrows.source.tabular import reading
from narrows.source.urls import redacted
from stages.events import Events
from tests.source_files import EXPECTED, ids, named_source, source, written

SECRET = "Xq7-pass-word"
TOKEN = "tok3n-of-the-shop"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://user:{SECRET}@host/e.csv", "https://user:***@host/e.csv"),
        (f"s3://AKIA0123:{SECRET}@bucket/e.csv", "s3://***@bucket/e.csv"),
        (f"s3://AKIA0123:12{SECRET}/a+b@bucket/e.csv", "s3://***@bucket/e.csv"),
        (f"https://user:a@b::{SECRET}@host/e.csv", "https://user:***@host/e.csv"),
        (f"https://{TOKEN}@host/e.csv", "https://***@host/e.csv"),
        ("https://ghp_0123456789abcdef0123:x-oauth-basic@host/e.csv", "https://***@host/e.csv"),
        (f"https://host/e.csv?day=2024-01-01&token={TOKEN}", "https://host/e.csv?day=2024-01-01&token=***"),
        (f"https://host/e.csv?X-Amz-Credential=a%2Fb&X-Amz-Signature={TOKEN}&X-Amz-Expires=60",
         "https://host/e.csv?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Expires=60"),
        (f"https://host/e.csv?sv=2024-01-01&sig={TOKEN}", "https://host/e.csv?sv=2024-01-01&sig=***"),
        ("https://host/e.csv?q=0123456789abcdef0123456789abcdef", "https://host/e.csv?q=***"),
        (f"zip://*.csv::https://u:{SECRET}@host/p.zip?key={TOKEN}", "zip://*.csv::https://u:***@host/p.zip?key=***"),
        ("https://host:8080/@user/e.csv?page=2", "https://host:8080/@user/e.csv?page=2"),
        ("wheel://recbole==1.2.1/a.csv#sha256=" + "0" * 64, "wheel://recbole==1.2.1/a.csv#sha256=" + "0" * 64),
        ("memory://folder/e?.csv", "memory://folder/e?.csv"),
        ("/data/e?.csv", "/data/e?.csv"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_secrets(url, shown):
    assert redacted(url) == shown
    assert redacted(f"cannot open '{url}', URL({url}).", url) == f"cannot open '{shown}', URL({shown})."
    assert redacted(shown) == shown


def test_a_library_may_quote_parts_of_a_url():
    url = f"https://user:{SECRET}%2F1@host/e.csv?token={TOKEN}"
    error = f"nonnumeric port: '{SECRET}%2F1@host' of {SECRET}/1; {TOKEN} has expired"
    assert redacted(error, url) == "nonnumeric port: '***@host' of ***; *** has expired"
    assert redacted("a part of the port: pa, p", "https://user:p@host") == "a part of the port: pa, ***"


@contextmanager
def web(*states: int, content: bytes = b"") -> Iterator[str]:
    """The address, with credentials, of a file on a server that answers a GET with these states, the last for good."""
    answers = list(states or (200,))
    first = answers[0]

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.command == "HEAD":
                self.send_response(first)
            else:
                self.send_response(answers.pop(0) if answers[1:] else answers[0])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://shop:{SECRET}@127.0.0.1:{server.server_port}/e.csv?token={TOKEN}&day=3"
        server.shutdown()


def refused(folder: Path, url: str, spark: Any = None) -> str:
    """The message; a traceback would show no other."""
    with pytest.raises(SourceError) as raised, reading():
        source(folder, url).events(spark).count() if spark else source(folder, url).fingerprint()
    assert spark or raised.value.__cause__ is None
    assert SECRET not in str(raised.value)
    assert TOKEN not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    return str(raised.value)


def test_a_missing_web_file(tmp_path):
    with web(404) as url:
        message = refused(tmp_path, url)
    assert "no file at http://shop:***@127.0.0.1:" in message
    assert "/e.csv?token=***&day=3. Check the path" in message


@pytest.mark.parametrize("state", [403, 500])
def test_a_web_file_that_cannot_be_fetched(tmp_path, state):
    """It answers while one looks, and then no more; the error is aiohttp's own, with the whole address in it."""
    with web(200, 200, state, content=b"<html>") as url:
        message = refused(tmp_path, url)
    assert "cannot fetch http://shop:***@127.0.0.1:" in message
    assert f"{state}" in message


def test_a_web_file_whose_content_is_broken(spark, tmp_path):
    with web(content=b"\xff\xfe\x00\x81,\n") as url:
        assert "e.csv cannot be read" in refused(tmp_path, url, spark)


def test_a_web_file_is_read_with_its_credentials_and_its_query(spark, tmp_path):
    with web(content=written(tmp_path / "e.csv").read_bytes()) as url:
        assert ids(source(tmp_path, url), spark) == EXPECTED


def test_an_unknown_protocol(tmp_path):
    message = refused(tmp_path, f"nowhere://AKIA0123:{SECRET}@bucket/e.csv?token={TOKEN}")
    assert "cannot look at nowhere://***@bucket/e.csv?token=***" in message


def test_a_place_that_is_not_reached(tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    url = f"memory://AKIA0123:{SECRET}@bucket/e.csv"

    def fail(self, path: str, *rest: object, **options: object) -> None:
        raise RuntimeError(f"403 for {url}\n(key AKIA0123, secret {SECRET})")

    monkeypatch.setattr(type(memory), "exists", fail)
    assert (
        "cannot look at memory://***@bucket/e.csv: RuntimeError: 403 for memory://***@bucket/e.csv (key ***, secret ***)"
        in refused(tmp_path, url)
    )
    monkeypatch.undo()
    memory.pipe(memory._strip_protocol(url), b"who,what,at\n")
    monkeypatch.setattr(type(memory), "get_file", fail)
    message = refused(tmp_path, url)
    assert "cannot fetch" in message
    assert "AKIA0123" not in message


def test_no_file_below_a_url_with_credentials(tmp_path):
    assert "no file at memory://***@bucket/*.tsv" in refused(tmp_path, f"memory://AKIA0123:{SECRET}@bucket/*.tsv")


def test_a_url_in_the_place_of_a_name(tmp_path):
    with pytest.raises(SettingsError) as raised:
        named_source(tmp_path, f"s3://AKIA0123:{SECRET}@bucket/shop.toml")
    assert "s3://***@bucket/shop.toml" in str(raised.value)
    assert SECRET not in str(raised.value)


def test_nothing_that_is_kept_of_a_run_has_the_credentials(spark, tmp_path, caplog):
    """The notes and fingerprints that go to the manifest, the log, and the names of files in the state folder."""
    text = written(tmp_path / "e.csv").read_bytes()
    with web(content=text) as url:
        opened = source(tmp_path, url, items="i.csv")
        (tmp_path / "i.csv").write_text("item_id,title\nx,short,long\n")
        made = Events().transform(session=spark, source=opened, asof=Asof.parse("2024-01-09"))
        kept = [made.notes, opened.fingerprint(), caplog.text, *(tmp_path / "state").rglob("*")]
    assert SECRET not in str(kept)
    assert TOKEN not in str(kept)
