"""Airflow's own backfill of a range makes what `narrows backfill` makes of it. Slow: three runs of the DAG daily."""

from __future__ import annotations

import json
import shutil

import pytest
from served import ask, until_over
from test_live_month import SECONDS, Shop, day

from narrows.asof import DAY
from narrows.cli.main import main
from narrows.store.partitions import Store

pytestmark = pytest.mark.slow

DAYS = 3
TABLES = ("events", "user_profiles", "item_profiles")


def test_airflow_and_the_command_fill_a_range_alike(tmp_path, capsys):
    """Versions and rows, though one makes a partition after the other and the rest of the line, and one all in few jobs."""
    shop = Shop(tmp_path / "airflow", DAYS, gap=DAYS + 1)
    for number in range(DAYS + 1):
        shop.arrive(day(number), first=number == 0)
    shutil.copytree(shop.folder, tmp_path / "command")
    first, last = str(day(1)), str(day(DAYS))
    shop.pages.start()
    try:
        days = {"from_date": f"{first}T00:00:00Z", "to_date": f"{last}T00:00:00Z"}
        how = {"reprocess_behavior": "none", "max_active_runs": 1, "run_backwards": False}
        ask(shop.pages.port, "backfills", {"dag_id": "daily", "dag_run_conf": {}, **days, **how})
        runs = ask(shop.pages.port, "dags/daily/dagRuns?order_by=id", patience=60)["dag_runs"]
        assert [run["partition_key"] for run in runs] == [str(day(number)) for number in range(1, DAYS + 1)]
        for run in runs:
            assert until_over(shop.pages.port, run["dag_run_id"], SECONDS)["state"] == "success", shop.logs(
                run["dag_run_id"]
            )
    finally:
        shop.pages.end()
    command = ["--file", str(tmp_path / "command" / "narrows.toml"), "backfill", "--from", first, "--to", last]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["made"] == DAYS
    other = Store(tmp_path / "command" / "var" / "tables", DAY)
    for name in TABLES:
        for number in range(1, DAYS + 1):
            asof = day(number)
            one, two = shop.table(name, asof), other.current(name, asof)
            assert two, (name, str(asof))
            assert one.version == two.version, (name, str(asof))
            assert sorted(map(str, one.arrow().to_pylist())) == sorted(map(str, two.arrow().to_pylist()))
    assert shop.store.partitions("recommendations") == [day(number) for number in range(1, DAYS + 1)]
