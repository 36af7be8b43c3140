"""The door: under overload no route is looked for, and the answer is the route's all the same."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, assert_problem, engine_of, picture

HURRIED = {**PNG, "x-request-timeout-ms": "1000"}


def overload(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = engine_of(client).lanes
    lanes.times.mean = 10.0
    monkeypatch.setattr(type(lanes), "predicted_wait_s", 5.0)


@pytest.fixture
def prefixed(pipeline: Pipeline) -> Iterator[TestClient]:
    settings = Settings(threads=1, root_path="/toon")
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        yield client


@pytest.mark.parametrize("path", ["/cartoonize", "/toon/cartoonize"])
def test_no_route_is_asked(
    prefixed: TestClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def fail(*_: object) -> None:
        pytest.fail("a route was asked")

    overload(prefixed, monkeypatch)
    monkeypatch.setattr("photo2cartoon.api.routes.arrive", fail)
    answer = prefixed.post(path, content=picture(), headers=HURRIED)
    assert_problem(answer, 503, "would_be_late")
    metrics = prefixed.get("/metrics").text
    line = 'p2c_requests_total{code="503",outcome="shed",route="/cartoonize"} 1.0'
    assert line in metrics
    hurried = {**PNG, "x-request-timeout-ms": "soon"}
    assert_problem(prefixed.post(path, content=picture(), headers=hurried), 422, "invalid_option")


def test_a_key_is_asked_for_first(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(threads=1, api_keys=(f"shop:{64 * 'a'}",))
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        overload(client, monkeypatch)
        answer = client.post("/cartoonize", content=picture(), headers=HURRIED)
        assert_problem(answer, 401, "unauthorized")
