"""What many tests share: one photo, the real pipeline, the app, and a real server process."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.places import PHOTO
from tests.server import Server


@pytest.fixture
def anyio_backend() -> str:
    """Coroutines under test run on asyncio, as they do under uvicorn."""
    return "asyncio"


@pytest.fixture(scope="session")
def photo() -> bytes:
    """512 x 512 JPEG with one face, its landmark box about 106 px high."""
    return PHOTO.read_bytes()


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(threads=1, generator=Path(LITE))


@pytest.fixture(scope="session")
def pipeline(settings: Settings) -> Pipeline:
    """The real thing: the embedded models, loaded once."""
    return open_pipeline(settings)


@pytest.fixture
def client(settings: Settings, pipeline: Pipeline) -> Iterator[TestClient]:
    """The app on the real pipeline, without a socket."""
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        yield client


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for every test that only sends it requests."""
    server = Server()
    yield server
    server.stop()
