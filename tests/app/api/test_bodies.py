"""Bodies: photos and options are read within limits, and what is wrong with them is named."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import Overloaded
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, assert_problem, engine_of, picture, upload

JSON = {"content-type": "application/json"}
CODING = "unsupported_coding"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"", "headers": PNG}, 400, "photo_missing"),
        ({}, 400, "photo_missing"),
        (upload(b""), 400, "photo_missing"),
        (upload(b"x", name="picture"), 415, "unsupported_format"),
        ({"data": {"photo": "text"}, "files": {"x": b"y"}}, 400, "malformed_request"),
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
        ({"json": {"photo": "x"}}, 400, "malformed_request"),
        ({"json": {"photo": "data:image/png,x"}}, 400, "malformed_request"),
        ({"json": {"photo": ["eA=="]}}, 400, "malformed_request"),
        ({"json": {"photo": "dGV4dA=="}}, 415, "unsupported_format"),
        ({"json": {"image": "dGV4dA=="}}, 400, "photo_missing"),
        ({"json": {"photo": ""}}, 400, "photo_missing"),
        ({"json": ["photo", "dGV4dA=="]}, 400, "malformed_request"),
        ({"content": b"{", "headers": JSON}, 400, "malformed_request"),
        ({"content": b"[" * 200_000, "headers": JSON}, 400, "malformed_request"),
        (
            {"content": b'{"photo":"YQ==","photo":"YQ=="}', "headers": JSON},
            400,
            "malformed_request",
        ),
        ({"content": b'{"photo":"YQ==","x":"\xff"}', "headers": JSON}, 400, "malformed_request"),
        ({"json": {"photo": "YQ==", "quality": True}}, 422, "invalid_option"),
        ({"json": {"photo": "YQ==", "faces": [0]}}, 422, "invalid_option"),
        ({"json": {"photo": "YQ==", "colour": "red"}}, 422, "invalid_option"),
        ({"json": {"photo": "YQ=="}, "headers": {"content-encoding": "br"}}, 415, CODING),
        ({**upload(b"x"), "headers": {"content-encoding": "gzip"}}, 415, CODING),
        ({"content": b"x", "headers": PNG | {"content-encoding": "gzip"}}, 415, CODING),
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


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "rot13", "none"])
def test_a_charset_of_the_callers_is_no_bug(client: TestClient, photo: bytes, charset: str) -> None:
    form = (
        b'--b\r\nContent-Disposition: form-data; name="faces"\r\n\r\na-\xff..\r\n'
        b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    )
    headers = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    body = form + photo + b"\r\n--b--\r\n"
    response = client.post("/cartoonize", content=body, headers=headers)
    assert response.status_code in (400, 422)
    assert_problem(response, response.status_code, response.json()["code"])


@pytest.mark.parametrize("headers", [{}, PNG, {"content-type": "application/json"}])
def test_a_batch_must_be_a_form(client: TestClient, headers: dict[str, str]) -> None:
    response = client.post("/cartoonize/batch", content=b"x", headers=headers)
    assert_problem(response, 400, "malformed_request")


@pytest.mark.parametrize("query", ["", "?faces=0"])
def test_an_option_twice_in_a_form_is_named(client: TestClient, photo: bytes, query: str) -> None:
    data = {"faces": ["0", "0"] if not query else "0"}
    response = client.post(f"/cartoonize{query}", **upload(photo), data=data)
    problem = assert_problem(response, 422, "invalid_option")
    assert problem["detail"] == "An option is given twice."


def test_a_length_of_many_digits_is_no_bug(client: TestClient, photo: bytes) -> None:
    headers = {**PNG, "content-length": "0" * 5_000 + str(len(photo))}
    assert client.post("/cartoonize", content=photo, headers=headers).status_code == 200


def test_a_coding_is_refused_with_what_to_do(client: TestClient) -> None:
    """Shared case 31, gzipped-body."""
    answer = client.post("/cartoonize", content=b"x", headers=PNG | {"content-encoding": "gzip"})
    assert answer.headers["accept-encoding"] == "identity"
    plain = client.post("/cartoonize", content=b"x", headers=PNG | {"content-encoding": "Identity"})
    assert_problem(plain, 415, "unsupported_format")


def note(came: list[tuple[bytes, Options]]) -> Any:
    """Work that notes what has come."""

    def work(data: bytes, options: Options, _: Ticket) -> list[bytes]:
        came.append((data, options))
        return [picture()]

    return work


def form(disposition: str, media_type: str, data: bytes, more: str = "") -> dict[str, Any]:
    """A form as a client writes it by hand, with the further parts `more`."""
    head = f"--B\r\nContent-Disposition: form-data; {disposition}\r\n{media_type}\r\n"
    return {
        "content": head.encode() + data + f"\r\n{more}--B--\r\n".encode(),
        "headers": {"content-type": "multipart/form-data; boundary=B"},
    }


@pytest.mark.parametrize(
    ("disposition", "media_type"),
    [
        ('name="photo"; filename="a.jpg"', "Content-Type: image/jpeg\r\n"),
        ('name="photo"', "Content-Type: image/jpeg\r\n"),
        ('name="photo"', ""),
        ("name=\"photo\"; filename*=UTF-8''%e4%bd%a0.jpg", "Content-Type: image/jpeg\r\n"),
        ('name="upload"; filename="a.jpg"', "Content-Type: application/octet-stream\r\n"),
        ('name="file"', "Content-Type: application/octet-stream\r\n"),
        ('name="image"', "Content-Type: IMAGE/JPEG\r\n"),
    ],
)
@pytest.mark.parametrize("padding", [0, 2_000_000])
def test_the_one_file_of_a_form_is_the_photo(
    client: TestClient, stubbed: Any, photo: bytes, disposition: str, media_type: str, padding: int
) -> None:
    """Shared case 07, photo-part-without-filename."""
    came: list[tuple[bytes, Options]] = []
    stubbed(note(came))
    sent = photo + bytes(padding)
    answer = client.post("/cartoonize", **form(disposition, media_type, sent))
    assert answer.status_code == 200
    assert [data for data, _ in came] == [sent]


def test_a_part_without_a_name_is_no_photo(client: TestClient, photo: bytes) -> None:
    answer = client.post("/cartoonize", **form("", "Content-Type: image/jpeg\r\n", photo))
    assert_problem(answer, 400, "malformed_request")


def test_an_empty_field_of_a_form_is_not_given(client: TestClient, stubbed: Any) -> None:
    """Shared case 34, html-form-with-empty-choice."""
    came: list[tuple[bytes, Options]] = []
    stubbed(note(came))
    empty = {"background": "", "size": "", "style": "", "submit": ""}
    assert client.post("/cartoonize", **upload(b"x"), data=empty).status_code == 200
    assert client.post("/cartoonize", **upload(b"x")).status_code == 200
    nothing = {"photo": "eA==", "background": "", "size": None, "submit": None}
    assert client.post("/cartoonize", json=nothing).status_code == 200
    assert came[0] == came[1] == came[2]
    submit = client.post("/cartoonize", **upload(b"x"), data={"submit": "Go"})
    assert_problem(submit, 422, "invalid_option")
    twice = client.post("/cartoonize", **upload(b"x"), data={"quality": ["1", "2"]})
    assert_problem(twice, 422, "invalid_option")


def test_a_photo_in_json_is_the_same_photo(client: TestClient, stubbed: Any) -> None:
    came: list[tuple[bytes, Options]] = []
    stubbed(note(came))
    plain = base64.b64encode(b"x").decode()
    for text in (plain, f"data:;base64,{plain}", f"DATA:image/jpeg;x=y;BASE64,{plain}"):
        body = {"photo": text, "quality": 80, "format": "jpg", "faces": "2"}
        assert client.post("/cartoonize", json=body).status_code == 200
    client.post("/cartoonize?quality=80&format=jpeg&faces=2", content=b"x", headers=PNG)
    assert came[0] == came[1] == came[2] == came[3]


@pytest.mark.parametrize("query", ["format=gif", "format=", "colour=red", "format=png&format=png"])
def test_a_bad_option_is_named(client: TestClient, photo: bytes, query: str) -> None:
    response = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
    assert_problem(response, 422, "invalid_option")


def test_a_bad_form_field_is_named(client: TestClient, photo: bytes) -> None:
    for data in ({"format": "bmp"}, {"colour": "png"}):
        response = client.post("/cartoonize", **upload(photo), data=data)
        assert_problem(response, 422, "invalid_option")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("faces=some", "largest, all, or an index"),
        ("faces=-1", "largest, all, or an index"),
        ("compose=collage", "portrait"),
        ("background=red", "#rrggbb"),
        ("background=white&compose=scene", "for portraits"),
        ("background=transparent&format=jpeg", "JPEG cannot be transparent"),
        ("quality=0", "1 to 100"),
        ("quality=101", "1 to 100"),
        ("filter=other", "style, faces, compose, size, background, colours, format, quality"),
        ("style=other", "style must be one of: photo2cartoon-lite, comic."),
        ("size=300", "size must be 256, 512 or 1024"),
        ("size=512&compose=scene", "size is for portraits: a scene keeps the photo's own."),
        ("compose=whole", "compose=whole needs a style that draws whole photos: comic."),
        ("compose=whole&style=comic&faces=all", "faces and colours are not for a whole photo"),
    ],
)
def test_a_wrong_option_is_explained(
    client: TestClient, photo: bytes, query: str, says: str
) -> None:
    response = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
    assert says in assert_problem(response, 422, "invalid_option")["detail"]


@pytest.mark.parametrize("declared", [True, False], ids=["declared length", "chunked"])
def test_a_body_over_the_limit_is_refused(pipeline: Pipeline, photo: bytes, declared: bool) -> None:
    settings = Settings(threads=1, max_body_bytes=len(photo) - 1)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        body: Any = photo if declared else iter([photo[:50_000], photo[50_000:]])
        response = client.post("/cartoonize", content=body, headers=PNG)
        assert_problem(response, 413, "body_too_large")
        assert_problem(client.post("/cartoonize", **upload(photo)), 413, "body_too_large")


def test_a_body_beyond_all_room_is_too_large_and_not_refused_for_now(
    pipeline: Pipeline, photo: bytes
) -> None:
    small = 10_000
    settings = Settings(
        threads=1, max_body_bytes=small, max_batch_bytes=small, max_buffered_bytes=small
    )
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        response = client.post("/cartoonize", content=photo, headers=PNG)
        assert_problem(response, 413, "body_too_large")


def test_a_body_at_the_limit_is_served(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_body_bytes=len(photo))
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        assert client.post("/cartoonize", content=photo, headers=PNG).status_code == 200


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
        with engine.hold(len(photo)), engine.hold(200_000 - 2 * len(photo) + 1):
            response = client.post("/cartoonize", content=photo, headers=PNG)
            assert_problem(response, 503, "overloaded")
            chunks = iter([photo[:50_000], photo[50_000:]])
            response = client.post("/cartoonize", content=chunks, headers=PNG)
            assert_problem(response, 503, "overloaded")
        assert engine.held_bytes == 0
        assert client.post("/cartoonize", content=photo, headers=PNG).status_code == 200
        assert engine.held_bytes == 0
        with pytest.raises(Overloaded), engine.hold(200_001):
            pass
