"""The server of the reports and the data docs: two folders, loopback, and nothing from elsewhere."""

import http.client
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import pytest

from narrows.cli.pages.served import LOOPBACK, Handler


class Quiet(Handler):
    def log_message(self, *_):
        pass


@pytest.fixture
def state(tmp_path):
    """A state folder with a report, a page of the data docs and a database."""
    for name in (
        "reports/index.html",
        "reports/1.html",
        "data_docs/index.html",
        "data_docs/a/b.html",
        "data_docs/.lock",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"this is {name}")
    (tmp_path / "mlflow.db").write_text("secret")
    return tmp_path


@pytest.fixture
def get(state):
    """Ask the server of the state folder for a path: status, body, headers."""
    with ThreadingHTTPServer((LOOPBACK, 0), partial(Quiet, directory=str(state))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

        def ask(path, host=LOOPBACK, method="GET"):
            connection = http.client.HTTPConnection(LOOPBACK, server.server_address[1])
            connection.request(method, path, headers={"Host": f"{host}:{server.server_address[1]}"})
            answer = connection.getresponse()
            body = answer.read().decode()
            connection.close()
            return answer.status, body, answer.headers

        yield ask
        server.shutdown()


def test_reports_and_data_docs_are_served(get):
    assert get("/reports/1.html")[:2] == (200, "this is reports/1.html")
    assert get("/reports/")[:2] == (200, "this is reports/index.html")
    assert get("/data_docs/a/b.html?x=1")[:2] == (200, "this is data_docs/a/b.html")


@pytest.mark.parametrize(
    "path",
    [
        *("/mlflow.db", "/data_docs/../mlflow.db", "/data_docs/%2e%2e/mlflow.db", "/reports/..%2fmlflow.db"),
        *("/data_docs/a/", "/data_docs/.lock", "/data_docs/link", "/nothing", "/reports/2.html", "//mlflow.db"),
    ],
)
def test_nothing_else_of_the_state_folder_is_served(get, state, path):
    (state / "data_docs" / "link").symlink_to(state / "mlflow.db")
    status, body, _ = get(path)
    assert status == 404
    assert "secret" not in body


def test_the_first_page_leads_to_the_index_of_the_reports_else_of_the_data_docs(get, state):
    assert get("/")[2]["Location"] == "/reports/"
    (state / "reports" / "index.html").unlink()
    assert get("/")[2]["Location"] == "/data_docs/"
    (state / "data_docs" / "index.html").unlink()
    assert get("/")[0] == 200
    assert "first run" in get("/")[1]
    assert get("/", method="HEAD")[:2] == (200, "")


@pytest.mark.parametrize("path", ["/", "/reports/", "/data_docs/a/b.html", "/nothing"])
def test_no_answer_is_kept_or_may_load_from_elsewhere(get, path):
    headers = get(path)[2]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"].startswith("default-src 'self' 'unsafe-inline' data:;")


def test_a_name_of_another_site_is_refused(get):
    assert get("/reports/", host="evil.example")[0] == 403
    assert get("/reports/", host="localhost")[0] == 200
