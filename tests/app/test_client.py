"""The client in Python: what it sends, what it returns, when it asks again, what it raises."""

import base64
import io
import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image

import photo2cartoon
from photo2cartoon import AsyncClient, Client, NoFaceFound, Problem, UnsupportedFormat
from photo2cartoon.client.exchange import BatchItem, Cartoon
from photo2cartoon.ground.errors import (
    InvalidOption,
    MethodNotAllowed,
    Overloaded,
    TooManyPhotos,
    Unauthorized,
)
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import picture
from tests.places import PHOTO, ROOT
from tests.scripted import Answer, ScriptedServer
from tests.server import Server

BUSY = Overloaded(retry_after_s=3)
DATA = base64.b64encode(b"PNG").decode()


def problem(kind: Problem, **headers: str) -> Answer:
    named = {"Content-Type": "application/problem+json", **kind.headers, **headers}
    return kind.status, named, json.dumps(kind.body("abc")).encode()


def drawn() -> Answer:
    image = f"data:image/png;base64,{DATA}"
    shown = {"faces": [0], "media_type": "image/png", "width": 8, "height": 9, "image": image}
    shown["from_photo"] = [[1, 0, 0], [0, 1, 0]]
    document = {"style": "comic", "faces": [{"index": 0}], "pictures": [shown], "etag": "x"}
    return 200, {"Content-Type": "application/json; charset=utf-8"}, json.dumps(document).encode()


@pytest.fixture(params=["blocking", "coroutines"])
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a method of one client or the other; the pauses that it takes are not waited for."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("photo2cartoon.client.time.sleep", pauses.append)
    monkeypatch.setattr("photo2cartoon.client.anyio.sleep", pause)

    def call(
        method: str, url: str, photo: Any = b"photo", deadline_s: float = 60, **more: Any
    ) -> Any:
        key = more.pop("api_key", None)
        if request.param == "blocking":
            with Client(url, api_key=key, deadline_s=deadline_s) as one:
                return getattr(one, method)(photo, **more)

        async def run() -> Any:
            async with AsyncClient(url, api_key=key, deadline_s=deadline_s) as one:
                return await getattr(one, method)(photo, **more)

        return anyio.run(run)

    call.pauses = pauses  # type: ignore[attr-defined]
    return call


@pytest.fixture
def draw(call: Any) -> Any:
    """Draw one photo."""

    def draw(*given: Any, **more: Any) -> Cartoon:
        drawn: Cartoon = call("cartoonize", *given, **more)
        return drawn

    draw.pauses = call.pauses  # type: ignore[attr-defined]
    return draw


@pytest.fixture
def batch(call: Any) -> Any:
    """Draw several photos."""

    def batch(*given: Any, **more: Any) -> list[BatchItem]:
        items: list[BatchItem] = call("batch", *given, **more)
        return items

    batch.pauses = call.pauses  # type: ignore[attr-defined]
    return batch


def test_a_service_draws_what_the_pipeline_draws(
    server: Server, draw: Any, pipeline: Pipeline, photo: bytes
) -> None:
    expected = pipeline.cartoonize(photo, Options(style=LITE, format="webp", quality=80))
    for given in (PHOTO, str(PHOTO), photo, bytearray(photo), io.BytesIO(photo)):
        cartoon = draw(server.url, given, style=LITE, format="webp", quality=80, size=None)
        assert [cartoon.picture] == expected
    assert (cartoon.style, cartoon.size) == (LITE, (256, 256))
    assert cartoon.pictures[0].media_type == "image/webp"
    (face,) = cartoon.faces
    assert face["drawn"]
    assert face["box"][0] < face["box"][2] < 512
    assert cartoon.facts["photo"] == {"width": 512, "height": 512}
    (right, _, _), (_, down, _) = cartoon.pictures[0].from_photo
    assert 1 < right == down < 2


def test_all_faces_are_several_pictures(server: Server, draw: Any, photo: bytes) -> None:
    one = Image.open(PHOTO)
    two = Image.new("RGB", (2 * one.width, one.height))
    two.paste(one, (0, 0))
    two.paste(one, (one.width, 0))
    buffer = io.BytesIO()
    two.save(buffer, "JPEG")
    cartoon = draw(server.url, buffer.getvalue(), faces="all")
    assert [one.faces for one in cartoon.pictures] == [(0,), (1,)]
    assert draw(server.url, buffer.getvalue(), faces=1).pictures[0].faces == (1,)


