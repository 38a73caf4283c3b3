"""`narrows up`: what it starts and where, what it keeps secret, and the same as containers."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from configparser import ConfigParser
from pathlib import Path

import jsonschema
import pytest
import yaml

from narrows.cli.airflow.workflow import ROOT, WorkflowError
from narrows.cli.main import main
from narrows.cli.services import postgres, secrets, watched
from narrows.cli.services.plan import Plan
from narrows.settings import load_settings

INFRA = ROOT / "infra"
PARTS = {"api-server", "scheduler", "dag-processor", "triggerer"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    for name in ("NARROWS_SERVING__URL", "NARROWS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(postgres, "programs", lambda: Path("/pg/bin"))
    (tmp_path / "narrows.toml").write_text("")
    return Plan(load_settings(tmp_path / "narrows.toml", {}), 9000)


def test_every_part_is_a_service_on_loopback(plan):
    commands = {service.name: " ".join(service.command) for service in plan.services}
    assert {name.removeprefix("airflow-") for name in commands if name.startswith("airflow-")} == PARTS
    assert {"postgres", "mlflow", "spark-master", "spark-worker", "pages"} < set(commands)
    for name in ("airflow-api-server", "mlflow", "spark-master", "spark-worker"):
        assert "--host 127.0.0.1" in commands[name]
    assert "listen_addresses=127.0.0.1" in commands["postgres"]
    assert all("--skip-serve-logs" in commands[f"airflow-{name}"] for name in ("scheduler", "triggerer"))
    assert sorted(plan.ports.values()) == list(range(9000, 9007))


def test_tasks_find_the_other_services_and_no_password_is_in_their_environment(plan):
    secrets.make(plan.secrets, plan.ports["postgres"])
    env = plan.environment()
    assert env["NARROWS_FILE"] == str(plan.settings.base / "narrows.toml")
    assert "NARROWS_DEFAULTS" not in env, "a worker that loses its file must not run the public data set"
    assert env["NARROWS_SERVING__URL"] == "postgresql+psycopg://serving@127.0.0.1:9004/serving"
    assert env["NARROWS_MLFLOW__TRACKING_URI"] == "http://127.0.0.1:9001"
    assert env["NARROWS_SPARK__MASTER"] == "spark://127.0.0.1:9005"
    assert env["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    everything = "\n".join([*env.values(), watched.configuration(plan)])
    for role in (secrets.OWNER, *secrets.DATABASES):
        assert secrets.password(plan.secrets, role) not in everything
    for key in secrets.KEYS:
        assert (plan.secrets / key).read_text() not in everything


def test_secrets_are_made_once_and_for_their_owner_alone(tmp_path):
    folder = tmp_path / "secrets"
    secrets.make(folder, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    before = {file.name: file.read_text() for file in folder.iterdir()}
    secrets.make(folder, 2)
    after = {file.name: file.read_text() for file in folder.iterdir()}
    assert {name for name in after if after[name] != before[name]} == {secrets.PASSFILE}, "it names the port"
    assert len(set(before.values())) == len(before)
    from cryptography.fernet import Fernet

    assert Fernet(before["fernet"])


def test_the_supervisor_starts_each_again_and_ends_whole_groups(plan):
    read = ConfigParser(interpolation=None)
    read.read_string(watched.configuration(plan))
    programs = {name.removeprefix("program:"): read[name] for name in read.sections() if name.startswith("program:")}
    assert set(programs) == {service.name for service in plan.services}
    assert all(each["autorestart"] == "true" and each["killasgroup"] == "true" for each in programs.values())
    assert programs["postgres"]["stopsignal"] == "INT", "it ends open transactions, and itself, in order"
    assert len(str(watched.socket_of(plan))) < 100


def test_postgresql_that_is_missing_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(postgres.shutil, "which", lambda _: None)
    monkeypatch.setattr(postgres, "PLACES", ("/nowhere/*/bin",))
    with pytest.raises(WorkflowError, match=r"PostgreSQL is not installed.*apt-get install postgresql"):
        postgres.programs()


def test_root_is_no_user_of_postgresql(monkeypatch):
    monkeypatch.setattr(postgres.os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres, "UNPRIVILEGED", ("no-such-user", "nobody"))
    assert postgres.user() == "nobody"
    monkeypatch.setattr(postgres, "UNPRIVILEGED", ("no-such-user",))
    with pytest.raises(WorkflowError, match="refuses root"):
        postgres.user()


def test_down_where_nothing_is_up_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["down"]) == 0
    assert "No service is up" in capsys.readouterr().out


def compose() -> dict:
    return yaml.safe_load((INFRA / "compose" / "compose.yaml").read_text())


def test_compose_follows_its_specification():
    schema = json.loads((ROOT / "tests" / "schemas" / "compose-spec.json").read_text())
    checked = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in checked.iter_errors(compose())] == []
    broken = compose() | {"services": {"x": {"image": "y", "comand": []}}}
    assert list(checked.iter_errors(broken)), "the schema finds what it should"


def test_compose_has_the_same_services_and_every_file_that_it_names(plan):
    given = compose()
    same = {service.name for service in plan.services} - {"pages"}
    assert same <= set(given["services"])
    for name in PARTS:
        ours = next(service for service in plan.services if service.name == f"airflow-{name}").command
        assert given["services"][f"airflow-{name}"]["command"][1] == ours[ours.index("airflow") + 1]
    for service in given["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert set(service.get("secrets", ())) <= set(given["secrets"])
        for volume in service.get("volumes", ()):
            if volume.startswith("./"):
                assert (INFRA / "compose" / volume.split(":")[0]).exists()
    made = {f"postgres-{role}" for role in (secrets.OWNER, *secrets.DATABASES)} | set(secrets.KEYS)
    assert {Path(each["file"]).name for each in given["secrets"].values()} == made | {secrets.AIRFLOW_PASSWORDS}


def test_the_image_has_every_file_that_its_build_names():
    lines = (INFRA / "Dockerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert {"narrows", "stages", "features", "dags"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_helm_values_name_places_that_the_image_has():
    values = yaml.safe_load((INFRA / "helm" / "values.yaml").read_text())
    image = (INFRA / "Dockerfile").read_text()
    for key in ("dags_folder", "plugins_folder"):
        assert values["config"]["core"][key] in image
    assert values["airflowVersion"] in (ROOT / "constraints.txt").read_text()
    mounts, volumes = values["volumeMounts"], values["volumes"]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in volumes}


@pytest.mark.skipif(
    "AIRFLOW_CHART" not in os.environ, reason="needs AIRFLOW_CHART, the archive of Airflow's Helm chart"
)
def test_helm_renders_the_values_with_the_image_alone():
    """With Helm as a library (the Python package helm-python-sdk) and the chart in a file."""
    helm = pytest.importorskip("helm_python")
    values, image = yaml.safe_load((INFRA / "helm" / "values.yaml").read_text()), (INFRA / "Dockerfile").read_text()
    with helm.Chart.load(os.environ["AIRFLOW_CHART"]) as chart:
        chart.validate_schema(values)
        assert set(values) <= set(chart.values), "its schema lets unknown keys pass"
        files = chart.render(values, name="narrows", namespace="narrows")
    files = {name: text for name, text in files.items() if not name.endswith("NOTES.txt")}
    made, text = [each for one in files.values() for each in yaml.safe_load_all(one) if each], "\n".join(files.values())
    assert {each["kind"] for each in made} >= {"Deployment", "Job", "ConfigMap"}
    assert set(re.findall(r"image: (\S+)", text)) == {"narrows:latest"}
    for path in {"/opt/airflow", *re.findall(r"exec (/\S+) ", text)}:
        assert re.search(rf"{path}\b", image), path
    assert "/clean-logs" not in text, "a script of another image"


def test_a_container_gives_libpq_its_passwords(tmp_path):
    (tmp_path / "postgres-airflow").write_text("a secret")
    (tmp_path / "postgres-serving").write_text("another")
    env = {**os.environ, "SECRETS": str(tmp_path), "PGPASSFILE": str(tmp_path / "pgpass")}
    done = subprocess.run(
        [INFRA / "entrypoint.sh", "sh", "-c", "cat $PGPASSFILE"], env=env, capture_output=True, text=True
    )
    assert done.stdout.split("\n")[:2] == ["postgres:5432:*:airflow:a secret", "postgres:5432:*:serving:another"]
    assert stat.S_IMODE((tmp_path / "pgpass").stat().st_mode) == 0o600
