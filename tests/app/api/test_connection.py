"""The bounds of connections, at a real server process."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest

from photo2cartoon.api.connection import Connection
from tests.server import Server, connect, read_answer, ready, request_bytes, wait_for

LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
QUICK = """
from photo2cartoon.api import connection
connection.HEAD_TIMEOUT_S = 0.5
connection.ANSWER_CHECK_S = 0.2
from photo2cartoon.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(program=QUICK, P2C_MAX_CONNECTIONS="20") as server:
        yield server


def ask(server: Server, raw: bytes) -> tuple[int, str]:
    """Send bytes on a connection of their own; return the answer's status and problem code."""
    with connect(server.url) as connection:
        with contextlib.suppress(OSError):  # it may be refused before all of it is sent
            connection.sendall(raw)
        return _outcome(connection)


def _outcome(connection: socket.socket) -> tuple[int, str]:
    status, headers, body = read_answer(connection)
    if status == 200:
        return status, "ok"
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    document = json.loads(body)
    assert (document["status"], document["request_id"]) == (status, headers["x-request-id"])
    return status, document["code"]


def _ended(connection: socket.socket, seconds: float = 10) -> bool:
    """Whether the server ends a connection on which it owes nothing, within `seconds`."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def _value(size: int) -> bytes:
    """A head whose one long line makes it about `size` bytes."""
    return LIVE + b"X-A: " + b"a" * (size - 60) + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (_value(32_000), (200, "ok")),
        (_value(33_000), (431, "head_too_large")),
        (_value(5_000_000), (431, "head_too_large")),
        (b"GET /" + b"a" * 5_000_000, (431, "head_too_large")),
        (LIVE + b"X-A: b\r\n" * 99 + b"\r\n", (200, "ok")),
        (LIVE + b"X-A: b\r\n" * 100 + b"\r\n", (431, "head_too_large")),
        (b"\r\n" * 100_000, (431, "head_too_large")),
        (b"nonsense\r\n\r\n", (400, "malformed_request")),
        (LIVE + b"Content-Length: -1\r\n\r\n", (400, "malformed_request")),
        (LIVE + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\nmore", (200, "ok")),
        (b"CONNECT /livez HTTP/1.1\r\nHost: x\r\n\r\n", (400, "malformed_request")),
        (b"GET /livez HTTP/1.1\r\n\r\n", (400, "malformed_request")),
        (b"GET /livez HTTP/1.0\r\n\r\n", (200, "ok")),
        (LIVE + b"Host: y\r\n\r\n", (400, "malformed_request")),
    ],
    ids=lambda raw: f"{len(raw)} bytes" if isinstance(raw, bytes) else None,
)
def test_heads_are_bounded(server: Server, raw: bytes, expected: tuple[int, str]) -> None:
    assert ask(server, raw) == expected


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
WHOLE = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\n" + OFFER


@pytest.mark.parametrize("at", [1, 60, 120, 300, 1000])
def test_a_body_comes_with_an_offer_of_another_protocol(
    server: Server, photo: bytes, at: int
) -> None:
    body = photo[: len(photo) // 2]  # nothing after its first half: no part of it is lost
    requests = [
        WHOLE + b"Content-Length: %d\r\n\r\n" % len(body) + body,
        WHOLE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
    ]
    with connect(server.url) as connection:
        for raw in requests:  # in two pieces, one after the other on the same connection
            connection.sendall(raw[:at])
            time.sleep(0.02)
            connection.sendall(raw[at:])
            status, _, answer = read_answer(connection)
            assert (status, json.loads(answer)["code"]) == (422, "undecodable_image")


CHUNKED = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"zz\r\n", (400, "malformed_request")),
        (b"1;" + b"e" * 100_000, (431, "head_too_large")),
        (b"1\r\nx\r\n0\r\n" + b"X-A: b\r\n" * 101, (431, "head_too_large")),
        (b"1\r\nx\r\n0\r\nX-A: " + b"a" * 100_000, (431, "head_too_large")),
    ],
    ids=["size", "extension", "trailers", "trailer"],
)
def test_chunks_are_bounded(server: Server, body: bytes, expected: tuple[int, str]) -> None:
    name = f"chunked-{len(body)}"
    with connect(server.url) as connection:
        connection.sendall(CHUNKED + f"X-Request-ID: {name}\r\n\r\n".encode())
        time.sleep(0.1)  # the application waits for the body by now
        with contextlib.suppress(OSError):
            connection.sendall(body)
        assert _outcome(connection) == expected
    wait_for(lambda: any(name in line for line in server.lines))
    (line,) = (json.loads(line) for line in server.lines if name in line)
    assert (line["route"], line["status"], line["code"]) == ("/cartoonize", *expected)


@pytest.mark.parametrize("size", [1, 1_000, 500_000])
def test_a_body_in_chunks_of_any_size_is_read(server: Server, size: int) -> None:
    count = 300_000 // size or 4
    chunk = f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"
    head = CHUNKED + b"Content-Type: image/jpeg\r\n\r\n"
    with connect(server.url) as connection:
        connection.sendall(head + chunk * count + b"0\r\n\r\n" + LIVE + b"\r\n")
        with connection.makefile("rb") as stream:
            assert stream.readline().split()[1] == b"415"
            answers = b""
            while b"200 OK" not in answers:
                piece = stream.read1()
                assert piece
                answers += piece


def test_an_answer_that_ends_the_connection_reaches_whoever_still_sends(server: Server) -> None:
    """Clients such as urllib say `Connection: close` and send all of a body before they read."""
    head = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with connect(server.url) as connection:
        connection.sendall(head + b"Content-Length: 60000000\r\n\r\n")
        for _ in range(60):
            connection.sendall(bytes(100_000))
            time.sleep(0.005)
        assert _outcome(connection) == (413, "body_too_large")
        assert _ended(connection)


def test_a_head_has_a_time_limit_and_an_idle_connection_a_longer_one(server: Server) -> None:
    with connect(server.url) as idle, connect(server.url) as slow:
        slow.sendall(LIVE)
        assert _outcome(slow) == (408, "upload_timeout")
        idle.sendall(LIVE + b"\r\n")
        assert _outcome(idle) == (200, "ok")


def test_requests_sent_ahead_are_answered_in_turn_and_not_hoarded(server: Server) -> None:
    lone = (LIVE + b"\r\n") * 3
    with connect(server.url) as connection:
        connection.sendall(lone + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + lone)
        with connection.makefile("rb") as stream:
            statuses = []
            for _ in range(7):
                statuses.append(int(stream.readline().split()[1]))
                length = 0
                while (line := stream.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length"):
                        length = int(line.split()[1])
                stream.read(length)
    assert statuses == [200, 200, 200, 404, 200, 200, 200]


def test_what_nobody_reads_ends_the_connection(server: Server) -> None:
    with connect(server.url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        asked = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000_000
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(asked)  # more than all buffers between the two hold together
    assert ready(server.url)["status"] == "ready"


LARGE_ANSWERS = """
import io
from PIL import Image
from photo2cartoon.cli.main import main
from photo2cartoon.pipeline.pipeline import Pipeline
file = io.BytesIO()
Image.new("RGB", (8, 8)).save(file, "PNG")
Pipeline.cartoonize = lambda *_: [file.getvalue() + bytes(12_000_000)]
main()
"""


def test_answers_that_nobody_takes_share_the_room_of_bodies() -> None:
    """A caller that takes 5 KB/s of a scene's 36 MB would have them held for two hours."""
    room = {"P2C_MAX_BUFFERED_BYTES": "15000000"}
    bodies = {"P2C_MAX_BODY_BYTES": "1000000", "P2C_MAX_BATCH_BYTES": "1000000"}
    with Server(program=LARGE_ANSWERS, **room, **bodies) as server, contextlib.ExitStack() as stack:
        callers = []
        for _ in range(4):
            caller = stack.enter_context(connect(server.url))
            caller.sendall(request_bytes(b"\xff\xd8\xff"))
            assert caller.recv(12) == b"HTTP/1.1 200"
            callers.append(caller)
            time.sleep(0.1)  # as long as the system takes to fill its own buffers
        assert [_all_comes(caller) for caller in callers] == [False, False, False, True]
        assert ready(server.url)["status"] == "ready"


