"""An empty serving database."""

from __future__ import annotations

import pytest

from narrows.serving import schema


@pytest.fixture
def engine(tmp_path):
    engine = schema.open_engine(f"sqlite:///{tmp_path}/state/serving.db")
    schema.create(engine)
    yield engine
    engine.dispose()
