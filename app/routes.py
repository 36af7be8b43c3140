"""The HTTP surface: what comes in, which problem goes out. No image work happens here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import mimeparse
from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.clock import StageClock
from app.encode import MEDIA_TYPES, OutputFormat
from app.errors import (
    BodyTooLarge,
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PhotoMissing,
    Problem,
    UnsupportedFormat,
)
from app.lanes import Lanes
from app.middleware import problem_response
from app.openapi import CARTOONIZE
from app.options import Options, parse_options
from app.pipeline import Pipeline
from app.settings import Settings

router = APIRouter()


class Service(BaseModel):
    """What a route needs: made once at the start, kept in the app's state."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    settings: Settings
    pipeline: Pipeline
    lanes: Lanes


def get_service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(get_service)]


@router.post("/cartoonize", **CARTOONIZE)
async def cartoonize(request: Request, service: ServiceDep) -> Response:
    """Turn the portrait photo in the request into a cartoon of 256 x 256 pixels on white."""
    clock = request.state.clock = StageClock()
    service.lanes.check_room()
    with clock.stage("read"):
        photo, fields = await read_photo(request, service.settings.max_body_bytes)
    options = read_options(request, fields)
    (picture,) = await service.lanes.run(lambda: service.pipeline.cartoonize(photo, options, clock))
    return Response(
        picture,
        media_type=MEDIA_TYPES[options.format or "png"],
        headers={"Cache-Control": "no-store", "Vary": "Accept"},
    )


@router.get("/livez", summary="The process answers")
async def live() -> dict[str, str]:
    """Answer that the event loop turns."""
    return {"status": "alive"}


@router.get("/readyz", summary="The service can work")
async def ready(service: ServiceDep) -> dict[str, Any]:
    """Answer that every model is verified, loaded and warm, and which ones they are."""
    models = {model.name: model.sha256 for model in service.pipeline.models}
    return {"status": "ready", "models": models}


async def read_photo(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """Read the photo's bytes, and the other fields of a form.

    Raises:
        PhotoMissing, MalformedRequest, UnsupportedFormat: as their names say.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        async with _read_form(request, max_bytes) as form:
            upload = form.get("photo")
            photo = await upload.read() if isinstance(upload, UploadFile) else b""
            fields = {name: value for name, value in form.items() if name != "photo"}
    elif media_type.startswith("image/") or media_type in ("", "application/octet-stream"):
        photo, fields = await request.body(), {}
    else:
        raise UnsupportedFormat("Send a multipart/form-data with 'photo', or an image/* body.")
    if not photo:
        raise PhotoMissing
    return photo, fields


@asynccontextmanager
async def _read_form(request: Request, max_bytes: int) -> AsyncIterator[FormData]:
    parser = MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=16)
    parser.spool_max_size = max_bytes  # a photo stays in memory: it is never written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest("The form cannot be parsed, or holds two files.") from error
    try:
        yield form
    finally:
        await form.close()


def read_options(request: Request, fields: dict[str, Any]) -> Options:
    """Take the options from the query and the form; the format, if not among them, from `Accept`.

    Raises:
        InvalidOption: an unknown option or value, one given twice, or more than one picture asked.
        NotAcceptable: `Accept` leaves none of our formats.
    """
    given = [*request.query_params.multi_items(), *fields.items()]
    if len({name for name, _ in given}) < len(given):
        raise InvalidOption("An option is given twice.")
    options = parse_options(dict(given))
    if options.faces == "all" and options.compose == "portrait":
        raise InvalidOption("faces=all needs compose=scene: one request gives one picture.")
    if options.format:
        return options
    possible: list[OutputFormat] = ["webp", "jpeg", "png"]
    if options.transparent:
        possible.remove("jpeg")
    chosen = _negotiate(request.headers.get("accept", "*/*"), possible)
    return options.model_copy(update={"format": chosen})


def _negotiate(accept: str, possible: list[OutputFormat]) -> OutputFormat:
    """Choose by an `Accept` header; on a tie the last of `possible`."""
    by_type = {MEDIA_TYPES[name]: name for name in possible}
    try:
        return by_type[mimeparse.best_match(list(by_type), accept)]
    except (mimeparse.MimeTypeParseException, KeyError) as error:
        raise NotAcceptable from error


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer an error of our family, or one that FastAPI or Starlette raised."""
    problem = error if isinstance(error, Problem) else _translate(error)
    request.state.problem = problem.code
    return problem_response(problem, request.state.request_id)


def _translate(error: Exception) -> Problem:
    if isinstance(error, RequestValidationError):
        return InvalidOption()
    if not isinstance(error, HTTPException):
        return InternalError()
    if error.status_code == 405:
        return MethodNotAllowed((error.headers or {}).get("Allow"))
    known = {404: NotFound, 413: BodyTooLarge}
    return known.get(error.status_code, MalformedRequest)()
