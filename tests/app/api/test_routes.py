"""The service over HTTP, in process, on the real pipeline."""

import asyncio
import io
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import Overloaded
from photo2cartoon.ground.options import parse_options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.drawer import StagedDrawer
from photo2cartoon.pipeline.pipeline import Pipeline

PNG = {"content-type": "image/png"}


def picture(format_name: str = "PNG", size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "green").save(buffer, format_name)
    return buffer.getvalue()


def upload(data: bytes, name: str = "photo") -> dict[str, Any]:
    return {"files": {name: ("me.jpg", data, "image/jpeg")}}


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert body["request_id"] == response.headers["x-request-id"]
    return body


def test_a_multipart_photo_becomes_a_png(client: TestClient, photo: bytes) -> None:
    response = client.post("/cartoonize", **upload(photo))
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.headers["cache-control"] == "private, no-cache"
    assert Image.open(io.BytesIO(response.content)).size == (256, 256)


def test_a_raw_body_gives_the_same_cartoon(
    client: TestClient, pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo)
    for media_type in ("image/jpeg", "image/png", "IMAGE/JPEG; q=1", "application/octet-stream"):
        response = client.post("/cartoonize", content=photo, headers={"content-type": media_type})
        assert response.content == expected
    assert client.post("/cartoonize", **upload(photo)).content == expected


@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        (None, "", "image/png"),
        ("*/*", "", "image/png"),
        ("image/*", "", "image/png"),
        ("image/webp", "", "image/webp"),
        ("image/jpeg;q=0.5, image/webp;q=0.9", "", "image/webp"),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "", "image/webp"),
        ("text/html, image/jpeg;q=0.1", "", "image/jpeg"),
        ("image/webp", "?format=jpeg", "image/jpeg"),
        ("text/html", "?format=webp", "image/webp"),
    ],
)
def test_the_format_is_negotiated(
    client: TestClient, photo: bytes, accept: str | None, query: str, expected: str
) -> None:
    headers = {"content-type": "image/jpeg"} | ({"accept": accept} if accept else {})
    response = client.post(f"/cartoonize{query}", content=photo, headers=headers)
    assert response.headers["content-type"] == expected
    assert response.headers["vary"] == "Accept"
    kind = Image.open(io.BytesIO(response.content)).format
    assert f"image/{str(kind).lower()}" == expected


def test_the_format_may_be_a_form_field(client: TestClient, photo: bytes) -> None:
    response = client.post("/cartoonize", **upload(photo), data={"format": "jpeg"})
    assert response.headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"", "headers": PNG}, 400, "photo_missing"),
        ({}, 400, "photo_missing"),
        (upload(b""), 400, "photo_missing"),
        (upload(b"x", name="picture"), 400, "photo_missing"),
        ({"data": {"photo": "text"}, "files": {"x": b"y"}}, 400, "photo_missing"),
        (
            {"content": b"nonsense", "headers": {"content-type": "multipart/form-data"}},
            400,
            "malformed_request",
        ),
        (
            {
                "content": b"no boundary",
                "headers": {"content-type": "multipart/form-data; boundary=x"},
            },
            400,
            "malformed_request",
        ),
        ({"files": [("photo", b"1"), ("photo", b"2")]}, 400, "malformed_request"),
        ({"data": {"photo": "x"}}, 415, "unsupported_format"),
        ({"json": {"photo": "x"}}, 415, "unsupported_format"),
        (upload(b"just text"), 415, "unsupported_format"),
        (upload(picture("PPM")), 415, "unsupported_format"),
        (upload(picture("GIF")), 422, "no_face"),
        (upload(picture()[:60]), 422, "undecodable_image"),
        (upload(picture()), 422, "no_face"),
        (upload(picture(size=(1, 1))), 422, "no_face"),
    ],
)
def test_bad_input_is_named(
    client: TestClient, request_: dict[str, Any], status: int, code: str
) -> None:
    assert_problem(client.post("/cartoonize", **request_), status, code)


@pytest.mark.parametrize("query", ["format=gif", "format=", "colour=red", "format=png&format=png"])
def test_a_bad_option_is_named(client: TestClient, photo: bytes, query: str) -> None:
    response = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
    assert_problem(response, 422, "invalid_option")


def test_a_bad_form_field_is_named(client: TestClient, photo: bytes) -> None:
    for data in ({"format": "bmp"}, {"colour": "png"}):
        response = client.post("/cartoonize", **upload(photo), data=data)
        assert_problem(response, 422, "invalid_option")


@pytest.mark.parametrize("accept", ["text/html", "image/avif", "image/png;q=0", "nonsense"])
def test_an_impossible_accept_is_named(client: TestClient, photo: bytes, accept: str) -> None:
    response = client.post("/cartoonize", content=photo, headers={**PNG, "accept": accept})
    assert_problem(response, 406, "not_acceptable")


