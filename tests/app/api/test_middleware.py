"""What surrounds every request: its id, its log line, its headers, the last answer."""

import asyncio
import json
import logging
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from photo2cartoon.api.middleware import MIDDLEWARE
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.telemetry.metrics import Metrics
from tests.app.fakes import PNG, assert_problem, picture, upload


def test_the_request_id_is_the_callers_where_it_is_plain(client: TestClient) -> None:
    for given, kept in (("abc-123", True), ("two words", False), ("x" * 65, False), ("", False)):
        response = client.get("/livez", headers={"x-request-id": given})
        assert (response.headers["x-request-id"] == given) is kept
    ids = {client.get("/livez").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def test_work_that_outlasts_the_grace_is_answered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(*_: Any) -> None:  # what uvicorn does to it at the end of the grace
        raise asyncio.CancelledError

    monkeypatch.setattr("photo2cartoon.api.routes.unless_left", cancelled)
    with warnings.catch_warnings():  # the work itself is never awaited
        warnings.simplefilter("ignore", RuntimeWarning)
        response = client.post("/cartoonize", content=picture(), headers=PNG)
    assert_problem(response, 503, "draining")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("address", ["/livez", "/metrics", "/cartoonize", "/nothing", "/docs", "/"])
def test_browsers_are_told_what_not_to_do(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert ("script-src 'self'" in policy) is (address in ("/docs", "/"))


def test_a_bug_is_answered_without_internals(
    client: TestClient, stubbed: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bytes:
        raise KeyError("the inner secret")

    stubbed(fail)
    response = client.post("/cartoonize", content=picture(), headers=PNG)
    body = assert_problem(response, 500, "internal_error")
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.fields["request_id"] == body["request_id"]  # type: ignore[attr-defined]
    assert record.exc_info
    assert client.get("/livez").status_code == 200


def test_one_log_line_says_what_happened(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "photo2cartoon.requests"):
        client.post("/cartoonize?format=webp", **upload(photo))
        client.get("/secret/path")
    served, missed = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert (served["route"], served["status"], served["code"]) == ("/cartoonize", 200, "ok")
    assert {"read", "decode", "generate", "encode"} <= set(served["stages_ms"])
    assert (missed["route"], missed["status"], missed["code"]) == (None, 404, "not_found")
    assert "secret" not in json.dumps(missed)
    assert "me.jpg" not in json.dumps(served)


def test_server_timing_names_every_stage(client: TestClient, photo: bytes) -> None:
    answer = client.post("/cartoonize", content=photo, headers=PNG)
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    stages = ["read", "queue", "decode", "detect", "align", "matte", "compose", "generate"]
    assert list(timing) == [*stages, "encode", "total"]
    times = [float(ms) for ms in timing.values()]
    assert times[-1] >= sum(times[:-1]) * 0.99 > 0
    refused = client.post("/cartoonize", content=picture(), headers=PNG)
    assert "detect;dur=" in refused.headers["server-timing"]  # a problem says it as well
    assert "server-timing" not in client.get("/livez").headers


class Call:
    """One POST to an application that has the middleware and nothing else around it."""

    def __init__(self, app: ASGIApp) -> None:
        for kind in reversed(MIDDLEWARE):
            app = kind(app)
        self.app = app
        self.metrics = Metrics()
        self.sent: list[Message] = []
        engine = SimpleNamespace(draining=True)
        self.scope: Scope = {
            "type": "http",
            "method": "POST",
            "headers": [],
            "app": SimpleNamespace(state=SimpleNamespace(metrics=self.metrics, engine=engine)),
            "route": SimpleNamespace(path="/cartoonize"),
        }

    async def __call__(self) -> None:
        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self.app(self.scope, receive, send)

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


def request_line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the one line that a request has in the log."""
    (line,) = [vars(r)["fields"] for r in caplog.records if r.name == "photo2cartoon.requests"]
    return dict(line)


@pytest.mark.anyio
async def test_a_caller_that_leaves_is_counted_and_gets_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def leave(scope: Scope, receive: Receive, send: Send) -> None:
        ticket = scope["state"]["ticket"] = Ticket()
        ticket.at = Stage.MATTE
        raise ClientDisconnect

    call = Call(leave)
    with caplog.at_level(logging.INFO):
        await call()
    assert call.sent == []
    line = request_line(caplog)
    assert (line["status"], line["code"], line["left_at"]) == (499, "client_left", "matte")
    assert call.count("p2c_cancelled_total", at="matte") == 1
    counted = {"route": "/cartoonize", "code": "499", "outcome": "left"}
    assert call.count("p2c_requests_total", **counted) == 1


@pytest.mark.anyio
async def test_a_body_limit_in_plain_text_is_answered_as_a_problem(
    caplog: pytest.LogCaptureFixture,
) -> None:
    call = Call(PlainTextResponse("Content Too Large", 413))
    with caplog.at_level(logging.INFO):
        await call()
    assert [message["type"] for message in call.sent] == [
        "http.response.start",
        "http.response.body",
    ]
    line = request_line(caplog)
    assert (line["status"], line["code"]) == (413, "body_too_large")
    assert json.loads(call.sent[1]["body"])["request_id"] == line["request_id"]
    assert call.headers["content-type"] == "application/problem+json"
    assert call.headers["x-request-id"] == line["request_id"]
    assert call.headers["connection"] == "close"  # it drains
    assert call.count("p2c_errors_total", code="body_too_large") == 1


@pytest.mark.anyio
async def test_a_bug_before_the_answer_is_a_problem_and_one_within_it_ends_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("secret")

    async def fail_late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise KeyError("secret")

    early, late = Call(fail), Call(fail_late)
    await early()
    assert (early.sent[0]["status"], early.headers["connection"]) == (500, "close")
    assert early.count("p2c_errors_total", code="internal_error") == 1
    caplog.clear()
    with caplog.at_level(logging.INFO), pytest.raises(KeyError):
        await late()
    assert len(late.sent) == 1
    records = [record for record in caplog.records if record.name == "photo2cartoon.requests"]
    assert [record.message for record in records] == ["unexpected error", "request"]
    assert vars(records[1])["fields"]["status"] == 200
