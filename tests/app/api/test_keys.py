"""API keys: who has none is refused, and nobody has more under way than its key allows."""

import hashlib
import logging
from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.api.keys import Keys
from photo2cartoon.ground.errors import TooManyAtOnce, Unauthorized
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, assert_problem, photos, picture


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


ENTRIES = (f"shop:{digest('open sesame')}:1", f"lab:{digest('k2')}")


@pytest.fixture
def keyed(pipeline: Pipeline) -> Iterator[TestClient]:
    settings = Settings(threads=1, api_keys=ENTRIES)
    with TestClient(create_app(settings, lambda _: pipeline)) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer "},
        {"authorization": "Basic open sesame"},
        {"authorization": f"Bearer {digest('open sesame')}"},
        {"x-api-key": "open  sesame"},
    ],
)
def test_without_a_valid_key_nothing_is_drawn(keyed: TestClient, headers: dict[str, str]) -> None:
    answer = keyed.post("/cartoonize", content=picture(), headers={**PNG, **headers})
    assert_problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"
    batch = keyed.post("/cartoonize/batch", files=photos(b"x"), headers=headers)
    assert_problem(batch, 401, "unauthorized")


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer open sesame"},
        {"authorization": "bearer  k2"},
        {"x-api-key": "k2"},
    ],
)
def test_a_valid_key_opens(keyed: TestClient, headers: dict[str, str]) -> None:
    for _ in range(2):  # the first request has given its place back
        answer = keyed.post("/cartoonize", content=picture(), headers={**PNG, **headers})
        assert_problem(answer, 422, "no_face")


def test_probes_need_no_key(keyed: TestClient) -> None:
    for address in ("/livez", "/readyz", "/metrics", "/v1/styles", "/openapi.json"):
        assert keyed.get(address).status_code == 200


def test_log_and_metrics_have_the_name_and_not_the_key(
    keyed: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        keyed.post("/cartoonize", content=picture(), headers={**PNG, "x-api-key": "k2"})
    fields = [vars(record)["fields"] for record in caplog.records if "fields" in vars(record)]
    assert [line["key"] for line in fields if line.get("route") == "/cartoonize"] == ["lab"]
    metrics = keyed.get("/metrics").text
    assert 'p2c_key_requests_total{key="lab",outcome="client"} 1.0' in metrics
    assert 'p2c_key_requests_total{key="shop",outcome="client"} 0.0' in metrics
    assert "k2" not in metrics


def test_a_key_has_no_more_under_way_than_it_may() -> None:
    keys = Keys(ENTRIES)
    shop, lab = keys.find("open sesame"), keys.find("k2")
    with keys.hold(shop):
        with pytest.raises(TooManyAtOnce) as refused, keys.hold(shop):
            pass
        assert refused.value.headers == {"Retry-After": "1"}
        with keys.hold(lab), keys.hold(lab):
            pass
    with keys.hold(shop):  # the place is free again
        pass
    for wrong in ("", "open sesam\xe9", "k2 "):
        with pytest.raises(Unauthorized):
            keys.find(wrong)


@pytest.mark.parametrize(
    "entries",
    [
        "shop",
        "shop:open sesame",
        f"shop:{digest('x')}:0",
        f"shop:{digest('x').upper()}",
        f"a b:{digest('x')}",
        f"shop:{digest('x')},shop:{digest('y')}",
    ],
)
def test_a_wrong_entry_stops_the_start(monkeypatch: pytest.MonkeyPatch, entries: str) -> None:
    monkeypatch.setenv("P2C_API_KEYS", entries)
    with pytest.raises(ValidationError):
        Settings()
    monkeypatch.setenv("P2C_API_KEYS", ", ".join(ENTRIES))
    assert Settings().api_keys == ENTRIES
