"""Requests that mean harm: damaged uploads, odd heads, slow senders, callers who leave.

What is random comes from the `random.Random` that is handed in, so that a seed repeats it.
"""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread
from urllib.parse import urlencode

MAY_FAIL = {500: {"unusable_output"}, 503: {"overloaded", "would_be_late", "draining"}}
MAY_FAIL |= {504: {"deadline_passed"}}
EXTREMES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\x01\0\0")
OPTIONS = {
    "faces": ("largest", "all", "0", "7", "-1", "9" * 5000, "٣", "1e3", " 0", ""),
    "compose": ("portrait", "scene", "whole", "Scene", "x" * 3000),
    "background": ("white", "transparent", "#aabbcc", "#abc", "red", "#AABBCC\n", "<script>"),
    "format": ("png", "jpeg", "webp", "gif", "", "PNG"),
    "quality": ("1", "50", "100", "0", "101", "1.5", "nan", "1" * 400),
    "size": ("256", "512", "300", "-1", "1e9"),
    "style": ("comic", "none", "../../etc"),
    "\u202e": ("\u2028",),
}
HEADERS = {
    "Accept": (
        "*/*",
        "image/webp",
        "text/html",
        ";",
        "a/b/c",
        "image/png;q=nan",
        ",,,",
        "image/png;" * 99,
    ),
    "X-Request-ID": ("abc", "a b", "a" * 65, "../../etc", "{}"),
    "X-Request-Timeout-Ms": ("5000", "1", "0", "-1", "9" * 5000, "1.5"),
    "Content-Encoding": ("identity", "gzip", "br, gzip"),
    "If-None-Match": ("*", '"x"', "W/", '"' * 99),
    "traceparent": ("00-0-0-0", "x" * 999),
}
TYPES = ("image/jpeg", "image/png", "", "application/json", "text/plain", "multipart/form-data")
PATHS = ("/cartoonize",) * 5 + ("/cartoonize/batch", "/v1/images/edits", "/v2/models/comic/infer")


@dataclass(frozen=True)
class Request:
    """One POST."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def encode(self) -> bytes:
        """Return it as it goes over the wire."""
        lines = [f"POST {self.path} HTTP/1.1", "Host: x", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + self.body


def fuzz(random: Random, photos: list[bytes]) -> Request:
    """Return an upload of a damaged photo with options and headers of which some are odd."""
    chosen = random.sample(sorted(OPTIONS), random.choice((0, 0, 1, 2, 4)))
    options = [(name, random.choice(OPTIONS[name])) for name in chosen]
    if options and not random.randrange(10):
        options.append(options[0])
    chosen = random.sample(sorted(HEADERS), random.choice((0, 0, 1, 3)))
    headers = {name: random.choice(HEADERS[name]) for name in chosen}
    if kind := random.choice(TYPES):
        headers["Content-Type"] = kind
    body = damage(random, random.choice(photos), photos)
    if not random.randrange(3):
        headers["Content-Type"] = "multipart/form-data; boundary=B"
        name = random.choice(("photo", "image", "photo[]", "", "ü"))
        part = f'--B\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
        body = part.encode() + body + random.choice((b"\r\n--B--\r\n", b"\r\n--B", b""))
    query = f"?{urlencode(options)}" if options else ""
    return Request(random.choice(PATHS) + query, headers, body)


def damage(random: Random, photo: bytes, others: list[bytes]) -> bytes:
    """Return a photo with a few changes of the kinds that break readers."""
    data = bytearray(photo)
    for _ in range(random.choice((0, 1, 1, 2, 5))):
        place = random.randrange(len(data)) if data else 0
        early = random.randrange(min(len(data), 300) or 1)
        other = random.choice(others)
        start, stop, new = random.choice((
            (place, None, b""),
            (early, early + 4, random.choice(EXTREMES)),
            (place, place + 64, random.randbytes(64)),
            (place, place, random.randbytes(5_000)),
            (place, None, other[place:]),
            (len(data), None, other),
        ))  # fmt: skip
        data[start:stop] = new
    return bytes(data)


def is_documented(status: int, code: str) -> bool:
    """Whether docs/http.md allows an answer to a request whose sender means harm."""
    return status < 500 or code in MAY_FAIL.get(status, set())


HEAD = b"POST /cartoonize HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
RAW = (
    b"GET /" + b"a" * 200_000,
    b"GET /livez HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 200_000,
    b"GET /livez HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 5_000,
    b'GET /livez HTTP/1.1\r\nHost: x\r\nAccept: a/b;x="' + b";" * 30_000 + b"\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 2_000,
    HEAD + b"Content-Length: 19000000\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 5_000,
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 200_000,
    HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" * 100,
    b"\r\n" * 50_000,
)


class Callers:
    """Threads that send until they are told to stop.

    Attributes:
        answers: how many there were, by status and code; no answer, or an odd one, is status 0.
    """

    def __init__(self, port: int, seed: int, photos: list[bytes]) -> None:
        self.port, self.photos = port, photos
        self.answers: Counter[tuple[int, str]] = Counter()
        self._random = Random(seed)
        self._over = Event()

    @contextmanager
    def sending(self, send: Callable[[Random], None], threads: int = 3) -> Iterator[None]:
        """Inside, threads call `send` again and again."""
        self._over.clear()
        seeds = [self._random.random() for _ in range(threads)]
        workers = [Thread(target=self._repeat, args=(send, Random(seed))) for seed in seeds]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self._over.set()
            for worker in workers:
                worker.join()

    def _repeat(self, send: Callable[[Random], None], random: Random) -> None:
        while not self._over.wait(0.02):
            try:
                send(random)
            except OSError:  # it refuses, or ends the connection: its right
                time.sleep(0.05)

    def harm(self, random: Random) -> None:
        """Send a fuzzed upload and read its answer, or raw bytes whose answer nobody reads."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            if random.randrange(3):
                connection.sendall(fuzz(random, self.photos).encode())
                self.answers[_read(connection)] += 1
            else:
                connection.sendall(random.choice(RAW))
                self._over.wait(random.choice((0, 0.1, 2)))

    def leave(self, random: Random) -> None:
        """Send a good upload up to anywhere, and go at any moment."""
        sent = Request("/cartoonize", {}, random.choice(self.photos)).encode()
        with socket.create_connection(("127.0.0.1", self.port), 60) as connection:
            connection.sendall(sent[: random.randrange(len(sent) + 1)])
            self._over.wait(random.choice((0, 0.01, 0.1, 0.3)))


def _read(connection: socket.socket) -> tuple[int, str]:
    """Return the status of an answer, and the code of a problem."""
    answer = b""
    while piece := connection.recv(65_536):
        answer += piece
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
    _, found, rest = answer.partition(b'"code":"')
    return status, rest.partition(b'"')[0].decode() if found else ""
