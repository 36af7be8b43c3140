"""The application: routes, middleware, and the engine that lives as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from photo2cartoon import __version__
from photo2cartoon.api.addresses import HeadAsGet, Prefix
from photo2cartoon.api.answers import answer_problem
from photo2cartoon.api.batch import router as batch_router
from photo2cartoon.api.door import Door
from photo2cartoon.api.idle import test_when_idle
from photo2cartoon.api.inference import router as inference_router
from photo2cartoon.api.keys import Keys
from photo2cartoon.api.middleware import MIDDLEWARE
from photo2cartoon.api.openai import router as openai_router
from photo2cartoon.api.openapi import DescribedApp, operation_id
from photo2cartoon.api.pages import page_router
from photo2cartoon.api.routes import router
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.telemetry.metrics import Metrics
from photo2cartoon.telemetry.tracing import TracedTicket, telemetry, tracing_is_on

# What a page of another origin may send, and read.
TAKEN_HEADERS = (
    "Authorization",
    "If-None-Match",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
)
GIVEN_HEADERS = (
    "ETag",
    "Retry-After",
    "Server-Timing",
    "X-Picture-Size",
    "X-Request-ID",
    "X-Style",
)


def create_app(
    settings: Settings, open_pipeline: Callable[[Settings], Pipeline] = open_pipeline
) -> FastAPI:
    """Build the application. Models are loaded, verified and warmed when it starts.

    Until then the server does not listen, so a probe that connects finds a service that can work.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = engine = await asyncio.to_thread(Engine, settings, open_pipeline)
        app.state.metrics.watch(engine)
        lag = asyncio.create_task(app.state.metrics.watch_loop())
        idle = asyncio.create_task(test_when_idle(engine, settings.self_test_s))
        try:
            yield
        finally:
            lag.cancel()
            idle.cancel()
            await asyncio.to_thread(engine.close)

    app = DescribedApp(
        title="photo2cartoon",
        summary="A portrait photo in, a cartoon of that person out",
        version=__version__,
        generate_unique_id_function=operation_id,
        lifespan=lifespan,
        redirect_slashes=False,  # the address that it sends to would be made of the caller's Host
        docs_url=None,  # FastAPI's own pages load their scripts from other hosts
        redoc_url=None,
        telemetry=telemetry(),
        middleware=_middleware(settings),
    )
    app.state.metrics = Metrics()
    app.state.keys = Keys(settings.api_keys)
    app.state.open_ticket = TracedTicket if tracing_is_on() else Ticket
    for one in (router, openai_router, inference_router):
        app.include_router(one, max_body_size=settings.max_body_bytes)
    app.include_router(batch_router, max_body_size=settings.max_batch_bytes)
    app.include_router(page_router(settings))
    for kind in (Problem, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """Return what surrounds the routes, from the outermost in.

    CORS stands within the log but around everything that answers, so that a page of another origin
    can read problems too.
    """
    outer, inner = MIDDLEWARE[:2], MIDDLEWARE[2:]
    kinds = [Middleware(kind) for kind in outer]
    if settings.cors_origins:
        kinds.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "HEAD", "POST"),
                allow_headers=TAKEN_HEADERS,
                expose_headers=GIVEN_HEADERS,
            )
        )
    kinds += [Middleware(kind) for kind in inner]
    if settings.root_path:
        kinds.append(Middleware(Prefix, prefix=settings.root_path))
    kinds.append(Middleware(HeadAsGet))
    if not settings.api_keys:
        kinds.append(Middleware(Door, path="/cartoonize"))
    return kinds
