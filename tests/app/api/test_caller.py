"""The caller's deadline: what it asks for, within the settings."""

from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from photo2cartoon.api.caller import read_timeout
from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.settings import Settings
from tests.app.fakes import PNG, assert_problem, engine_of, picture


def asking(timeout_ms: str | None) -> Request:
    headers = [] if timeout_ms is None else [(b"x-request-timeout-ms", timeout_ms.encode())]
    return Request({"type": "http", "headers": headers})


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [(None, 30.0), ("1500", 1.5), ("1", 0.001), ("999999999", 120.0), ("0" * 9 + "7", 0.007)],
)
def test_the_deadline_is_the_callers_within_the_settings(asked: str | None, seconds: float) -> None:
    assert read_timeout(asking(asked), Settings()) == seconds
    with pytest.raises(InvalidOption):
        read_timeout(asking("1e3"), Settings())


@pytest.mark.parametrize("asked", ["0", "-5", "1.5", "soon", "", "9" * 5_000])
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
