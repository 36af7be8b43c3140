"""Routes: the walk of a request from top to bottom, and the probes. No image is touched here."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder
from starlette.responses import JSONResponse, PlainTextResponse

from photo2cartoon.api.answers import matches, not_modified, picture_response
from photo2cartoon.api.arrival import arrive
from photo2cartoon.api.bodies import read_options, read_photo
from photo2cartoon.api.caller import unless_left
from photo2cartoon.api.documents import JSON, ZIP, document_response, settle_answer
from photo2cartoon.api.keys import Admitted
from photo2cartoon.api.large import one_at_a_time
from photo2cartoon.api.openapi import CARTOONIZE, LIVE, METRICS, READY, STYLES
from photo2cartoon.api.styles import describe
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.report import Report

router = APIRouter()


async def get_engine(request: Request) -> Engine:  # async: FastAPI runs others on a thread
    engine: Engine = request.app.state.engine
    return engine


EngineDep = Annotated[Engine, Depends(get_engine)]


@router.post("/cartoonize", **CARTOONIZE)
async def cartoonize(request: Request, engine: EngineDep, _: Admitted) -> Response:
    """Turn the portrait photo in the request into a cartoon on white, or what the options say."""
    async with arrive(request, engine, read_photo) as ((photo, fields), ticket):
        options = engine.pipeline.styles.settle(read_options(request, fields))
        options, media_type = settle_answer(options, request)
        if media_type in (JSON, ZIP):  # which are always drawn
            ticket.report = Report()
            options = engine.fit(options, ticket)
            etag = await engine.name(photo, options)
            pictures = await unless_left(request, engine.draw(photo, options, ticket))
            return await one_at_a_time(
                document_response,
                media_type,
                pictures,
                options,
                ticket,
                digest=engine.pipeline.styles.drawer(options).model.sha256,
                etag=etag,
                request_id=request.state.request_id,
            )
        has = partial(matches, request.headers.get("if-none-match", ""))
        options, etag = await engine.choose(photo, options, ticket, has)
        if has(etag):
            return not_modified(etag)
        picture = await unless_left(request, engine.cartoonize(photo, options, ticket, etag))
    return picture_response(picture, options, etag)


@router.get("/v1/styles", **STYLES)
async def list_styles(engine: EngineDep) -> JSONResponse:
    """Return each style's name, licence, sizes, digest and example; the first is the default."""
    styles = describe(engine.pipeline.styles, examples=engine.settings.page)
    return JSONResponse({"styles": styles})


@router.get("/metrics", response_class=PlainTextResponse, **METRICS)
async def metrics(request: Request) -> Response:
    """Return every metric, in the format that the caller's `Accept` asks for."""
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(request.app.state.metrics.registry), media_type=media_type)


@router.get("/livez", **LIVE)
async def live(engine: EngineDep) -> JSONResponse:
    """Answer that the event loop turns and every thread that works is alive; else 503."""
    alive = engine.alive
    return JSONResponse({"status": "alive" if alive else "dead"}, 200 if alive else 503)


@router.get("/readyz", **READY)
async def ready(engine: EngineDep) -> JSONResponse:
    """Answer that every model is verified, loaded and warm, and how long a photo would wait."""
    failing = engine.pipeline.failing
    working = "failing" if failing else "ready"
    status = "draining" if engine.draining else working if engine.alive else "dead"
    state = {
        "status": status,
        "failing": failing,
        "predicted_wait_ms": round(engine.lanes.predicted_wait_s * 1000),
        "waiting": engine.lanes.waiting,
        "running": engine.lanes.running,
        "runs_on": engine.pipeline.device.describe(),
        "because": engine.pipeline.device.why,
        "models": {model.name: model.sha256 for model in engine.pipeline.models},
    }
    return JSONResponse(state, 200 if status == "ready" else 503)
