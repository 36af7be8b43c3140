"""The service over HTTP, in process, on the real pipeline."""

import io
import threading
from typing import Any
from urllib.parse import urljoin

import httpx2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.ground.options import Options, parse_options
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.pipeline.drawer import StagedDrawer
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import PNG, Stub, assert_problem, engine_of, picture, upload


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


def test_probes(client: TestClient, pipeline: Pipeline) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert (ready["status"], ready["waiting"], ready["running"]) == ("ready", 0, 0)
    assert ready["predicted_wait_ms"] == 0
    device = pipeline.device
    assert (ready["runs_on"], ready["because"]) == (device.describe(), device.why)
    assert ready["models"] == {model.name: model.sha256 for model in pipeline.models}


def test_a_failing_model_stops_the_start(settings: Settings) -> None:
    def broken(_: Settings) -> Pipeline:
        raise RuntimeError("model broken")

    with (
        pytest.raises(RuntimeError, match="model broken"),
        TestClient(create_app(settings, broken)),
    ):
        pass


def test_a_full_service_refuses_and_says_when_to_return(pipeline: Pipeline, photo: bytes) -> None:
    settings = Settings(threads=1, max_queue=0)
    gate, entered = threading.Event(), threading.Event()

    def slow(*_: Any) -> list[bytes]:
        entered.set()
        gate.wait(10)
        return [picture()]

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
        assert first[0].content == picture()


def test_openapi_names_every_answer_and_option(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/cartoonize"]["post"]
    body = operation["requestBody"]["content"]
    assert set(body) == {
        "multipart/form-data",
        "application/json",
        "application/octet-stream",
    }
    assert set(operation["responses"]) == {
        "200", "304", "400", "401", "406", "408", "413", "415", "422", "429", "431", "500", "503",
        "504",
    }  # fmt: skip
    assert set(operation["responses"]["200"]["content"]) == {
        "image/png",
        "image/jpeg",
        "image/webp",
        "application/json",
        "application/zip",
    }
    portrait = {"style", "faces", "compose", "size", "background", "colours"}
    options = portrait | {"format", "quality", "on_no_face", "on_overload"}
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
        ("style=comic", "RGB", (256, 256)),
        ("style=comic&compose=whole", "RGB", (512, 512)),
        ("size=512&background=transparent", "RGBA", (256, 256)),
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
    assert response.headers["x-picture-size"] == f"{size[0]}x{size[1]}"
    assert response.headers["x-style"] == ("comic" if "comic" in query else LITE)
    given = dict(pair.split("=") for pair in query.replace("%23", "#").split("&"))
    assert pipeline.cartoonize(photo, parse_options(given)) == [response.content]
    form = client.post("/cartoonize", **upload(photo), data=given)
    assert form.content == response.content


def test_styles_are_listed_and_each_can_be_asked_for(client: TestClient, photo: bytes) -> None:
    styles = client.get("/v1/styles").json()["styles"]
    assert [style["name"] for style in styles] == [LITE, "comic"]
    assert [style["default"] for style in styles] == [True, False]
    digests = client.get("/readyz").json()["models"]
    for style in styles:
        assert style["digest"] == digests[style["name"]]
        for compose in style["compose"]:
            query = f"style={style['name']}&compose={compose}"
            answer = client.post(f"/cartoonize?{query}", content=photo, headers=PNG)
            assert answer.status_code == 200
            assert answer.headers["x-style"] == style["name"]
        example = client.get(urljoin("/v1/styles", style["example"]))
        assert example.headers["content-type"] == "image/webp"
    assert "research" not in styles[1]["licence"].lower()


def test_the_default_style_by_its_name_is_the_same_picture(
    client: TestClient, photo: bytes
) -> None:
    answers = [
        client.post(f"/cartoonize{query}", content=photo, headers=PNG)
        for query in ("", f"?style={LITE}")
    ]
    assert answers[0].headers["etag"] == answers[1].headers["etag"]
    assert answers[0].content == answers[1].content


def test_a_face_that_is_not_there(client: TestClient, photo: bytes) -> None:
    response = client.post("/cartoonize?faces=3", content=photo, headers=PNG)
    assert_problem(response, 422, "no_such_face")


def test_nothing_usable_drawn_is_named(
    client: TestClient, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawer = engine_of(client).pipeline.styles.drawer(Options())
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
