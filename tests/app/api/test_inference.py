"""The Open Inference Protocol, as raw HTTP; tests/ops has Triton's client itself."""

import base64
import io
import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photo2cartoon.api.inference import MAX_ELEMENTS
from photo2cartoon.ground.settings import LITE
from tests.app.fakes import engine_of, picture

URL = f"/v2/models/{LITE}/infer"
HEADER = "inference-header-content-length"


def call(data: bytes, outputs: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """A request with the photo in the JSON."""
    tensor = {"name": "photo", "shape": [1], "datatype": "BYTES"}
    inputs = [{**tensor, "data": [base64.b64encode(data).decode()]}]
    return {"inputs": inputs, **({"outputs": outputs} if outputs else {}), **more}


def binary(data: bytes, outputs: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    """What a client needs to send the photo behind the JSON."""
    tensor = {"name": "photo", "shape": [1], "datatype": "BYTES"}
    size = {"binary_data_size": len(data) + 4}
    document = {"inputs": [{**tensor, "parameters": size}], "outputs": outputs or [], **more}
    head = json.dumps(document).encode()
    content = head + struct.pack("<I", len(data)) + data
    return {"content": content, "headers": {HEADER: str(len(head))}}


def test_the_server_and_its_models_describe_themselves(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for name in (LITE, "comic"):
        described = client.get(f"/v2/models/{name}").json()
        assert described["inputs"] == [{"name": "photo", "datatype": "BYTES", "shape": [1]}]
        assert [output["datatype"] for output in described["outputs"]] == ["BYTES", "UINT8"]
        assert client.get(f"/v2/models/{name}/ready").status_code == 200


def test_health_is_that_of_the_probes(client: TestClient) -> None:
    engine = engine_of(client)
    engine.draining = True
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/health/live").status_code == 200
    engine.draining = False
    engine.lanes._dead = 1
    assert client.get("/v2/health/live").status_code == 503


def test_json_and_binary_are_the_cartoon(client: TestClient, photo: bytes) -> None:
    plain = client.post("/cartoonize", content=photo, headers={"content-type": "image/jpeg"})
    document = client.post(URL, json=call(photo, id="7")).json()
    (output,) = document.pop("outputs")
    assert document == {"model_name": LITE, "model_version": "1", "id": "7"}
    assert (output["name"], output["datatype"], output["shape"]) == ("cartoon", "BYTES", [1])
    assert base64.b64decode(output["data"][0]) == plain.content
    wanted = [
        {"name": "pixels", "parameters": {"binary_data": True}},
        {"name": "cartoon", "parameters": {"binary_data": True}},
    ]
    answer = client.post(URL, **binary(photo, wanted))
    length = int(answer.headers[HEADER])
    head, behind = json.loads(answer.content[:length]), answer.content[length:]
    pixels, cartoon = head["outputs"]
    assert (pixels["datatype"], pixels["shape"]) == ("UINT8", [256, 256, 3])
    size = pixels["parameters"]["binary_data_size"]
    drawn = np.frombuffer(behind[:size], np.uint8).reshape(pixels["shape"])
    assert np.array_equal(drawn, np.asarray(Image.open(io.BytesIO(plain.content))))
    assert cartoon["parameters"]["binary_data_size"] == len(behind) - size
    assert behind[size:] == struct.pack("<I", len(plain.content)) + plain.content


def test_outputs_come_as_the_request_says(client: TestClient, stubbed: Any) -> None:
    stubbed(lambda *_: [picture(size=(3, 2))])
    listed = client.post(URL, **binary(b"x", [{"name": "pixels"}])).json()["outputs"][0]
    assert listed["shape"] == [2, 3, 3]
    assert listed["data"] == [0, 128, 0] * 6
    by_default = client.post(URL, **binary(b"x", parameters={"binary_data_output": True}))
    assert int(by_default.headers[HEADER]) < len(by_default.content)


def test_levels_are_the_same_in_json_and_in_bytes(client: TestClient, stubbed: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 48, 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    stubbed(lambda *_: [buffer.getvalue()])
    (listed,) = client.post(URL, **binary(b"x", [{"name": "pixels"}])).json()["outputs"]
    assert listed["shape"] == [16, 48, 4]
    assert listed["data"] == noise.ravel().tolist()
    behind = {"name": "pixels", "parameters": {"binary_data": True}}
    answer = client.post(URL, **binary(b"x", [behind]))
    assert answer.content[int(answer.headers[HEADER]) :] == noise.tobytes()


def test_levels_without_end_are_not_given(client: TestClient, stubbed: Any) -> None:
    """As JSON, those of a scene of 12 megapixels took 700 MB, and every thread for seconds."""
    side = math.isqrt(MAX_ELEMENTS)
    buffer = io.BytesIO()
    Image.new("L", (side, side + 1)).save(buffer, "PNG")
    stubbed(lambda *_: [buffer.getvalue()])
    answer = client.post(URL, json=call(b"x", [{"name": "pixels"}]))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_memory")
    assert client.post(URL, json=call(b"x")).status_code == 200


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"nonsense"}, 400, "malformed_request"),
        ({"content": b"[" * 100_000}, 400, "malformed_request"),
        ({"json": {"inputs": 1}}, 400, "malformed_request"),
        ({"json": {"inputs": []}}, 400, "photo_missing"),
        ({"json": call(b"")}, 400, "photo_missing"),
        ({"json": {"inputs": [{**call(b"x")["inputs"][0], "name": "x"}]}}, 400, "photo_missing"),
        ({"json": {"inputs": [{**call(b"x")["inputs"][0], "shape": [2]}]}}, 400, None),
        ({"json": {"inputs": [{**call(b"x")["inputs"][0], "datatype": "FP32"}]}}, 400, None),
        ({"json": {"inputs": [{**call(b"x")["inputs"][0], "data": ["?"]}]}}, 400, None),
        ({"json": {"inputs": [{**call(b"x")["inputs"][0], "data": [1]}]}}, 400, None),
        ({**binary(b"x"), "headers": {HEADER: "9999999"}}, 400, None),
        ({**binary(b"x"), "headers": {HEADER: "-1"}}, 400, None),
        ({**binary(b"x"), "content": binary(b"x")["content"][:-1]}, 400, None),
        ({**binary(b"x"), "content": binary(b"x")["content"] + b"x"}, 400, None),
        ({"json": call(b"x", [{"name": "other"}])}, 422, "invalid_option"),
        ({"json": call(b"x", [{"name": "cartoon"}] * 2)}, 422, "invalid_option"),
        ({"json": call(b"x", parameters={"style": "comic"})}, 422, "invalid_option"),
        ({"json": call(b"x", parameters={"colour": "red"})}, 422, "invalid_option"),
        (
            {"json": call(b"x", [{"name": "pixels"}], parameters={"format": "webp"})},
            422,
            "invalid_option",
        ),
        (
            {"json": call(b"x", [{"name": "pixels"}], parameters={"faces": "all"})},
            422,
            "invalid_option",
        ),
        ({"json": call(b"text")}, 415, "unsupported_format"),
        ({"json": call(picture(), parameters={"timeout": 1, "priority": 1})}, 422, "no_face"),
    ],
)
def test_a_problem_is_told_where_its_clients_look(
    client: TestClient, request_: dict[str, Any], status: int, code: str | None
) -> None:
    answer = client.post(URL, **request_)
    document = answer.json()
    assert (answer.status_code, document["code"]) == (status, code or "malformed_request")
    assert document["error"] == document["detail"]


def test_an_unknown_model_is_not_found(client: TestClient) -> None:
    for answer in (
        client.get("/v2/models/other"),
        client.get("/v2/models/other/ready"),
        client.post("/v2/models/other/infer", json=call(b"x")),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert "GET /v1/styles" in answer.json()["error"]
