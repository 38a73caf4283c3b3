"""One run of a DAG in this process, with no scheduler and no server: ``python -m narrows.cli.dag_alone FOLDER DAG CONF``.

It is `airflow dags test` without Airflow's command line, whose imports and second look at the DAG files take time,
and with garbage collected rarely: Airflow keeps a million objects to the end. Both are a third of a run whose
tables are all cached.
"""

from __future__ import annotations

import json
import sys

from narrows.engine.garbage import rarely_collected


def main(folder: str, dag_id: str, conf: str) -> int:
    """Run the DAG once with the JSON object ``conf``; the exit status is 0 when every task succeeded, else 1."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(folder, bundle_path=None)
    if dag_id not in bag.dags:
        print(f"{folder} has no DAG {dag_id!r}. {bag.import_errors or ''}", file=sys.stderr)
        return 1
    return 0 if bag.dags[dag_id].test(run_conf=json.loads(conf)).state == "success" else 1


if __name__ == "__main__":
    with rarely_collected():
        code = main(*sys.argv[1:])
    sys.exit(code)