def _all_comes(connection: socket.socket) -> bool:
    """Whether all of a large answer can be taken, or the server has ended it."""
    left = 12_000_000
    with contextlib.suppress(ConnectionResetError):
        while left > 0 and (piece := connection.recv(1_000_000)):
            left -= len(piece)
    return left <= 0


def test_a_new_caller_takes_the_place_of_an_idle_one(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(server.url)) for _ in range(20)]
        # Connections of the tests before may be idle for longer: they go first.
        wait_for(lambda: ready(server.url)["status"] == "ready" and _ended(idle[0], 0.1))


def test_where_all_connections_work_one_more_is_refused(server: Server) -> None:
    upload = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(connect(server.url)).sendall(upload)
        wait_for(lambda: ask(server, LIVE + b"\r\n") == (503, "overloaded"))


@pytest.fixture
def fair() -> Iterator[Server]:
    with Server(P2C_MAX_CONNECTIONS_PER_PEER="3") as server:
        yield server


def connect_from(address: str, server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 60, source_address=(address, 0))


def test_one_address_has_a_number_of_connections_of_its_own(fair: Server) -> None:
    upload = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect_from("127.0.0.2", fair)) for _ in range(4)]
        assert _ended(idle[0])  # the fourth took the place of the first
        for connection in idle[1:]:
            connection.sendall(upload)
        wait_for(lambda: _is_refused(fair, "127.0.0.2"))
        other = stack.enter_context(connect_from("127.0.0.3", fair))
        other.sendall(LIVE + b"\r\n")
        assert _outcome(other) == (200, "ok")


def _is_refused(server: Server, address: str) -> bool:
    with connect_from(address, server) as connection:
        connection.sendall(LIVE + b"\r\n")
        return _outcome(connection) == (429, "too_many_at_once")


@pytest.mark.parametrize(
    ("client", "same", "other"),
    [
        ("203.0.113.7", "203.0.113.7", "203.0.113.8"),
        ("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"),
        ("::ffff:203.0.113.7", "203.0.113.7", "::ffff:203.0.113.8"),
    ],
)
def test_a_peer_is_an_address_or_a_network_of_ipv6(client: str, same: str, other: str) -> None:
    assert _peer(client) == _peer(same) != _peer(other)


def _peer(host: str) -> int | None:
    connection = Connection.__new__(Connection)
    connection.client = (host, 1234)
    return connection.peer


def test_a_connection_that_says_nothing_ends() -> None:
    quick = QUICK.replace("HEAD_TIMEOUT_S = 0.5", "KEEP_ALIVE_S = 0.5")
    with Server(program=quick) as server, connect(server.url) as mute, connect(server.url) as spoke:
        spoke.sendall(LIVE + b"\r\n")
        assert _outcome(spoke) == (200, "ok")
        assert _ended(spoke)
        assert _ended(mute)
