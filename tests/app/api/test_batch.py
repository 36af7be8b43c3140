"""Several photos in one request: each is answered for itself."""

import base64
import io
import json
import logging
import zipfile
from typing import Any

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import Stub, assert_problem, engine_of, photos, picture

URL = "/cartoonize/batch"


def test_each_photo_gets_its_own_answer(
    client: TestClient, pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo)
    response = client.post(URL, files=photos(photo, picture(), b"text", b"", photo))
    assert response.status_code == 200
    items = response.json()["items"]
    assert [item["index"] for item in items] == [0, 1, 2, 3, 4]
    assert [item["status"] for item in items] == [200, 422, 415, 400, 200]
    for item in (items[0], items[4]):
        assert base64.b64decode(item["data"]) == expected
        assert item["media_type"] == "image/png"
        single = client.post("/cartoonize", content=photo, headers={"content-type": "image/jpeg"})
        assert item["etag"] == single.headers["etag"]
    codes = [item["problem"]["code"] for item in items[1:4]]
    assert codes == ["no_face", "unsupported_format", "photo_missing"]
    assert items[1]["problem"]["request_id"] == response.headers["x-request-id"]


def test_options_hold_for_all(client: TestClient, pipeline: Pipeline, photo: bytes) -> None:
    form = client.post(URL, files=photos(photo), data={"format": "webp", "background": "#102030"})
    query = client.post(f"{URL}?format=webp&background=%23102030", files=photos(photo))
    assert form.json() == query.json()
    assert form.json()["items"][0]["media_type"] == "image/webp"


def test_a_zip_holds_the_pictures_and_what_became_of_each(
    client: TestClient, pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo)
    headers = {"accept": "application/zip"}
    response = client.post(URL, files=photos(picture(), photo), headers=headers)
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["1.png", "items.json"]
        assert archive.read("1.png") == expected
        items = json.loads(archive.read("items.json"))["items"]
    assert [(item["status"], item.get("file")) for item in items] == [(422, None), (200, "1.png")]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"files": [("other", b"x")]}, 400, "photo_missing"),
        ({"content": b"\xff\xd8\xff", "headers": {"content-type": "image/jpeg"}}, 400, None),
        ({"files": photos(b"x"), "headers": {"accept": "image/png"}}, 406, "not_acceptable"),
        ({"files": photos(b"x"), "data": {"format": "gif"}}, 422, "invalid_option"),
        ({"files": photos(*[b"x"] * 17)}, 413, "too_many_photos"),
        ({"files": photos(*[b"x"] * 1001)}, 400, "malformed_request"),
    ],
)
def test_a_bad_request_is_named(
    client: TestClient, request_: dict[str, Any], status: int, code: str | None
) -> None:
    assert_problem(client.post(URL, **request_), status, code or "malformed_request")


def test_a_body_over_its_own_limit_is_refused(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_body_bytes=1_000, max_batch_bytes=len(photo) + 1_000)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        assert client.post(URL, files=photos(photo)).status_code == 200
        assert_problem(client.post(URL, files=photos(photo, photo)), 413, "body_too_large")


def test_what_finds_no_room_is_refused_by_itself(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_queue=2)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        items = client.post(URL, files=photos(*[photo] * 6)).json()["items"]
    statuses = [item["status"] for item in items]
    assert statuses.count(200) >= 2
    refused = [item["problem"]["code"] for item in items if item["status"] == 503]
    assert refused == ["overloaded"] * (6 - statuses.count(200))
    assert refused


def test_pictures_of_a_batch_have_as_much_room_as_its_body(pipeline: Pipeline) -> None:
    """16 scenes of a few megabytes each make pictures of half a gigabyte."""
    settings = Settings(threads=1, max_body_bytes=1_000, max_batch_bytes=250_000)
    app = create_app(settings, lambda _: pipeline)
    with TestClient(app) as client:
        app.state.engine.pipeline = Stub(lambda *_: [bytes(100_000)])
        items = client.post(URL, files=photos(*[b"x"] * 4)).json()["items"]
        app.state.engine.pipeline = pipeline
        assert [item["status"] for item in items] == [200, 200, 413, 413]
        assert items[3]["problem"]["code"] == "too_much_memory"
        assert app.state.engine.held_bytes == 0


def test_pictures_of_batches_share_the_room_of_bodies(pipeline: Pipeline, photo: bytes) -> None:
    (drawn,) = pipeline.cartoonize(photo)
    body = len(photo) + 10_000
    settings = Settings(
        threads=1,
        max_body_bytes=1_000,
        max_batch_bytes=body + len(drawn),
        max_buffered_bytes=body + len(drawn),
    )
    app = create_app(settings, lambda _: pipeline)
    with TestClient(app) as client:
        engine = app.state.engine
        assert client.post(URL, files=photos(photo)).json()["items"][0]["status"] == 200
        with engine.hold(len(drawn)):  # another batch's
            (item,) = client.post(URL, files=photos(photo)).json()["items"]
        assert (item["status"], item["problem"]["code"]) == (503, "overloaded")
        assert engine.held_bytes == 0


def test_a_bug_in_one_costs_the_others_nothing(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    engine = engine_of(client)
    pipeline = engine.pipeline

    def work(data: bytes, *rest: Any) -> list[bytes]:
        if data == b"poison":
            raise KeyError("the inner secret")
        return pipeline.cartoonize(data, *rest)

    engine.pipeline = Stub(work)  # type: ignore[assignment]
    response = client.post(URL, files=photos(b"poison", photo))
    engine.pipeline = pipeline
    assert [item["status"] for item in response.json()["items"]] == [500, 200]
    assert "secret" not in response.text
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


def test_openapi_describes_it(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"][URL]["post"]
    schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["photo"]["type"] == "array"
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "application/zip"}
