"""Behind a proxy's prefix, by HEAD, and from pages of other origins."""

import re

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.telemetry.tracing import is_untraced
from tests.app.fakes import PNG, assert_problem, picture, upload

PAGE = "https://page.example"


@pytest.mark.parametrize("kept", ["", "/toon"], ids=["proxy removes it", "proxy keeps it"])
def test_a_prefix_is_in_every_address_that_is_told(pipeline: Pipeline, kept: str) -> None:
    """Shared case 24, behind-a-path-prefix."""
    settings = Settings(threads=1, root_path="/toon")
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        page = client.get(f"{kept}/docs").text
        assert not re.search(r'(?:href|src)="/', page)  # relative, so the prefix stays before it
        described = client.get(f"{kept}/openapi.json").json()
        assert described["servers"] == [{"url": "/toon"}]
        assert_problem(client.post(f"{kept}/cartoonize/", **upload(b"x")), 404, "not_found")
        answer = client.post(f"{kept}/cartoonize", content=picture(), headers=PNG)
        assert_problem(answer, 422, "no_face")
        assert client.get(f"{kept}/livez").status_code == 200
        assert_problem(client.get(f"{kept}/toonz"), 404, "not_found")
        assert 'route="/cartoonize"' in client.get("/metrics").text


def test_probes_behind_a_prefix_are_not_traced() -> None:
    assert is_untraced({"path": "/toon/livez"})
    assert not is_untraced({"path": "/toon/cartoonize"})


@pytest.mark.parametrize("prefix", ["toon", "/toon/", "/", "/a b", "//"])
def test_a_wrong_prefix_stops_the_start(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings(root_path=prefix)


@pytest.mark.parametrize(
    "address", ["/livez", "/readyz", "/metrics", "/v1/styles", "/docs", "/openapi.json"]
)
def test_head_answers_as_get_without_the_body(client: TestClient, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_is_allowed_where_get_is(client: TestClient) -> None:
    for address in ("/livez", "/"):
        refused = client.post(address)
        assert_problem(refused, 405, "method_not_allowed")
        assert refused.headers["allow"] == "GET, HEAD"
    head = client.head("/cartoonize")
    assert (head.status_code, head.headers["allow"]) == (405, "POST")


def test_other_origins_are_told_nothing_unless_they_are_listed(client: TestClient) -> None:
    headers = {"origin": PAGE, "access-control-request-method": "POST"}
    for answer in (
        client.get("/livez", headers=headers),
        client.options("/cartoonize", headers=headers),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_listed_origins_may_read_answers_and_problems(pipeline: Pipeline) -> None:
    settings = Settings(threads=1, cors_origins=(PAGE, "http://localhost:3000"))
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        refused = client.post("/cartoonize", content=b"x", headers={**PNG, "origin": PAGE})
        assert_problem(refused, 415, "unsupported_format")
        assert refused.headers["access-control-allow-origin"] == PAGE
        assert "Origin" in refused.headers["vary"]
        assert "X-Request-ID" in refused.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in refused.headers
        asked = {
            "origin": PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type,x-api-key,x-request-timeout-ms",
        }
        preflight = client.options("/cartoonize", headers=asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == PAGE
        other = {**asked, "origin": f"{PAGE}.evil"}
        assert client.options("/cartoonize", headers=other).status_code == 400
        for answer in (
            client.options("/cartoonize", headers=other),
            client.get("/livez", headers=other),
        ):
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["page.example", f"{PAGE}/", f"{PAGE}/path", "null"])
def test_what_is_no_origin_stops_the_start(origin: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=(origin,))


def test_the_list_of_origins_comes_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_CORS_ORIGINS", f"{PAGE}, *")
    assert Settings().cors_origins == (PAGE, "*")
