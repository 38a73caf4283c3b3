"""The clients of docs/serving.md: taken out of the page, run against both databases, and equal to `reading.current`."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from serving import MADE, publish

from narrows.serving import reading, schema
from tests.paths import ROOT

PAGE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
ASKED = [
    ("u0", None, 5),
    ("u1", None, 20),
    ("u1", "old", 3),
    ("nobody", None, 4),
    ("nobody", "young", 4),
    ("'", None, 0),
]
JARS = [
    *(path for name in ("sqlite-jdbc", "postgresql") for path in Path("/usr/share/java").glob(f"{name}.jar")),
    *(path for name in ("postgresql", "xerial") for path in Path.home().glob(f".m2/repository/org/{name}/*/*/*.jar")),
]
MAIN = """
import java.io.PrintWriter;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.sql.DriverManager;
import java.util.List;
import javax.sql.DataSource;

public final class Main {
    public static void main(String[] given) throws Exception {
        DataSource database = (DataSource) Proxy.newProxyInstance(
                Main.class.getClassLoader(), new Class<?>[] {DataSource.class},
                (proxy, method, arguments) -> DriverManager.getConnection(given[0], "tester", ""));
        var standby = new Recommendations.Item(1, "standby", 0, 1, "", "", "", "", "", "", true);
        var lists = new Recommendations(database, List.of(standby), Path.of(given[1]));
        for (int at = 2; at < given.length; at += 3) {
            String segment = given[at + 1].equals("None") ? null : given[at + 1];
            for (var item : lists.of(given[at], "home", segment, Integer.parseInt(given[at + 2]))) {
                System.out.println(String.join("|", item.itemId(), "" + item.rank(), "" + item.score(),
                        "" + item.propensity(), item.reason(), "" + item.reasonText(), item.releaseId(), item.asof(),
                        "" + (item.expiresAt() != null), "" + item.segment(), "" + item.isFallback()));
            }
            System.out.println("end");
        }
    }
}
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def filled(database):
    publish(database)
    reading.takedown(database, "i2", "", MADE)
    with database.begin() as connection:
        connection.execute(sa.insert(schema.reason), {"code": "popular", "text": "many users have it now"})
    return database


def plain(url: sa.URL) -> str:
    """A SQLAlchemy URL as libpq reads it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """Without what a driver without types gives otherwise: the instant, and 0 and 1 for a truth."""
    return row | {"is_fallback": bool(row["is_fallback"]), "expires_at": row["expires_at"] is not None}


def test_the_page_shows_the_statement_and_all_its_columns(engine):
    statement, *queries = blocks("sql")
    assert statement == reading.CURRENT
    for query in queries:
        with engine.connect() as connection:
            connection.exec_driver_sql(query)
    with engine.connect() as connection:
        asked = {"user_id": "u0", "scene": "home", "segment": None, "n": 1}
        columns = list(connection.execute(sa.text(statement), asked).keys())
        for view in schema.VIEWS:
            assert f"| `{view.table.name}` |" in PAGE
    table = PAGE.partition("| column | |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))
    assert sorted(named) == sorted(columns)
    assert re.findall(r":(\w+)", statement) == ["user_id", "scene", "segment", "n"]  # JDBC binds by this order


@pytest.mark.parametrize("number", range(3))
def test_the_python_clients_read_what_narrows_reads(filled, number, monkeypatch):
    code = blocks("python")[number]
    url, kind = filled.url, filled.dialect.name
    if (number, kind) in ((1, "postgresql"), (2, "sqlite")):
        pytest.skip("this client is for the other database")
    where = {
        '"sqlite:///var/recommendations.db"': repr(url.render_as_string(hide_password=False)),
        "file:var/recommendations.db?mode=ro": f"file:{url.database}?mode=ro",
        "postgresql://user:password@host/database": plain(url),
    }
    found = [old for old in where if old in code]
    assert found
    code = code.replace(found[0], where[found[0]])
    monkeypatch.chdir(ROOT)
    scope: dict[str, Any] = {}
    exec(code, scope)
    for user, segment, n in ASKED:
        rows = [comparable(dict(row)) for row in scope["recommended"](user, n, segment=segment)]
        assert rows == [comparable(row) for row in reading.current(filled, user, n=n, segment=segment)]
    for name in ("connection", "engine"):
        if name in scope:
            (scope[name].close if name == "connection" else scope[name].dispose)()


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Java client, compiled, and a program that prints lists."""
    if not shutil.which("javac"):
        pytest.skip("no Java compiler is installed (javac is not found)")
    folder = tmp_path_factory.mktemp("java")
    (client,) = blocks("java")
    for name, code in (("Recommendations", client), ("Main", MAIN)):
        (folder / f"{name}.java").write_text(code)
    files = [str(file) for file in folder.glob("*.java")]
    subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", str(folder / "out"), *files], check=True)
    return folder / "out"


def java(classes: Path, url: str) -> list[list[str]]:
    """What the Java client prints, a list for each of ``ASKED``."""
    path = ":".join([str(classes), *map(str, JARS)])
    asked = [str(each) for triple in ASKED for each in triple]
    command = ["java", "-cp", path, "Main", url, str(ROOT / "narrows" / "serving" / "current.sql"), *asked]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [part.split("\n")[:-1] for part in done.stdout.split("end\n")[:-1]]


def test_the_java_client_has_items_where_no_database_answers(classes):
    lists = java(classes, "jdbc:none:")
    assert [[line.split("|")[0] for line in part] for part in lists] == [["standby"]] * len(ASKED)


def test_the_java_client_reads_what_narrows_reads(classes, filled):
    kind = filled.dialect.name
    if not any(kind in jar.name for jar in JARS):
        pytest.skip(f"no JDBC driver for {kind} is installed (see JARS)")
    url = (
        f"jdbc:sqlite:{filled.url.database}" if kind == "sqlite" else f"jdbc:{plain(filled.url).replace('tester@', '')}"
    )
    for part, (user, segment, n) in zip(java(classes, url), ASKED, strict=True):
        rows = reading.current(filled, user, n=n, segment=segment)
        words = ["item_id", "rank", "score", "propensity", "reason", "reason_text", "release_id", "asof", "expires_at"]
        expected = [
            "|".join(
                {"None": "null", "True": "true", "False": "false"}.get(text, text)
                for text in (str(comparable(row)[name]) for name in [*words, "segment", "is_fallback"])
            )
            for row in rows
        ]
        assert part == expected or (not rows and part[0].startswith("standby"))
