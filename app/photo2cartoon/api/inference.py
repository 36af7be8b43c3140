"""Open Inference Protocol, version 2: what Triton, KServe and their clients speak.

A model is a style. Its input `photo` is BYTES, one file; its outputs are `cartoon`, the encoded
picture as BYTES, and `pixels`, UINT8 `(H, W, 3)` RGB or `(H, W, 4)` RGBA. Options are parameters of
the request. Tensors come as JSON, or by the extension for binary data behind the JSON.
"""

import base64
import io
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request, Response
from PIL import Image
from pydantic import BaseModel, Field, ValidationError
from starlette.responses import JSONResponse

from photo2cartoon import __version__
from photo2cartoon.api.answers import PRIVATE
from photo2cartoon.api.arrival import arrive, draw
from photo2cartoon.api.bodies import LENGTH, decode_base64, read_body
from photo2cartoon.api.keys import Admitted
from photo2cartoon.api.large import one_at_a_time, parse_json, read_document
from photo2cartoon.api.openapi import INFER, INFERENCE, MODEL_HEALTH, MODEL_METADATA, SERVER_HEALTH
from photo2cartoon.api.routes import EngineDep
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import (
    InvalidOption,
    MalformedRequest,
    NotFound,
    PhotoMissing,
    TooMuchMemory,
)
from photo2cartoon.ground.options import Options, parse_options

HEADER = "Inference-Header-Content-Length"
PHOTO, CARTOON, PIXELS = "photo", "cartoon", "pixels"
VERSION = "1"
MAX_ELEMENTS: Final = 2**24  # of `pixels`: 5.6 megapixels in RGB
# A level as JSON, in four bytes, so that a picture is written by looking up its levels.
LEVELS: Final = np.frombuffer(b"".join(b"%3d," % level for level in range(256)), np.uint32)
# Parameters of the protocol, which are no options.
RESERVED = {
    "binary_data_output",
    "priority",
    "sequence_end",
    "sequence_id",
    "sequence_start",
    "timeout",
}

router = APIRouter()


class _Tensor(BaseModel):
    name: str
    shape: list[int] = Field(max_length=8)
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class _Wanted(BaseModel):
    name: str
    parameters: dict[str, Any] = {}


class _Call(BaseModel):
    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[_Tensor]
    outputs: list[_Wanted] = []


@dataclass(frozen=True, slots=True)
class _Output:
    """One tensor of the answer, in both forms: as a list in JSON, or as bytes behind it."""

    name: str
    datatype: str
    shape: list[int]
    data: bytes
    elements: Callable[[], bytes]


@router.get("/v2", **INFERENCE)
async def describe_server() -> JSONResponse:
    """Return the server's name, version and extensions."""
    extensions = ["binary_tensor_data"]
    return JSONResponse({"name": "photo2cartoon", "version": __version__, "extensions": extensions})


@router.get("/v2/health/live", **SERVER_HEALTH)
async def server_live(engine: EngineDep) -> JSONResponse:
    """Answer as `/livez`."""
    return JSONResponse({"live": engine.alive}, 200 if engine.alive else 503)


@router.get("/v2/health/ready", **SERVER_HEALTH)
async def server_ready(engine: EngineDep) -> JSONResponse:
    """Answer as `/readyz`."""
    ready = engine.alive and not engine.draining and not engine.pipeline.failing
    return JSONResponse({"ready": ready}, 200 if ready else 503)


@router.get("/v2/models/{name}", **MODEL_METADATA)
async def describe_model(name: str, engine: EngineDep) -> JSONResponse:
    """Return what a style takes and gives."""
    _check_style(engine, name)
    return JSONResponse(
        {
            "name": name,
            "versions": [VERSION],
            "platform": "photo2cartoon",
            "inputs": [{"name": PHOTO, "datatype": "BYTES", "shape": [1]}],
            "outputs": [
                {"name": CARTOON, "datatype": "BYTES", "shape": [-1]},
                {"name": PIXELS, "datatype": "UINT8", "shape": [-1, -1, -1]},
            ],
        }
    )


@router.get("/v2/models/{name}/ready", **MODEL_HEALTH)
async def model_ready(name: str, engine: EngineDep) -> JSONResponse:
    """Answer that a style is loaded; all are before the service listens."""
    _check_style(engine, name)
    return JSONResponse({"name": name, "ready": True})


@router.post("/v2/models/{name}/infer", **INFER)
async def infer(name: str, request: Request, engine: EngineDep, _: Admitted) -> Response:
    """Draw the photo of the input tensor in the style that the address names."""
    _check_style(engine, name)
    async with arrive(request, engine, _read) as ((call, photo), ticket):
        wanted = call.outputs or [_Wanted(name=CARTOON)]
        options = _read_options(name, call.parameters, [output.name for output in wanted])
        options = engine.pipeline.styles.settle(options)
        options = options.model_copy(update={"format": options.file_format})
        pictures = await draw(request, engine, photo, options, ticket)
    return await one_at_a_time(_answer, name, call, wanted, pictures)


def _check_style(engine: Engine, name: str) -> None:
    if name not in engine.pipeline.styles.drawers:
        raise NotFound("There is no such model. GET /v1/styles lists them.")


async def _read(request: Request, _: int) -> tuple[_Call, bytes]:
    body = await read_body(request)
    return await read_document(_parse, body, request.headers.get(HEADER))


