"""Middleware: what surrounds every request, each class with one job, from the outermost in.

    RequestId      gives the request its id, and the answer the header that names it
    RequestLog     writes one log line and counts the request once all is over
    SafeHeaders    adds what browsers must not do with the answer
    TimingHeaders  adds Server-Timing, traceparent and, while the server drains, Connection: close
    LastAnswer     answers what nothing further in has answered: bugs, bodies that are too large

LastAnswer is innermost, so that its answers have the same headers and are logged and counted like
all others. The classes share `scope["state"]` with the routes, where it is `request.state`.

Pure ASGI: Starlette's BaseHTTPMiddleware would hide a client's disconnect from the routes.
"""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from photo2cartoon.api.answers import SAFE, problem_response
from photo2cartoon.ground.errors import BodyTooLarge, Draining, InternalError, Problem
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.telemetry.metrics import CLIENT_LEFT, Metrics
from photo2cartoon.telemetry.tracing import hide_callers_text, trace_headers, trace_id

log = logging.getLogger("photo2cartoon.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
START = "http.response.start"


class _Middleware:
    """Hands HTTP requests to `handle`; the lifespan's messages pass unseen."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handle = self.handle if scope["type"] == "http" else self.app
        await handle(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class RequestId(_Middleware):
    """Keeps the caller's `X-Request-ID` where it is short and plain, else makes a new one.

    The id is in `request.state.request_id`, the answer's header, a problem's body and the log.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_named(message: Message) -> None:
            if message["type"] == START:
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_named)


class RequestLog(_Middleware):
    """Writes one line for each request, and tells the metrics the same."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        start, status = time.perf_counter(), 0
        hide_callers_text((scope.get("server") or [""])[0])

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == START:
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            state = scope["state"]
            if refused := state.get("refused"):  # the connection has answered, and ended
                status, state["problem"] = refused.status, refused.code
                state.pop("left_at", None)
            elif "left_at" in state:
                status = CLIENT_LEFT
            seconds = time.perf_counter() - start
            # Never the raw path: it is the caller's text.
            route = getattr(scope.get("route"), "path", None)
            note_request(scope, route, status, seconds)


def note_request(scope: Scope, route: str | None, status: int, seconds: float) -> None:
    """Count a request that is over, and write its log line."""
    _count(scope, route, status, seconds)
    _write_line(scope, route, status, seconds)


def _count(scope: Scope, route: str | None, status: int, seconds: float) -> None:
    state = scope["state"]
    metrics: Metrics = scope["app"].state.metrics
    metrics.request(route, status, seconds)
    if "key" in state:
        metrics.key(state["key"], status)
    if "problem" in state:
        metrics.problem(state["problem"])
    if "left_at" in state:
        metrics.left(state["left_at"])
    if "ticket" in state:
        metrics.photo(state["ticket"])


def _write_line(scope: Scope, route: str | None, status: int, seconds: float) -> None:
    state = scope["state"]
    left = "left_at" in state
    fields = {
        "request_id": state["request_id"],
        "method": scope["method"],
        "route": route,
        "status": status,
        "code": "client_left" if left else state.get("problem", "ok"),
        "ms": round(seconds * 1000, 2),
    }
    if key := state.get("key"):
        fields["key"] = key
    if trace := trace_id():
        fields["trace_id"] = trace
    ticket: Ticket | None = state.get("ticket")
    if ticket:
        fields |= {**ticket.facts, "stages_ms": ticket.milliseconds()}
        if left:
            fields["left_at"] = state["left_at"]
    log.info("request", extra={"fields": fields})


class SafeHeaders(_Middleware):
    """Adds `SAFE` to every answer, but for what the answer says itself: pages have scripts."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safe(message: Message) -> None:
            if message["type"] == START:
                headers = MutableHeaders(scope=message)
                for name, value in SAFE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_safe)


class TimingHeaders(_Middleware):
    """Tells the caller what took how long, and whether to come back on this connection."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == START:
                headers = MutableHeaders(scope=message)
                headers.update(trace_headers())
                if ticket := scope["state"].get("ticket"):
                    headers["Server-Timing"] = _server_timing(ticket, time.perf_counter() - start)
                engine = getattr(scope["app"].state, "engine", None)
                if engine is not None and engine.draining:
                    headers["Connection"] = "close"  # the next request should find another server
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _server_timing(ticket: Ticket, seconds: float) -> str:
    """W3C Server Timing: the ms of each stage, and of all since the request's head was read."""
    stages = ticket.milliseconds() | {"total": round(seconds * 1000, 2)}
    return ", ".join(f"{name};dur={took}" for name, took in stages.items())


class LastAnswer(_Middleware):
    """Answers failures that nothing further in has answered. A caller that left gets no answer."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        started = replaced = False

        async def send_problem(problem: Problem) -> None:
            state["problem"] = problem.code
            await problem_response(problem, state["request_id"])(scope, receive, send)

        async def send_checked(message: Message) -> None:
            nonlocal started, replaced
            if replaced:
                return
            started = True
            if _is_plain_413(message):
                replaced = True
                await send_problem(BodyTooLarge())
            else:
                await send(message)

        try:
            await self.app(scope, receive, send_checked)
        except ClientDisconnect:
            state["left_at"] = state["ticket"].at if "ticket" in state else Stage.READ
        except (Exception, asyncio.CancelledError) as error:
            problem = _explain(error, state["request_id"])
            if started:
                raise
            await send_problem(problem)


def _explain(error: BaseException, request_id: str) -> Problem:
    """Return what to answer; log what is a bug. Uvicorn cancels work that outlasts the grace."""
    if isinstance(error, asyncio.CancelledError):
        return Draining(retry_after_s=1)
    log.error("unexpected error", exc_info=error, extra={"fields": {"request_id": request_id}})
    return InternalError()


def _is_plain_413(message: Message) -> bool:
    """Whether Starlette's body limit answers a declared length by itself, in plain text."""
    if message["type"] != START or message["status"] != 413:
        return False
    return Headers(raw=message["headers"]).get("content-type", "").startswith("text/plain")


MIDDLEWARE = (RequestId, RequestLog, SafeHeaders, TimingHeaders, LastAnswer)
