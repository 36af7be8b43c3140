"""Answers: the format, the entity tag, the form of a problem."""

import io
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.api.answers import matches
from tests.app.fakes import PNG, assert_problem, picture, upload


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


@pytest.mark.parametrize("accept", ["text/html", "image/avif", "image/png;q=0", "nonsense"])
def test_an_impossible_accept_is_named(client: TestClient, photo: bytes, accept: str) -> None:
    response = client.post("/cartoonize", content=photo, headers={**PNG, "accept": accept})
    assert_problem(response, 406, "not_acceptable")


def test_transparency_and_accept_must_agree(client: TestClient, photo: bytes) -> None:
    url = "/cartoonize?background=transparent"
    response = client.post(url, content=photo, headers={**PNG, "accept": "image/jpeg"})
    assert_problem(response, 406, "not_acceptable")
    response = client.post(url, content=photo, headers={**PNG, "accept": "image/*"})
    assert response.headers["content-type"] == "image/png"


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


def test_unknown_addresses_and_methods(client: TestClient) -> None:
    assert_problem(client.get("/nothing/here"), 404, "not_found")
    response = client.get("/cartoonize")
    assert_problem(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "POST"


def test_an_address_with_a_slash_at_its_end_is_not_redirected(client: TestClient) -> None:
    # A redirection would name the host that the caller claims this to be.
    for address in ("/livez/", "/cartoonize/"):
        assert_problem(client.get(address, follow_redirects=False), 404, "not_found")


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


def test_entity_tags_are_compared_weakly() -> None:  # RFC 9110, 13.1.2
    strong, weak = '"a"', 'W/"a"'
    for known in (weak, strong, f'"other", {weak}'):
        assert matches(known, weak)
        assert matches(known, strong)
    assert not matches('W/"other"', weak)
