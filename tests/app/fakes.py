"""What the tests of several rooms share: photos and forms, stand-ins, and ways to do harm."""

import asyncio
import ctypes
import io
import threading
from types import SimpleNamespace
from typing import Any, cast

import httpx2
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.drawer import Drawer
from photo2cartoon.pipeline.styles import Styles
from photo2cartoon_models.manifest import load_manifest

PNG = {"content-type": "image/png"}


def picture(format_name: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    """A picture file without a face."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "green").save(buffer, format_name)
    return buffer.getvalue()


def upload(data: bytes, name: str = "photo") -> dict[str, Any]:
    """What a client needs to send `data` as the one file of a form."""
    return {"files": {name: ("me.jpg", data, "image/jpeg")}}


def photos(*files: bytes) -> list[Any]:
    """The files of a form for `/cartoonize/batch`."""
    return [("photo", (f"me-{index}.jpg", data)) for index, data in enumerate(files)]


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, once all that must hold for every one of them holds for it."""
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    return body


class Stub:
    """A pipeline whose work is whatever a test wants."""

    batchers = ()
    failing = ""
    styles = Styles({LITE: cast("Drawer", SimpleNamespace(model=load_manifest()[LITE]))})

    def __init__(self, work: Any) -> None:
        self.cartoonize = work

    def close(self) -> None:
        pass


def engine_of(client: TestClient) -> Engine:
    """The engine behind a client's application, once it has started."""
    app: Any = client.app
    engine: Engine = app.state.engine
    return engine


def cartoonize_many(engine: Engine, files: list[bytes]) -> list[bytes]:
    """Draw PNG files of many photos at the same time."""
    options = Options(format="png")

    async def draw(photo: bytes) -> bytes:
        etag = await engine.name(photo, options)
        return await engine.cartoonize(photo, options, Ticket(), etag)

    async def run() -> list[bytes]:
        return await asyncio.gather(*(draw(photo) for photo in files))

    return asyncio.run(run())


class Clock:
    """Time in seconds that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def kill(thread: threading.Thread) -> None:
    """End a thread as nothing in it expects."""
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit)
    )
