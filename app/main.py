"""Where the parts meet: the application and the server that runs it."""

import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.errors import Problem
from app.lanes import Lanes
from app.logs import configure_logs
from app.middleware import RequestContext
from app.pipeline import Pipeline, open_pipeline
from app.routes import Service, answer_problem, router
from app.settings import Settings

log = logging.getLogger("app.main")

KEEP_ALIVE_S = 65  # longer than the usual proxy's 60 s, or the proxy meets closed connections


def create_app(
    settings: Settings, open_pipeline: Callable[[Settings], Pipeline] = open_pipeline
) -> FastAPI:
    """Build the application. Models are loaded, verified and warmed when it starts.

    Until then the server does not listen, so a probe that connects finds a service that can work.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        lanes = Lanes(settings.threads, settings.max_queue)
        try:
            pipeline = await lanes.run(lambda: open_pipeline(settings))
            app.state.service = Service(settings=settings, pipeline=pipeline, lanes=lanes)
            yield
        finally:
            lanes.close()

    app = FastAPI(
        title="photo2cartoon",
        summary="A portrait photo in, a cartoon of that person out",
        lifespan=lifespan,
    )
    app.add_middleware(RequestContext)
    app.include_router(router, max_body_size=settings.max_body_bytes)
    for kind in (Problem, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, answer_problem)
    return app


def serve(settings: Settings) -> None:
    """Listen and serve until a signal says stop."""
    configure_logs(settings.log_level)
    config = uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    _Server(config).run()


class _Server(uvicorn.Server):
    """Says where it listens, with the port it really has."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                log.info("ready", extra={"fields": {"url": f"http://{host}:{port}"}})
