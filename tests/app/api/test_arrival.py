"""Bodies as they arrive, at a real server process: what they hold, and how long."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.server import Server, connect, post, read_answer, wait_for

QUICK = """
from photo2cartoon.api import arrival
arrival.UPLOAD_GRACE_S = 0.5
from photo2cartoon.cli.main import main
main()
"""
SINGLE = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
BATCH = (
    b"POST /cartoonize/batch HTTP/1.1\r\nHost: x\r\n"
    b"Content-Type: multipart/form-data; boundary=B\r\n"
)
PART = b'--B\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    with Server(program=QUICK, P2C_MIN_UPLOAD_RATE="1000") as server:
        yield server


def body_bytes(server: Server) -> float:
    """What the service holds for bodies."""
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("p2c_body_bytes "))


def problem(connection: socket.socket) -> tuple[int, str, str]:
    status, headers, body = read_answer(connection)
    return status, json.loads(body)["code"], headers.get("connection", "")


def test_bodies_that_do_not_come_take_no_room(server: Server, photo: bytes) -> None:
    thousand = PART + bytes(1_000 - len(PART))
    chunk = b"3e8\r\n" + thousand + b"\r\n"
    beginnings = [
        *[SINGLE + CHUNKED + chunk] * 24,
        *[SINGLE + b"Content-Length: 19000000\r\n\r\n" + thousand] * 24,
        *[BATCH + CHUNKED + chunk] * 12,
    ]
    with contextlib.ExitStack() as stack:
        for beginning in beginnings:
            stack.enter_context(connect(server.url)).sendall(beginning)
        wait_for(lambda: body_bytes(server) == 1_000 * len(beginnings))
        assert post(server.url, photo).status_code == 200
    wait_for(lambda: body_bytes(server) == 0)


@pytest.mark.parametrize("head", [SINGLE, BATCH], ids=["single", "batch"])
@pytest.mark.parametrize("begun", [b"", b"1\r\n-\r\n"], ids=["never", "hardly"])
def test_a_body_that_does_not_come_is_dropped(impatient: Server, head: bytes, begun: bytes) -> None:
    with connect(impatient.url) as connection:
        connection.sendall(head + CHUNKED + begun)
        assert problem(connection) == (408, "upload_timeout", "close")
        assert connection.recv(1) == b""
    wait_for(lambda: body_bytes(impatient) == 0)


def test_a_body_that_comes_slowly_but_steadily_is_read(impatient: Server) -> None:
    with connect(impatient.url) as connection:
        connection.sendall(SINGLE + CHUNKED)
        for _ in range(20):
            connection.sendall(b"2710\r\n" + bytes(10_000) + b"\r\n")
            time.sleep(0.05)  # all of it takes twice the grace, at a hundred times the least rate
        connection.sendall(b"0\r\n\r\n")
        assert problem(connection) == (415, "unsupported_format", "")
