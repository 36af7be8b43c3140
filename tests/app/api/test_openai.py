"""OpenAI's images.edit and models, as raw HTTP; tests/ops has the package itself."""

import base64
import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE
from photo2cartoon.ground.ticket import Ticket
from tests.app.fakes import assert_problem, picture, upload

URL = "/v1/images/edits"


def test_an_edit_is_the_cartoon(client: TestClient, photo: bytes) -> None:
    plain = client.post("/cartoonize", content=photo, headers={"content-type": "image/jpeg"})
    data = {"model": LITE, "prompt": "a cartoon", "n": "1", "response_format": "b64_json"}
    answer = client.post(URL, **upload(photo, "image"), data=data)
    document = answer.json()
    assert base64.b64decode(document["data"][0]["b64_json"]) == plain.content
    assert document["data"][0].keys() == {"b64_json"}
    assert (document["background"], document["output_format"]) == ("opaque", "png")
    assert document["created"] > 1_700_000_000
    assert answer.headers["cache-control"] == "private, no-cache"
    fields = {"response_format": "url", "background": "transparent", "output_format": "webp"}
    other = client.post(URL, **upload(photo, "image[]"), data=fields).json()
    head, _, data_ = other["data"][0]["url"].partition(",")
    assert head == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data_))).mode == "RGBA"
    assert other["background"] == "transparent"


@pytest.mark.parametrize(
    ("fields", "ours"),
    [
        ({}, {}),
        ({"size": "auto", "background": "auto", "quality": "high", "user": "x"}, {}),
        ({"size": "512x512", "background": "opaque"}, {"size": 512, "background": "white"}),
        ({"model": LITE, "output_compression": "80"}, {"style": LITE, "quality": 80}),
        ({"model": LITE, "output_compression": "0"}, {"style": LITE, "quality": 1}),
        ({"stream": "false", "input_fidelity": "low", "moderation": "low"}, {}),
        ({"faces": "1", "background": "#102030"}, {"faces": 1, "background": "#102030"}),
    ],
)
def test_fields_mean_options(
    client: TestClient, stubbed: Any, fields: dict[str, str], ours: dict[str, Any]
) -> None:
    came: list[Options] = []

    def work(_: bytes, options: Options, __: Ticket) -> list[bytes]:
        came.append(options)
        return [picture()]

    stubbed(work)
    assert client.post(URL, **upload(b"x", "image"), data=fields).status_code == 200
    given = came[0].model_dump(exclude_unset=True)
    assert given.pop("style") == ours.pop("style", LITE)  # the stub's only style
    assert given == ours | {"format": "png", "on_overload": "error"}


@pytest.mark.parametrize(
    ("request_", "status", "code", "says"),
    [
        ({"data": {"prompt": "x"}, "files": {"other": b"x"}}, 400, "photo_missing", "image"),
        ({"files": {"image": b""}}, 400, "photo_missing", "image"),
        ({"json": {"image": "x"}}, 400, "malformed_request", "multipart"),
        ({"files": [("image[]", b"1"), ("image[]", b"2")]}, 400, "malformed_request", "one image"),
        ({"files": {"image": b"1", "mask": b"2"}}, 422, "invalid_option", "mask"),
        ({**upload(b"1", "image"), "data": {"n": "2"}}, 422, "invalid_option", "n must be 1"),
        ({**upload(b"1", "image"), "data": {"size": "1x1"}}, 422, "invalid_option", "size"),
        ({**upload(b"1", "image"), "data": {"stream": "true"}}, 422, "invalid_option", "stream"),
        ({**upload(b"1", "image"), "data": {"model": "gpt"}}, 422, "invalid_option", "comic"),
        ({**upload(b"1", "image"), "data": {"x": "y"}}, 422, "invalid_option", "unknown"),
        (
            {**upload(b"1", "image"), "data": {"response_format": "png"}},
            422,
            "invalid_option",
            "b64_json",
        ),
        (
            {**upload(b"1", "image"), "data": {"model": "comic", "style": "comic"}},
            422,
            "invalid_option",
            "twice",
        ),
        (upload(picture(), "image"), 422, "no_face", "face"),
    ],
)
def test_a_problem_is_told_where_its_clients_look(
    client: TestClient, request_: dict[str, Any], status: int, code: str, says: str
) -> None:
    answer = client.post(URL, **request_)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.json()["message"]


def test_models_are_the_styles(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == [LITE, "comic"]
    assert client.get("/v1/models/comic").json() == listed["data"][1]
    missing = client.get("/v1/models/other")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    assert "GET /v1/models" in missing.json()["message"]
    assert_problem(client.get("/v1/other"), 404, "not_found")
