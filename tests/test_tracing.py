"""One request, one trace, with a span for every stage: a real exporter, a real receiver."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from photo2cartoon.ground.ticket import Stage
from tests.server import Server, post, wait_for

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Receiver(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Span] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        message = ExportTraceServiceRequest()
        message.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
        for resource in message.resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever)
        thread.start()
        yield receiver
        receiver.shutdown()
        thread.join()


def test_one_request_is_one_trace_with_all_its_stages(receiver: Receiver, photo: bytes) -> None:
    parent = f"00-{TRACE}-{PARENT}-01"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Server(**environment) as server:
        answer = post(server.url, photo, headers={"traceparent": parent})
        httpx2.get(f"{server.url}/readyz")
    wait_for(lambda: len(receiver.spans) > len(Stage))
    assert {span.trace_id.hex() for span in receiver.spans} == {TRACE}
    (root,) = [span for span in receiver.spans if span.parent_span_id.hex() == PARENT]
    assert root.name == "POST /cartoonize"
    stages = [span for span in receiver.spans if span is not root]
    assert {span.name for span in stages} == set(Stage)
    assert {span.parent_span_id for span in stages} == {root.span_id}
    for span in stages:
        assert root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
    assert answer.headers["traceparent"] == f"00-{TRACE}-{root.span_id.hex()}-01"
    assert any(f'"trace_id": "{TRACE}"' in line for line in server.lines)


def test_a_callers_text_stays_out_of_spans_and_answers(receiver: Receiver) -> None:
    given = {
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "tracestate": "secret=1",
        "baggage": "secret=1",
        "cookie": "secret",
        "user-agent": "secret",
    }
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Server(**environment) as server:
        url = f"{server.url}/cartoonize?secret=secret"
        answer = httpx2.post(url, content=b"secret", headers=given)
        httpx2.get(f"{server.url}/secret", headers=given | {"host": "secret:80"})
        httpx2.post(f"{server.url}/v2/models/secret/infer", headers=given)
    assert "traceparent" in answer.headers
    assert "secret" not in str(answer.headers)
    assert "secret" not in "".join(server.lines)
    wait_for(lambda: sum(span.parent_span_id.hex() == PARENT for span in receiver.spans) == 3)
    for span in receiver.spans:
        assert "secret" not in span.name
        assert "secret" not in str(span.attributes)
        assert "secret" not in str(span.events)


def test_nothing_is_traced_without_an_endpoint(server: Server, photo: bytes) -> None:
    answer = post(server.url, photo, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert "traceparent" not in answer.headers
    assert not any("trace_id" in line for line in server.lines)
