"""The HTTP surface: what comes in, which problem goes out. No image work happens here."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse

from photo2cartoon.api.bodies import (
    body_size,
    read_options,
    read_photo,
    settle_format,
    unless_left,
    upload_limit,
)
from photo2cartoon.api.middleware import problem_response
from photo2cartoon.api.openapi import CARTOONIZE
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import (
    BodyTooLarge,
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Problem,
)
from photo2cartoon.ground.ticket import Stage

router = APIRouter()

PRIVATE = "private, no-cache"  # a caller may keep its picture, and ask again by its ETag


async def get_engine(request: Request) -> Engine:  # async: FastAPI runs others on a thread
    engine: Engine = request.app.state.engine
    return engine


EngineDep = Annotated[Engine, Depends(get_engine)]


@router.post("/cartoonize", **CARTOONIZE)
async def cartoonize(request: Request, engine: EngineDep) -> Response:
    """Turn the portrait photo in the request into a cartoon of 256 x 256 pixels on white."""
    timeout_s = engine.timeout_s(request.headers.get("x-request-timeout-ms"))
    engine.lanes.check_room(timeout_s)
    with engine.body(body_size(request, engine.settings.max_body_bytes)):
        ticket = request.state.ticket = request.app.state.open_ticket()
        with ticket.stage(Stage.READ):
            async with upload_limit(engine.settings.upload_timeout_s):
                photo, fields = await read_photo(request, engine.settings.max_body_bytes)
        ticket.due_in(timeout_s)
        options = settle_format(read_options(request, fields), request)
        known = request.headers.get("if-none-match", "")
        picture = await unless_left(request, engine.cartoonize(photo, options, ticket, known))
    headers = {"Cache-Control": PRIVATE, "ETag": picture.etag, "Vary": "Accept"}
    if picture.content is None:
        return Response(status_code=304, headers=headers)
    return Response(picture.content, media_type=picture.media_type, headers=headers)


@router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return every metric, in the format that the caller's `Accept` asks for."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics.registry), media_type=media_type)


@router.get("/livez", summary="The process can work")
async def live(engine: EngineDep) -> JSONResponse:
    """Answer that the event loop turns and every thread that works is alive; else 503."""
    alive = engine.alive
    return JSONResponse({"status": "alive" if alive else "dead"}, 200 if alive else 503)


@router.get("/readyz", summary="The service can take work")
async def ready(engine: EngineDep) -> JSONResponse:
    """Answer that every model is verified, loaded and warm, and how long a photo would wait."""
    status = "draining" if engine.draining else "ready" if engine.alive else "dead"
    state = {
        "status": status,
        "predicted_wait_ms": round(engine.lanes.predicted_wait_s * 1000),
        "waiting": engine.lanes.waiting,
        "running": engine.lanes.running,
        "models": {model.name: model.sha256 for model in engine.pipeline.models},
    }
    return JSONResponse(state, 200 if status == "ready" else 503)


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
