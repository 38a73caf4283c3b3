"""A real browser without a window, told what to do over its DevTools; tests skip where none is installed."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60


class Page:
    """One tab: what it is told, and the events that it tells."""

    def __init__(self, socket: Any) -> None:
        self.socket, self.numbers, self.events = socket, itertools.count(1), list[dict[str, Any]]()
        for domain in ("Page", "Network", "Log", "Accessibility"):
            self.tell(f"{domain}.enable")

    def tell(self, method: str, **given: Any) -> dict[str, Any]:
        """Send a command; what it returns."""
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            said = json.loads(self.socket.recv(timeout=SECONDS))
            if said.get("id") == number:
                assert "error" not in said, said
                return said["result"]
            self.events.append(said)

    def open(self, url: str, width: int = 1600, scheme: str = "light") -> None:
        """Load a page, in a window of this width and in light or dark."""
        self.events.clear()
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.tell("Page.navigate", url=url)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.value("document.readyState") != "complete":
            time.sleep(0.05)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is on the page."""
        return self.tell("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        sent = [each for each in self.events if each.get("method") == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]

    def problems(self) -> list[str]:
        """What the browser complained of, e.g. against the page's policy."""
        return [each["params"]["entry"]["text"] for each in self.events if each.get("method") == "Log.entryAdded"]

    def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(self.value("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def names(self, role: str) -> list[str]:
        """The names of all elements of a role, as a screen reader is told them."""
        nodes = self.tell("Accessibility.getFullAXTree")["nodes"]
        of_role = [node for node in nodes if node.get("role", {}).get("value") == role and not node["ignored"]]
        return [node.get("name", {}).get("value", "") for node in of_role]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A browser with a profile in this folder, ended afterwards."""
    client = pytest.importorskip("websockets.sync.client", reason="no DevTools without the package websockets")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if not program:
        pytest.skip("no browser to look with: install Debian's package chromium")
    command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               "--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            port = _port(folder / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=SECONDS) as answer:
                tab = next(each for each in json.load(answer) if each["type"] == "page")
            with client.connect(tab["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()


def _port(file: Path, process: subprocess.Popen[bytes]) -> int:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and (lines := file.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise AssertionError("the browser does not start")
