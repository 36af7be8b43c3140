"""A real server process, and what tests say to it over real sockets."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import Queue
from typing import Any, Self

import httpx2

from tests.places import ROOT

SERVE = "from photo2cartoon.cli.main import main; main()"


class Server:
    """A `photo2cartoon serve` process on a free port of this machine.

    Attributes:
        url: where it listens, with the port.
        lines: what it has logged so far.
    """

    def __init__(
        self, program: str = SERVE, *, arguments: Sequence[str] = (), **environment: str
    ) -> None:
        """Start it and wait until it listens.

        Args:
            program: Python source that ends in `main()`; what stands before may change the service.
            arguments: options of `serve`.
            environment: its settings, P2C_*; those of the tests' own environment do not count.

        Raises:
            RuntimeError: it stopped before it listened; the message is its log.
        """
        plain = {name: value for name, value in os.environ.items() if not name.startswith("P2C_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", *arguments],
            cwd=ROOT,
            env={**plain, "P2C_PORT": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._ready: Queue[str | None] = Queue()
        # A pipe that nobody empties would stop the server after some hundred log lines.
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        url = self._ready.get(timeout=60)
        if url is None:
            raise RuntimeError("the server stopped: " + "".join(self.lines))
        self.url = url

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(text)
            if '"event": "ready"' in text:
                self._ready.put(json.loads(text)["url"])
        self._ready.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop and wait for its end; return its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


def post(url: str, photo: bytes, **options: object) -> httpx2.Response:
    """Send a photo as a form does."""
    files = {"photo": ("photo", photo)}
    return httpx2.post(f"{url}/cartoonize", files=files, timeout=60, **options)  # type: ignore[arg-type]


def ready(url: str) -> dict[str, Any]:
    """Return what `/readyz` says."""
    state: dict[str, Any] = httpx2.get(f"{url}/readyz").json()
    return state


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until `condition()` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.005)


def connect(url: str) -> socket.socket:
    """Open a connection of its own, for a test that watches what happens on it."""
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def request_bytes(photo: bytes) -> bytes:
    """Return a whole request, head and body."""
    head = "POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    return f"{head}Content-Length: {len(photo)}\r\n\r\n".encode() + photo


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the next answer on a connection."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers, stream.read(int(headers["content-length"]))


@contextmanager
def requests_under_way(url: str, photo: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Send `count` requests, each on a connection of its own; nobody reads the answers yet."""
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(url)) for _ in range(count)]
        for connection in connections:
            connection.sendall(request_bytes(photo))
        yield connections
