"""Tracing: a span for each stage of a photo, below the one that FastAPI makes for the request.

Off unless the environment names an OTLP endpoint (`OTEL_EXPORTER_OTLP_ENDPOINT`); FastAPI then sets
up the SDK, which the extra `otel` installs. Spans hold names and times, nothing of the photo.
"""

import os
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from fastapi.telemetry import TelemetryConfig
from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from photo2cartoon.ground.ticket import Stage, Ticket

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
UNTRACED = ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")

tracer = trace.get_tracer("photo2cartoon")


def tracing_is_on() -> bool:
    """Whether the environment asks for traces."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not disabled and any(os.environ.get(name) for name in ENDPOINTS)


def telemetry() -> TelemetryConfig:
    """Return what FastAPI's own telemetry should do: traces alone, as `metrics` has the rest."""
    return {
        "auto_configure": tracing_is_on(),
        "tracing": tracing_is_on(),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": is_untraced,
    }


def is_untraced(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is a probe or a scrape: their traces would hide all others."""
    path: str = scope["path"]  # maybe behind a prefix
    return path.endswith(UNTRACED)


def trace_headers() -> dict[str, str]:
    """Return the `traceparent` of the request under way; nothing if tracing is off.

    `tracestate` and `baggage` are the caller's own text, and are not sent back.
    """
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return {name: value for name, value in headers.items() if name == "traceparent"}


def hide_callers_text(address: str) -> None:
    """Take path, query and `Host` out of the span of the request under way: FastAPI wrote them.

    The route, which the span has as well, says what was asked. `address` is the server's own.
    """
    trace.get_current_span().set_attributes(
        {"url.path": "", "url.query": "", "server.address": address}
    )


def trace_id() -> str | None:
    """Return the id of the trace for a log line, 32 hex digits; None if tracing is off."""
    span = trace.get_current_span().get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else None


class TracedTicket(Ticket):
    """A ticket whose stages are spans. Lanes are other threads, so it carries the trace along."""

    def __init__(self, timeout_s: float | None = None) -> None:
        super().__init__(timeout_s)
        self._context = context.get_current()

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        with tracer.start_as_current_span(stage, self._context), super().stage(stage):
            yield

    def add(self, stage: Stage, seconds: float) -> None:
        if stage is Stage.QUEUE:  # the one stage that is known only once it is over
            start = time.time_ns() - round(seconds * 1e9)
            tracer.start_span(stage, self._context, start_time=start).end()
        super().add(stage, seconds)
