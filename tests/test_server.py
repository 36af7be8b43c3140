"""A real server process, real sockets, real signals."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx2
import numpy as np
import psutil
import pytest
from PIL import Image

from app.pipeline import Pipeline
from tests.conftest import ROOT, Server

# Runs the server where any temporary file on disk is an error.
NO_TEMP_FOLDER = (
    "import tempfile; tempfile.tempdir = '/proc/none'; from app.cli import main; main()"
)


@pytest.fixture(scope="module")
def large_photo(photo: bytes) -> bytes:
    """A PNG of more than 5 MB with the face in it."""
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1400, 3), np.uint8)
    scene = Image.fromarray(noise)
    scene.paste(Image.open(io.BytesIO(photo)).resize((1024, 1024)), (188, 188))
    buffer = io.BytesIO()
    scene.save(buffer, "PNG", compress_level=0)
    assert len(buffer.getvalue()) > 5_000_000
    return buffer.getvalue()


def post(url: str, photo: bytes, **options: object) -> httpx2.Response:
    files = {"photo": ("photo", photo)}
    return httpx2.post(f"{url}/cartoonize", files=files, timeout=60, **options)  # type: ignore[arg-type]


def test_many_callers_get_the_one_right_answer(
    server: Server, pipeline: Pipeline, photo: bytes
) -> None:
    (expected,) = pipeline.cartoonize(photo)
    answers: list[bytes] = []
    callers = [
        threading.Thread(target=lambda: answers.append(post(server.url, photo).content))
        for _ in range(12)
    ]
    for caller in callers:
        caller.start()
    assert httpx2.get(f"{server.url}/livez").status_code == 200
    for caller in callers:
        caller.join()
    assert answers == [expected] * 12


def test_a_large_upload_needs_no_temporary_folder(large_photo: bytes) -> None:
    server = Server(program=NO_TEMP_FOLDER)
    try:
        assert post(server.url, large_photo).status_code == 200
        raw = httpx2.post(f"{server.url}/cartoonize", content=large_photo, timeout=60)
        assert raw.status_code == 200
    finally:
        server.stop()


def test_nothing_is_written_to_disk(server: Server, photo: bytes, large_photo: bytes) -> None:
    process = psutil.Process(server.process.pid)
    post(server.url, photo)
    before = process.io_counters().write_bytes, process.num_fds()
    for _ in range(10):
        assert post(server.url, photo).status_code == 200
    assert post(server.url, large_photo).status_code == 200
    after = process.io_counters().write_bytes, process.num_fds()
    assert after[0] == before[0]
    assert after[1] <= before[1] + 1


def test_a_caller_that_leaves_harms_nobody(server: Server, photo: bytes) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for part in (20, len(photo) // 2, len(photo)):
        with socket.create_connection((host, int(port))) as connection:
            head = "POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            connection.sendall(
                f"{head}Content-Length: {len(photo)}\r\n\r\n".encode() + photo[:part]
            )
    assert post(server.url, photo).status_code == 200


def test_what_was_accepted_is_finished_before_the_server_stops(photo: bytes) -> None:
    server = Server(P2C_THREADS="1")
    answers: list[int] = []
    callers = [
        threading.Thread(target=lambda: answers.append(post(server.url, photo).status_code))
        for _ in range(6)
    ]
    for caller in callers:
        caller.start()
    process = psutil.Process(server.process.pid)
    while sum(c.status == "ESTABLISHED" for c in process.net_connections()) < len(callers):
        time.sleep(0.001)
    code = server.stop()
    for caller in callers:
        caller.join()
    assert answers == [200] * 6
    assert code in (0, -signal.SIGTERM)


def test_logs_are_json_lines_and_hold_no_names(photo: bytes) -> None:
    server = Server()
    httpx2.post(f"{server.url}/cartoonize?secret=1", files={"photo": ("secret.jpg", photo)})
    server.stop()
    log = "".join(server.lines)
    assert all(line.startswith("{") for line in server.lines)
    assert '"code": "invalid_option"' in log
    assert "secret" not in log


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"P2C_PROT": "8000"}, "P2C_PROT"),
        ({"P2C_PORT": "eighty"}, "P2C_PORT"),
    ],
)
def test_a_wrong_setting_stops_the_start(environment: dict[str, str], message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
