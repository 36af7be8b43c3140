"""What the tests of the API share."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.app.fakes import Stub, engine_of


@pytest.fixture
def stubbed(client: TestClient) -> Iterator[Any]:
    """Let a test replace the work behind the running app."""
    engine = engine_of(client)
    pipeline = engine.pipeline

    def replace(work: Any) -> None:
        engine.pipeline = Stub(work)  # type: ignore[assignment]

    yield replace
    engine.pipeline = pipeline