def test_unknown_addresses_and_methods(client: TestClient) -> None:
    assert_problem(client.get("/nothing/here"), 404, "not_found")
    response = client.get("/cartoonize")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_nothing_of_the_input_is_echoed(client: TestClient) -> None:
    secret = "s3cr3t"
    answers = [
        client.get(f"/{secret}"),
        client.post(f"/cartoonize?{secret}={secret}", content=picture(), headers=PNG),
        client.post("/cartoonize", content=picture(), headers={**PNG, "accept": f"{secret}/x"}),
        client.post("/cartoonize", files={secret: (secret, secret.encode(), f"image/{secret}")}),
        client.post("/cartoonize", content=secret.encode(), headers={"content-type": secret}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert secret not in answer.text
        assert secret not in str(answer.headers)


@pytest.mark.parametrize("declared", [True, False], ids=["declared length", "chunked"])
def test_a_body_over_the_limit_is_refused(pipeline: Pipeline, photo: bytes, declared: bool) -> None:
    settings = Settings(threads=1, max_body_bytes=len(photo) - 1)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        body: Any = photo if declared else iter([photo[:50_000], photo[50_000:]])
        response = client.post("/cartoonize", content=body, headers=PNG)
        assert_problem(response, 413, "body_too_large")
        assert_problem(client.post("/cartoonize", **upload(photo)), 413, "body_too_large")


def test_a_body_at_the_limit_is_served(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_body_bytes=len(photo))
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        assert client.post("/cartoonize", content=photo, headers=PNG).status_code == 200


def test_the_request_id_is_the_callers_where_it_is_plain(client: TestClient) -> None:
    for given, kept in (("abc-123", True), ("two words", False), ("x" * 65, False), ("", False)):
        response = client.get("/livez", headers={"x-request-id": given})
        assert (response.headers["x-request-id"] == given) is kept
    ids = {client.get("/livez").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_probes(client: TestClient, pipeline: Pipeline) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["waiting"], ready["running"]) == ("ready", 0, 0)
    assert ready["predicted_wait_ms"] == 0
    assert ready["models"] == {model.name: model.sha256 for model in pipeline.models}


def test_a_failing_model_stops_the_start(settings: Settings) -> None:
    def broken(_: Settings) -> Pipeline:
        raise RuntimeError("model broken")

    with (
        pytest.raises(RuntimeError, match="model broken"),
        TestClient(create_app(settings, broken)),
    ):
        pass


class Stub:
    """A pipeline whose work is whatever a test wants."""

    batchers = ()

    def __init__(self, work: Any) -> None:
        self.cartoonize = work

    def close(self) -> None:
        pass


def engine_of(client: TestClient) -> Engine:
    app: Any = client.app
    engine: Engine = app.state.engine
    return engine


@pytest.fixture
def stubbed(client: TestClient) -> Iterator[Any]:
    """Let a test replace the work behind the running app."""
    engine = engine_of(client)
    pipeline = engine.pipeline

    def replace(work: Any) -> None:
        engine.pipeline = Stub(work)  # type: ignore[assignment]

    yield replace
    engine.pipeline = pipeline


def test_a_bug_is_answered_without_internals(
    client: TestClient, stubbed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bytes:
        raise KeyError("the inner secret")

    stubbed(fail)
    response = client.post("/cartoonize", content=picture(), headers=PNG)
    body = assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.fields["request_id"] == body["request_id"]  # type: ignore[attr-defined]
    assert record.exc_info
    assert client.get("/livez").status_code == 200


def test_a_full_service_refuses_and_says_when_to_return(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_queue=0)
    gate, entered = threading.Event(), threading.Event()

    def slow(*_: Any) -> list[bytes]:
        entered.set()
        gate.wait(10)
        return [b"cartoon"]

    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        engine = engine_of(client)
        engine.pipeline = Stub(slow)  # type: ignore[assignment]
        first: list[httpx2.Response] = []
        thread = threading.Thread(
            target=lambda: first.append(client.post("/cartoonize", content=photo, headers=PNG))
        )
        thread.start()
        assert entered.wait(10)
        response = client.post("/cartoonize", content=photo, headers=PNG)
        assert_problem(response, 503, "overloaded")
        assert int(response.headers["retry-after"]) >= 1
        assert client.get("/livez").status_code == 200  # the loop is free
        gate.set()
        thread.join()
        assert first[0].content == b"cartoon"


def test_one_log_line_says_what_happened(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "app.requests"):
        client.post("/cartoonize?format=webp", **upload(photo))
        client.get("/secret/path")
    served, missed = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert (served["route"], served["status"], served["code"]) == ("/cartoonize", 200, "ok")
    assert {"read", "decode", "generate", "encode"} <= set(served["stages_ms"])
    assert (missed["route"], missed["status"], missed["code"]) == (None, 404, "not_found")
    assert "secret" not in json.dumps(missed)
    assert "me.jpg" not in json.dumps(served)


def test_openapi_names_every_answer_and_option(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/cartoonize"]["post"]
    body = operation["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "image/*"}
    assert set(operation["responses"]) == {
        "200", "304", "400", "406", "408", "413", "415", "422", "500", "503", "504"
    }  # fmt: skip
    assert set(operation["responses"]["200"]["content"]) == {
        "image/png",
        "image/jpeg",
        "image/webp",
    }
    options = {"faces", "compose", "background", "format", "quality"}
    headers = {"X-Request-Timeout-Ms", "If-None-Match"}
    assert {parameter["name"] for parameter in operation["parameters"]} == options | headers
    assert set(body["multipart/form-data"]["schema"]["properties"]) == options | {"photo"}


@pytest.mark.parametrize(
    ("query", "mode", "size"),
    [
        ("faces=0", "RGB", (256, 256)),
        ("background=transparent", "RGBA", (256, 256)),
        ("background=%23ff8800", "RGB", (256, 256)),
        ("compose=scene&faces=all", "RGB", (512, 512)),
    ],
)
def test_options_over_http_do_what_they_do_in_python(
    client: TestClient,
    pipeline: Pipeline,
    photo: bytes,
    query: str,
    mode: str,
    size: tuple[int, int],
) -> None:
    response = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
    assert response.status_code == 200
    with Image.open(io.BytesIO(response.content)) as image:
        assert (image.mode, image.size) == (mode, size)
    given = dict(pair.split("=") for pair in query.replace("%23", "#").split("&"))
    assert pipeline.cartoonize(photo, parse_options(given)) == [response.content]
    form = client.post("/cartoonize", **upload(photo), data=given)
    assert form.content == response.content


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("faces=some", "largest, all, or an index"),
        ("faces=-1", "largest, all, or an index"),
        ("faces=all", "needs compose=scene"),
        ("compose=collage", "portrait"),
        ("background=red", "#rrggbb"),
        ("background=white&compose=scene", "for portraits"),
        ("background=transparent&format=jpeg", "JPEG cannot be transparent"),
        ("quality=0", "1 to 100"),
        ("quality=101", "1 to 100"),
        ("style=other", "faces, compose, background, format, quality"),
    ],
)
def test_a_wrong_option_is_explained(
    client: TestClient, photo: bytes, query: str, says: str
) -> None:
    response = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
    assert says in assert_problem(response, 422, "invalid_option")["detail"]


def test_a_face_that_is_not_there(client: TestClient, photo: bytes) -> None:
    response = client.post("/cartoonize?faces=3", content=photo, headers=PNG)
    assert_problem(response, 422, "no_such_face")


def test_transparency_and_accept_must_agree(client: TestClient, photo: bytes) -> None:
    url = "/cartoonize?background=transparent"
    response = client.post(url, content=photo, headers={**PNG, "accept": "image/jpeg"})
    assert_problem(response, 406, "not_acceptable")
    response = client.post(url, content=photo, headers={**PNG, "accept": "image/*"})
    assert response.headers["content-type"] == "image/png"


def test_server_timing_names_every_stage(client: TestClient, photo: bytes) -> None:
    answer = client.post("/cartoonize", content=photo, headers=PNG)
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    stages = ["read", "queue", "decode", "detect", "align", "matte", "compose", "generate"]
    assert list(timing) == [*stages, "encode", "total"]
    times = [float(ms) for ms in timing.values()]
    assert times[-1] >= sum(times[:-1]) * 0.99 > 0
    refused = client.post("/cartoonize", content=picture(), headers=PNG)
    assert "detect;dur=" in refused.headers["server-timing"]  # a problem says it as well
    assert "server-timing" not in client.get("/livez").headers


def test_the_etag_names_the_answer(client: TestClient, photo: bytes, stubbed: Any) -> None:
    first = client.post("/cartoonize", content=photo, headers=PNG)
    etag = first.headers["etag"]
    assert client.post("/cartoonize", **upload(photo)).headers["etag"] == etag
    others = ["?format=jpeg", "?background=transparent", "?quality=50"]
    etags = [
        client.post(f"/cartoonize{query}", content=photo, headers=PNG).headers["etag"]
        for query in others
    ]
    other = client.post("/cartoonize", content=photo + b" ", headers=PNG).headers["etag"]
    assert len({etag, other, *etags}) == 5

    def fail(*_: Any) -> None:
        pytest.fail("it was drawn again")

    stubbed(fail)
    for known in (etag, f'"a", W/{etag}'):
        answer = client.post("/cartoonize", content=photo, headers={**PNG, "if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag


@pytest.mark.parametrize("known", ['"another"', "*", "", "nonsense"])
def test_another_etag_is_drawn(client: TestClient, photo: bytes, known: str) -> None:
    headers = {**PNG, "if-none-match": known}
    assert client.post("/cartoonize", content=photo, headers=headers).status_code == 200


@pytest.mark.parametrize("asked", ["0", "-5", "1.5", "soon", ""])
def test_a_deadline_that_is_none_is_named(client: TestClient, photo: bytes, asked: str) -> None:
    headers = {**PNG, "x-request-timeout-ms": asked}
    response = client.post("/cartoonize", content=photo, headers=headers)
    assert "X-Request-Timeout-Ms" in assert_problem(response, 422, "invalid_option")["detail"]


def test_a_deadline_that_passes_is_a_504(client: TestClient, photo: bytes) -> None:
    headers = {**PNG, "x-request-timeout-ms": "1"}
    response = client.post("/cartoonize", content=photo, headers=headers)
    assert_problem(response, 504, "deadline_passed")
    headers["x-request-timeout-ms"] = "99999999"  # more than the most: cut to it
    assert client.post("/cartoonize", content=photo, headers=headers).status_code == 200


def test_who_would_be_late_is_refused_before_its_body_is_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = engine_of(client).lanes
    lanes.times.mean = 10.0
    monkeypatch.setattr(type(lanes), "predicted_wait_s", 5.0)

    def fail(*_: Any) -> None:
        pytest.fail("the body was read")

    monkeypatch.setattr("photo2cartoon.api.routes.read_photo", fail)
    headers = {**PNG, "x-request-timeout-ms": "1000"}
    response = client.post("/cartoonize", content=picture(), headers=headers)
    assert_problem(response, 503, "would_be_late")
    assert response.headers["retry-after"] == "14"  # it waits 5 s, takes 10, and has 1


def test_a_body_that_never_ends_is_ended(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, upload_timeout_s=0.05)

    async def slow_body() -> AsyncIterator[bytes]:
        yield photo[:100]
        await asyncio.sleep(30)

    async def post() -> httpx2.Response:
        app = create_app(settings, lambda _: pipeline)
        app.state.engine = Engine(settings, lambda _: pipeline)
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.post("/cartoonize", content=slow_body(), headers=PNG)
        app.state.engine.lanes.close()
        return answer

    assert_problem(asyncio.run(post()), 408, "upload_timeout")


def test_bodies_at_hand_are_bounded(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(
        threads=1, max_body_bytes=200_000, max_batch_bytes=200_000, max_buffered_bytes=200_000
    )
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        engine = engine_of(client)
        with engine.body(len(photo)), engine.body(200_000 - 2 * len(photo) + 1):
            response = client.post("/cartoonize", content=photo, headers=PNG)
            assert_problem(response, 503, "overloaded")
        assert client.post("/cartoonize", content=photo, headers=PNG).status_code == 200
        with pytest.raises(Overloaded), engine.body(200_001):
            pass


def test_nothing_usable_drawn_is_named(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = engine_of(client).pipeline.drawer
    assert isinstance(drawer, StagedDrawer)
    generator = drawer.generator
    run, calls = generator.run, list[int]()

    def broken(value: float, times: int) -> Any:
        def run_broken(batch: Any, ticket: Any = None) -> Any:
            calls.append(1)
            good = run(batch, ticket)
            return [np.full_like(good[0], value)] if len(calls) <= times else good

        return run_broken

    expected = client.post("/cartoonize", content=photo, headers=PNG).content
    for value in (np.nan, np.inf, 0.5):
        calls.clear()
        monkeypatch.setattr(generator, "run", broken(value, times=2))
        response = client.post("/cartoonize", content=photo, headers=PNG)
        assert_problem(response, 500, "unusable_output")
        calls.clear()
        monkeypatch.setattr(generator, "run", broken(value, times=1))  # the second try is good
        assert client.post("/cartoonize", content=photo, headers=PNG).content == expected


def test_probes_tell_draining_from_dead(client: TestClient, photo: bytes) -> None:
    engine = engine_of(client)
    engine.draining = True
    assert client.get("/readyz").json()["status"] == "draining"
    assert client.get("/readyz").status_code == 503
    assert client.get("/livez").status_code == 200
    answer = client.post("/cartoonize", content=photo, headers=PNG)
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    engine.draining = False
    engine.lanes._dead = 1
    for probe in ("/livez", "/readyz"):
        assert client.get(probe).status_code == 503
        assert client.get(probe).json()["status"] == "dead"
