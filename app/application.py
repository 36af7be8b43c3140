"""The application: routes, middleware, and what lives as long as it does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.batch import router as batch_router
from app.engine import Engine
from app.errors import Problem
from app.metrics import Metrics
from app.middleware import RequestContext
from app.opening import open_pipeline
from app.pipeline import Pipeline
from app.routes import answer_problem, router
from app.settings import Settings
from app.ticket import Ticket
from app.tracing import TracedTicket, telemetry, tracing_is_on


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
        try:
            yield
        finally:
            lag.cancel()
            await asyncio.to_thread(engine.close)

    app = FastAPI(
        title="photo2cartoon",
        summary="A portrait photo in, a cartoon of that person out",
        lifespan=lifespan,
        telemetry=telemetry(),
    )
    app.state.metrics = Metrics()
    app.state.open_ticket = TracedTicket if tracing_is_on() else Ticket
    app.add_middleware(RequestContext)
    app.include_router(router, max_body_size=settings.max_body_bytes)
    app.include_router(batch_router, max_body_size=settings.max_batch_bytes)
    for kind in (Problem, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    return app