def _parse(body: bytes, header_length: str | None) -> tuple[_Call, bytes]:
    """Take a request apart: its JSON, and the photo, which may stand behind it.

    Raises:
        MalformedRequest: it is none of the protocol, or its tensor is not one file as BYTES.
        PhotoMissing: it has no tensor `photo`, or an empty one.
    """
    length = len(body)
    if header_length is not None:
        if not LENGTH.fullmatch(header_length) or int(header_length) > length:
            raise MalformedRequest(f"{HEADER} must be the length of the JSON before the tensors.")
        length = int(header_length)
    try:
        call = _Call.model_validate(parse_json(body[:length]))
    except (ValidationError, ValueError, RecursionError) as error:
        raise MalformedRequest("The body is no request for an inference, version 2.") from error
    if len(call.inputs) != 1 or call.inputs[0].name != PHOTO:
        raise PhotoMissing("Send one input, 'photo'.")
    (tensor,) = call.inputs
    if tensor.datatype != "BYTES" or math.prod(tensor.shape) != 1:
        raise MalformedRequest("The input 'photo' must be BYTES, of one element.")
    size = tensor.parameters.get("binary_data_size")
    photo = _element(tensor) if size is None else _binary_element(body[length:], size)
    if not photo:
        raise PhotoMissing
    return call, photo


def _element(tensor: _Tensor) -> bytes:
    """Return the file that stands in the JSON: as base64, or as a `data:` URL."""
    data: Any = tensor.data
    while isinstance(data, list) and len(data) == 1:
        (data,) = data
    if not isinstance(data, str):
        raise MalformedRequest("The data of 'photo' must be one text, in base64.")
    return decode_base64(data)


def _binary_element(data: bytes, size: object) -> bytes:
    """Return the file that stands behind the JSON: its length in 4 bytes, little-endian, and it."""
    if size != len(data) or len(data) < 4 or struct.unpack("<I", data[:4])[0] != len(data) - 4:
        raise MalformedRequest("The sizes of the binary data do not fit.")
    return data[4:]


def _read_options(name: str, parameters: dict[str, Any], wanted: list[str]) -> Options:
    """Take the options from the request's parameters.

    Raises:
        InvalidOption: one is unknown or wrong, or an output is wanted that there is not.
    """
    if not set(wanted) <= {CARTOON, PIXELS} or len(set(wanted)) < len(wanted):
        raise InvalidOption(f"The outputs are {CARTOON} and {PIXELS}.")
    given = {key: value for key, value in parameters.items() if key not in RESERVED}
    if "style" in given:
        raise InvalidOption("The address names the style.")
    options = parse_options({"style": name, **given})
    if PIXELS not in wanted:
        return options
    if options.format in ("jpeg", "webp"):
        raise InvalidOption(f"{PIXELS} are not a file: leave format out, or ask for png.")
    if options.faces == "all" and options.compose == "portrait":
        raise InvalidOption(f"faces=all gives several pictures: ask for {CARTOON} alone.")
    return options


def _answer(name: str, call: _Call, wanted: list[_Wanted], pictures: list[bytes]) -> Response:
    """Return the outputs, each behind the JSON or in it, as the request says."""
    binary_by_default = bool(call.parameters.get("binary_data_output", False))
    described, behind = [], []
    for output in wanted:
        tensor = _cartoon(pictures) if output.name == CARTOON else _pixels(pictures[0])
        members: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if output.parameters.get("binary_data", binary_by_default):
            members["parameters"] = {"binary_data_size": len(tensor.data)}
            behind.append(tensor.data)
            described.append(json.dumps(members).encode())
        else:
            described.append(_with_last(members, "data", tensor.elements()))
    document = {"model_name": name, "model_version": VERSION}
    if call.id is not None:
        document["id"] = call.id
    head = _with_last(document, "outputs", b"[" + b", ".join(described) + b"]")
    if not behind:
        return Response(head, headers=PRIVATE, media_type="application/json")
    headers = {**PRIVATE, HEADER: str(len(head))}
    return Response(
        b"".join([head, *behind]), headers=headers, media_type="application/octet-stream"
    )


def _with_last(members: dict[str, Any], name: str, value: bytes) -> bytes:
    """Return a JSON object of `members` and one more, whose value is JSON already."""
    return b"".join([json.dumps(members).encode()[:-1], f', "{name}": '.encode(), value, b"}"])


def _cartoon(pictures: list[bytes]) -> _Output:
    data = b"".join(struct.pack("<I", len(picture)) + picture for picture in pictures)

    def elements() -> bytes:
        return b'["' + b'", "'.join(map(base64.b64encode, pictures)) + b'"]' if pictures else b"[]"

    return _Output(CARTOON, "BYTES", [len(pictures)], data, elements)


def _pixels(picture: bytes) -> _Output:
    """Return the levels of a picture.

    Raises:
        TooMuchMemory: they are more than `MAX_ELEMENTS`.
    """
    with Image.open(io.BytesIO(picture)) as image:
        if image.width * image.height * len(image.getbands()) > MAX_ELEMENTS:
            most = f"{MAX_ELEMENTS:,} levels"
            raise TooMuchMemory(f"{PIXELS} has at most {most}: ask for {CARTOON}.")
        pixels = np.asarray(image)

    def elements() -> bytes:
        written = np.empty(pixels.size + 1, np.uint32)
        written[0] = np.frombuffer(b"[   ", np.uint32)[0]
        np.take(LEVELS, pixels.ravel(), out=written[1:], mode="clip")
        written.view(np.uint8)[-1] = ord("]")  # in place of the last comma
        return written.tobytes()

    return _Output(PIXELS, "UINT8", list(pixels.shape), pixels.tobytes(), elements)
