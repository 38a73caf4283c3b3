"""What the libraries would send to their makers, turned off before any of them is imported."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

OFF = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",  # an OTEL_EXPORTER_* of the machine would send traces of Airflow and MLflow
    "DO_NOT_TRACK": "1",  # what tools agree on; MLflow takes only its own
}
"""Environment variables and their values; `docs/network.md` says what each is for."""


def turn_off(env: MutableMapping[str, str] = os.environ) -> None:
    """Turn reports off in an environment, whatever it says now; processes started with it inherit that."""
    env.update(OFF)
