"""What many tests share: one photo, the real pipeline, the app, and a real server process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Self

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline

ROOT = Path(__file__).parent.parent
PHOTO = ROOT / "examples" / "photos" / "astronaut.jpg"


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
    return Settings(threads=1)


@pytest.fixture(scope="session")
def pipeline(settings: Settings) -> Pipeline:
    """The real thing: the embedded models, loaded once."""
    return open_pipeline(settings)


@pytest.fixture
def client(settings: Settings, pipeline: Pipeline) -> Iterator[TestClient]:
    """The app on the real pipeline, without a socket."""
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        yield client


class Server:
    """A `photo2cartoon serve` process on a free port of this machine."""

    def __init__(
        self, program: str = "from photo2cartoon.cli.main import main; main()", **environment: str
    ) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("P2C_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "serve"],
            cwd=ROOT,
            env={**plain, "P2C_PORT": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._ready: Queue[str | None] = Queue()
        # A pipe that nobody empties would stop the server after some hundred log lines.
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        url = self._ready.get(timeout=60)
        if url is None:
            raise RuntimeError("the server stopped: " + "".join(self.lines))
        self.url = url

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(text)
            if '"event": "ready"' in text:
                self._ready.put(json.loads(text)["url"])
        self._ready.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop and wait for its end; its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One server for every test that only sends it requests."""
    server = Server()
    yield server
    server.stop()