def test_a_refusal_is_the_problem_that_drawing_here_raises(server: Server, draw: Any) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        draw(server.url, b"no picture at all")
    refused = caught.value
    assert (refused.status, refused.code) == (415, "unsupported_format")
    assert (refused.title, str(refused)) == (UnsupportedFormat.title, refused.detail)
    assert refused.__notes__[0].startswith("request id: ")
    with pytest.raises(NoFaceFound):
        draw(server.url, picture())
    with pytest.raises(InvalidOption, match="An unknown option"):
        draw(server.url, PHOTO, stlye="comic")
    with pytest.raises(FileNotFoundError):
        draw(server.url, "nowhere.jpg")


def test_each_photo_of_a_batch_has_its_picture_or_its_problem(
    server: Server, batch: Any, pipeline: Pipeline, photo: bytes
) -> None:
    expected = pipeline.cartoonize(photo, Options(style=LITE, format="webp"))
    given = iter([PHOTO, picture(), io.BytesIO(photo), b"no picture at all"])
    drawn, nobody, same, text = batch(server.url, given, style=LITE, format="webp", size=None)
    assert [drawn.picture] == [same.picture] == expected
    assert (drawn.media_type, drawn.problem) == ("image/webp", None)
    assert isinstance(nobody.problem, NoFaceFound)
    assert isinstance(text.problem, UnsupportedFormat)
    assert (text.picture, text.problem.status) == (b"", 415)
    assert text.problem.__notes__[0].startswith("request id: ")
    assert batch(server.url, []) == []
    with pytest.raises(InvalidOption, match="faces=all needs compose=scene"):
        batch(server.url, [photo], faces="all")
    with pytest.raises(TooManyPhotos):
        batch(server.url, [b"x"] * 17)
    with pytest.raises(FileNotFoundError):
        batch(server.url, [photo, "nowhere.jpg"])


def items(*statuses: int) -> Answer:
    """The answer to a batch whose photos have these statuses."""
    members = [
        {"index": place, "status": status}
        | ({"media_type": "image/png", "data": DATA} if status == 200 else {})
        | ({"problem": BUSY.body("abc")} if status == 503 else {})
        for place, status in enumerate(statuses)
    ]
    body = json.dumps({"items": members}).encode()
    return 200, {"Content-Type": "application/json"}, body


def test_what_finds_no_room_is_sent_again_and_nothing_else(batch: Any) -> None:
    answers = [items(503, 200, 503), problem(BUSY), items(503, 200), items(200)]
    with ScriptedServer(answers) as server:
        drawn = batch(server.url, [b"first", b"second", b"third"], style="comic")
    assert [one.picture for one in drawn] == [b"PNG"] * 3
    paths, _, bodies = zip(*server.requests, strict=True)
    assert set(paths) == {"/cartoonize/batch?style=comic"}
    names = (b"first", b"second", b"third")
    sent = [[name for name in names if name in body] for body in bodies]
    assert sent == [list(names), [b"first", b"third"], [b"first", b"third"], [b"first"]]
    assert len(batch.pauses) == 3
    with ScriptedServer([items(200, 503)]) as server:
        drawn, late = batch(server.url, [b"first", b"second"], deadline_s=0.2)
    assert drawn.picture == b"PNG"
    assert isinstance(late.problem, Overloaded)


def test_a_batch_is_drawn_by_a_service_with_little_room(photo: bytes) -> None:
    with Server(P2C_THREADS="1", P2C_MAX_QUEUE="0") as server, Client(server.url) as one:
        drawn = one.batch([photo] * 3, style=LITE)
    assert len({item.picture for item in drawn}) == 1
    assert drawn[0].picture


def test_the_styles_are_those_of_the_service(server: Server) -> None:
    async def call() -> list[dict[str, Any]]:
        async with AsyncClient(server.url) as one:
            return await one.styles()

    with Client(server.url) as one:
        styles = one.styles()
    assert [style["name"] for style in styles] == ["comic", LITE]
    assert styles[0]["default"]
    assert anyio.run(call) == styles


def test_a_key_opens_a_service_that_has_keys(draw: Any) -> None:
    keys = f"me:{sha256(b'secret').hexdigest()}"
    with Server(P2C_API_KEYS=keys, P2C_THREADS="1") as server:
        with pytest.raises(Unauthorized):
            draw(server.url, PHOTO)
        assert draw(server.url, PHOTO, api_key="secret").size[0] >= 256


