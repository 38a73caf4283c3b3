"""The server of the reports and the data docs: ``python -m narrows.cli.pages.served STATE PORT``.

It serves two folders of the state folder and nothing else of it, on loopback, and lets no page load anything from
elsewhere: data docs of earlier versions would load styles, scripts and pictures from seven other hosts.
"""

from __future__ import annotations

import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LOOPBACK = "127.0.0.1"
FOLDERS = ("reports", "data_docs")
"""What is served, each below its name; ``/`` leads to the index of the first that has one."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data:; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every answer. The policy keeps the browser from asking any other host, also of pages of earlier versions."""
EMPTY = "<!doctype html><title>Narrows</title><p>No report and no data docs yet: they come with the first run.</p>"


class Handler(SimpleHTTPRequestHandler):
    """Files of `FOLDERS` below the state folder, which is ``directory``."""

    server_version, sys_version = "narrows", ""

    def send_head(self) -> Any:
        """As the base class, for what may be seen."""
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (LOOPBACK, "localhost"):  # a name of another site that leads here
            return self.send_error(HTTPStatus.FORBIDDEN, "Only by the address of this machine")
        parts = [part for part in unquote(urlsplit(self.path).path).split("/") if part]
        if not parts:
            return self._first_page()
        if parts[0] not in FOLDERS or any(part.startswith(".") for part in parts):
            return self.send_error(HTTPStatus.NOT_FOUND)
        file, folder = Path(self.translate_path(self.path)), Path(self.directory, parts[0])
        if not file.resolve().is_relative_to(folder.resolve()):
            return self.send_error(HTTPStatus.NOT_FOUND)
        return super().send_head()

    def _first_page(self) -> None:
        """Lead to the index of the reports, else of the data docs."""
        index = next((name for name in FOLDERS if Path(self.directory, name, "index.html").exists()), None)
        body = EMPTY.encode()
        self.send_response(HTTPStatus.FOUND if index else HTTPStatus.OK)
        if index:
            self.send_header("Location", f"/{index}/")
            body = b""
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def list_directory(self, path: Any) -> None:
        """No lists of files: a folder without an index is not there."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()


def serve(state: Path, port: int) -> None:
    """Serve until the process ends."""
    with ThreadingHTTPServer((LOOPBACK, port), partial(Handler, directory=str(state))) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
