"""A server whose answers a test decides."""

from collections.abc import Iterator

import pytest

from tests.benchmarks.tiny_server import TinyServer


@pytest.fixture
def tiny_server() -> Iterator[TinyServer]:
    server = TinyServer()
    yield server
    server.stop()