def test_a_full_service_is_asked_until_it_has_room(photo: bytes) -> None:
    def call(_: int) -> Cartoon:
        return one.cartoonize(photo, style=LITE)

    with (
        Server(P2C_THREADS="1", P2C_MAX_QUEUE="0") as server,
        Client(server.url) as one,
        ThreadPoolExecutor(4) as pool,
    ):
        cartoons = list(pool.map(call, range(4)))
    assert len({cartoon.picture for cartoon in cartoons}) == 1
    assert any('"code": "overloaded"' in line for line in server.lines)


def test_it_waits_as_long_as_it_is_asked_to(draw: Any) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    date = problem(BUSY, **{"Retry-After": soon})
    with ScriptedServer([problem(BUSY), date, drawn()]) as server:
        cartoon = draw(f"{server.url}/toon/", faces=0)
    assert (cartoon.picture, cartoon.size, cartoon.style) == (b"PNG", (8, 9), "comic")
    first, second = draw.pauses
    assert 3 <= first < 4
    assert 20 < second < 31
    paths, headers, bodies = zip(*server.requests, strict=True)
    assert set(paths) == {"/toon/cartoonize?faces=0"}
    assert set(bodies) == {b"photo"}
    left = [int(one["x-request-timeout-ms"]) for one in headers]
    assert 60_000 >= left[0] >= left[1] >= left[2] > 0
    assert "authorization" not in headers[0]


def test_it_does_not_wait_beyond_its_deadline(draw: Any) -> None:
    with ScriptedServer([problem(BUSY)]) as server, pytest.raises(Overloaded) as caught:
        draw(server.url, deadline_s=2.9)
    assert caught.value.retry_after_s == 3
    assert len(server.requests) == 1
    assert draw.pauses == []


def test_what_will_not_pass_is_not_asked_again(draw: Any) -> None:
    with ScriptedServer([problem(MethodNotAllowed())]) as server, pytest.raises(MethodNotAllowed):
        draw(server.url)
    assert len(server.requests) == 1


def test_answers_of_others_are_problems_too(draw: Any) -> None:
    page = {"Content-Type": "text/html"}
    with ScriptedServer([(502, page, b"<p>"), (502, page, b"<p>"), drawn()]) as server:
        assert draw(server.url).picture == b"PNG"
    first, second = draw.pauses
    assert 0.25 <= first <= 0.5
    assert 0.5 <= second <= 1
    for status in (200, 307, 404):
        with ScriptedServer([(status, page, b"<p>")]) as server, pytest.raises(Problem) as caught:
            draw(server.url)
        assert (caught.value.status, caught.value.code) == (status, "unexpected_answer")
        assert str(status) in str(caught.value)
    new = json.dumps({"code": "not_yet_known", "title": "New", "detail": "Says what."}).encode()
    kind = {"Content-Type": "application/problem+json"}
    with ScriptedServer([(422, kind, new)]) as server, pytest.raises(Problem) as caught:
        draw(server.url)
    told = caught.value
    assert (told.code, told.title, str(told)) == ("not_yet_known", "New", "Says what.")


def test_a_connection_that_ends_is_tried_three_times(draw: Any) -> None:
    with ScriptedServer([None, None, drawn()]) as server:
        assert draw(server.url).picture == b"PNG"
    assert len(draw.pauses) == 2
    with ScriptedServer([None]) as server, pytest.raises(ConnectionError, match="no answer"):
        draw(server.url)
    assert len(server.requests) == 3
    with pytest.raises(ConnectionError, match="no answer"):
        draw("http://127.0.0.1:1")


def test_a_service_that_says_nothing_is_a_timeout(draw: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(TimeoutError, match="deadline"):
            draw(f"http://{host}:{port}", deadline_s=0.2)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://[", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ValueError, match=r"address of HTTP|Invalid"):
            kind(url)


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['httpx2'] = None\n"
        "import photo2cartoon; from photo2cartoon import *\n"
        "assert {'Client', 'AsyncClient'} < set(dir(photo2cartoon))\n"
        "photo2cartoon.Client\n"
    )
    environment = {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'models'}"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = "ImportError: httpx2 is not installed: pip install 'photo2cartoon[client]'"
    assert done.stderr.splitlines()[-1] == said


def test_the_client_loads_no_network() -> None:
    program = "import sys, photo2cartoon; photo2cartoon.Client; print(*sys.modules)"
    environment = {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'models'}"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not {"cv2", "numpy", "onnxruntime", "fastapi"} & set(done.stdout.split())
    assert photo2cartoon.Client is Client
