"""RequestContext: around every request, its id, its log line, and a last answer to any failure.

Pure ASGI: Starlette's BaseHTTPMiddleware would hide a client's disconnect from the routes.
"""

import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from photo2cartoon.ground.errors import BodyTooLarge, InternalError, Problem
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.telemetry.metrics import CLIENT_LEFT, Metrics
from photo2cartoon.telemetry.tracing import trace_headers, trace_id

log = logging.getLogger("app.requests")

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def problem_response(problem: Problem, request_id: str) -> JSONResponse:
    """Return the one answer all errors have."""
    return JSONResponse(
        problem.body(request_id),
        problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        media_type="application/problem+json",
    )


class RequestContext:
    """Outermost part of the app.

    The id is the caller's `X-Request-ID` where that is short and plain, else a new one; it is in
    `request.state.request_id`, in the answer's header, in a problem's body and in the log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = _Answer(scope, receive, send)
        try:
            await self.app(scope, receive, answer.send)
        except ClientDisconnect:
            answer.status = CLIENT_LEFT
        except Exception:
            log.exception("unexpected error", extra={"fields": {"request_id": answer.request_id}})
            if answer.started:
                raise
            await answer.send_problem(InternalError())
        finally:
            answer.write_log()


class _Answer:
    """What goes out for one request."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.status = 0
        self.started = False
        self._scope, self._receive, self._send = scope, receive, send
        self._replaced = False
        self._start = time.perf_counter()

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if message["status"] == 413 and headers["content-type"].startswith("text/plain"):
                # Starlette's body limit answers a declared length by itself, in plain text.
                await self.send_problem(BodyTooLarge())
                self._replaced = True
                return
            headers["X-Request-ID"] = self.request_id
            headers.update(trace_headers())
            if ticket := self._scope["state"].get("ticket"):
                headers["Server-Timing"] = self._server_timing(ticket)
            if self._draining:
                headers["Connection"] = "close"  # the next request should find another server
            self.started = True
            self.status = message["status"]
        await self._send(message)

    @property
    def _draining(self) -> bool:
        engine = getattr(self._scope["app"].state, "engine", None)
        return engine is not None and engine.draining

    def _server_timing(self, ticket: Ticket) -> str:
        """W3C Server Timing: each stage's ms, and all since the request's head was read."""
        total = (time.perf_counter() - self._start) * 1000
        stages = ticket.milliseconds() | {"total": round(total, 2)}
        return ", ".join(f"{name};dur={took}" for name, took in stages.items())

    async def send_problem(self, problem: Problem) -> None:
        self._scope["state"]["problem"] = problem.code
        await problem_response(problem, self.request_id)(self._scope, self._receive, self.send)

    def write_log(self) -> None:
        state = self._scope["state"]
        route = self._scope.get("route")
        left = self.status == CLIENT_LEFT
        seconds = time.perf_counter() - self._start
        ticket: Ticket | None = state.get("ticket")
        fields = {
            "request_id": self.request_id,
            "method": self._scope["method"],
            "route": getattr(route, "path", None),  # never the raw path: it is the caller's text
            "status": self.status,
            "code": "client_left" if left else state.get("problem", "ok"),
            "ms": round(seconds * 1000, 2),
        }
        if trace := trace_id():
            fields["trace_id"] = trace
        metrics: Metrics = self._scope["app"].state.metrics
        metrics.request(fields["route"], self.status, seconds)
        if "problem" in state:
            metrics.problem(state["problem"])
        if left:
            metrics.left(ticket.at if ticket else Stage.READ)
        if ticket:
            metrics.photo(ticket)
            fields |= ticket.facts
            fields["stages_ms"] = ticket.milliseconds()
            if left:
                fields["left_at"] = ticket.at
        log.info("request", extra={"fields": fields})
