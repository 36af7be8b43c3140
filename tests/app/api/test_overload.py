"""`on_overload=smaller` over HTTP: who gets a smaller portrait, how it is named, what counts it."""

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.engine.lanes import Lanes
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import GENERATOR, LITE
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, assert_problem, engine_of, photos, picture, upload

PHOTO = picture()
CALM, PRESSED = 0.0, 27.0  # s to wait, of the 30 that callers do


def draw(_: bytes, options: Options, ticket: Ticket) -> list[bytes]:
    """Draw at once a square of the size that is asked for."""
    with ticket.stage(Stage.ENCODE):
        side = (options.size or 512) if options.style == GENERATOR else 256
        return [picture(size=(side, side))]


@pytest.fixture
def service(client: TestClient, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(pipeline, "cartoonize", draw)
    return client


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have the lanes predict a wait, s."""
    return lambda seconds: monkeypatch.setattr(Lanes, "predicted_wait_s", seconds)


def width(data: bytes) -> int:
    return Image.open(io.BytesIO(data)).width


def send(client: TestClient, how: str, **options: str) -> Any:
    """One photo with `options`, in one of the forms in which they come."""
    options = {"style": GENERATOR, **options}
    if how == "form":
        return client.post("/cartoonize", **upload(PHOTO), data=options)
    if how == "json":
        photo = base64.b64encode(PHOTO).decode()
        return client.post(
            "/cartoonize", json={"photo": photo, **options}, headers={"accept": "image/png"}
        )
    return client.post("/cartoonize", content=PHOTO, headers=PNG, params=options)


@pytest.mark.parametrize("how", ["query", "form", "json"])
def test_only_who_allows_it_gets_a_smaller_one(
    service: TestClient, predict: Callable[[float], None], how: str
) -> None:
    for seconds, asked, allowed, drawn in (
        (CALM, "1024", "smaller", 1024),
        (PRESSED, "1024", "smaller", 256),
        (PRESSED, "1024", "error", 1024),
        (CALM, "1024", "smaller", 1024),  # and back by itself
    ):
        predict(seconds)
        answer = send(service, how, size=asked, on_overload=allowed)
        assert answer.status_code == 200
        assert width(answer.content) == drawn
        assert answer.headers["x-picture-size"] == f"{drawn}x{drawn}"
    assert width(send(service, how, style=LITE, on_overload="smaller").content) == 256
    assert_problem(send(service, how, on_overload="wait"), 422, "invalid_option")
    predict(PRESSED)
    assert width(send(service, how).content) == 512  # nobody is asked: it is off by default


def test_each_size_has_a_name_of_its_own(
    service: TestClient, predict: Callable[[float], None]
) -> None:
    def ask(known: str = "", **options: str) -> Any:
        headers = {**PNG, "if-none-match": known}
        return service.post(
            "/cartoonize", content=PHOTO, headers=headers, params={"style": GENERATOR, **options}
        )

    full = ask(on_overload="smaller")
    small = ask(size="256")
    assert ask().headers["etag"] == full.headers["etag"] != small.headers["etag"]
    predict(PRESSED)
    pressed = ask(on_overload="smaller")
    assert (width(pressed.content), pressed.headers["etag"]) == (256, small.headers["etag"])
    # The name of the full size never stands for the small one: it is the full one's, and known.
    again = ask(full.headers["etag"], on_overload="smaller")
    assert (again.status_code, again.headers["etag"]) == (304, full.headers["etag"])
    again = ask(small.headers["etag"], on_overload="smaller")
    assert (again.status_code, again.headers["etag"]) == (304, small.headers["etag"])
    predict(CALM)
    again = ask(small.headers["etag"], on_overload="smaller")
    assert (again.status_code, width(again.content)) == (200, 512)


def test_documents_batches_and_other_interfaces_follow(
    service: TestClient, predict: Callable[[float], None]
) -> None:
    query = {"on_overload": "smaller"}
    infer = {
        "inputs": [
            {
                "name": "photo",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64.b64encode(PHOTO).decode()],
            }
        ],
        "parameters": query,
    }

    styled = {"style": GENERATOR, **query}
    names: list[set[str]] = []

    def widths() -> list[int]:
        batch = service.post("/cartoonize/batch", files=photos(PHOTO, PHOTO), data=styled)
        items = batch.json()["items"]
        edit = service.post("/v1/images/edits", **upload(PHOTO, "image"), data=styled)
        tensor = service.post(f"/v2/models/{GENERATOR}/infer", content=json.dumps(infer))
        encoded = [
            *(item["data"] for item in items),
            edit.json()["data"][0]["b64_json"],
            tensor.json()["outputs"][0]["data"][0],
        ]
        names.append({item["etag"] for item in items})
        return [width(base64.b64decode(data)) for data in encoded]

    assert widths() == [512] * 4
    predict(PRESSED)
    assert widths() == [256] * 4
    small = send(service, "query", size="256").headers["etag"]
    assert names[1] == {small}
    assert names[0].isdisjoint({small})


def test_what_is_drawn_smaller_is_counted_and_logged(
    service: TestClient, predict: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    def counted() -> dict[str, float]:
        lines = service.get("/metrics").text.splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("p2c_smaller_total"))
        return {name.split('"')[1]: float(value) for name, value in pairs}

    caplog.set_level("INFO", "photo2cartoon.requests")
    assert counted() == {"256": 0, "512": 0}
    predict(PRESSED)
    send(service, "query", on_overload="smaller")
    send(service, "query", on_overload="error")
    predict(20.0)  # two thirds of the deadline: 512 px at most
    send(service, "query", on_overload="smaller", size="1024")
    assert counted() == {"256": 1, "512": 1}
    sizes = [
        record.fields.get("smaller")  # type: ignore[attr-defined]
        for record in caplog.records
        if record.name == "photo2cartoon.requests" and record.fields["route"] == "/cartoonize"  # type: ignore[attr-defined]
    ]
    assert sizes == [256, None, 512]


def test_the_door_knows_what_the_query_allows(
    service: TestClient, predict: Callable[[float], None]
) -> None:
    """Portraits of 512 px take 2 s here; there is time for one of 256 px, and no other."""
    engine_of(service).lanes.times.mean = 2.0
    predict(0.1)
    headers = {**PNG, "x-request-timeout-ms": "1000"}
    url = f"/cartoonize?style={GENERATOR}"
    answer = service.post(url, content=PHOTO, headers=headers)
    assert_problem(answer, 503, "would_be_late")
    answer = service.post(f"{url}&on_overload=smaller", content=PHOTO, headers=headers)
    assert (answer.status_code, width(answer.content)) == (200, 256)
