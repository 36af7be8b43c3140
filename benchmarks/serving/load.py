"""Load: requests leave by the schedule, whatever the server does, and latency counts from it.

So a server that stalls cannot hide its queue (coordinated omission). Ours, because no generator of
the registries does all of it: Locust's users wait for their answers and are timed from sending,
k6 and vegeta space arrivals evenly, aiperf sends prompts and not photos; none compares the picture.

It runs in a process of its own, whose CPU time is part of the result.
"""

import asyncio
import hashlib
import itertools
import json
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import uvloop

from benchmarks.serving.client import Client

LOST = 0  # the status of a request that got no answer: connection ended, or time ran out
REFUSALS = {408, 429, 503, 504}  # what a server says that has no time for a request
ATTEMPTS, BACK_OFF_S = 20, 0.05  # of a closed loop's caller who is refused
START_DELAY_S = 0.05  # so that the first request is not late already

clock = time.perf_counter  # uvloop's own clock counts whole ms


@dataclass(frozen=True)
class Photo:
    """One request body and what it says it is."""

    body: bytes
    content_type: str = "image/jpeg"


@dataclass(frozen=True)
class Load:
    """What to send where. `arrivals` (s, ascending) is open loop, `connections` closed loop.

    In a closed loop a caller who is refused waits a little and sends the same again.

    Attributes:
        photos: sent in turn, request k is `photos[k % len(photos)]`.
        arrivals: when each request is due, seconds from the start; None for a closed loop.
        requests: how many requests a closed loop sends.
        connections: how many of them at a time.
        timeout_s: a request without an answer by then is `LOST`.
    """

    port: int
    path: str
    photos: list[Photo]
    headers: dict[str, str] = field(default_factory=dict)
    arrivals: list[float] | None = None
    requests: int = 0
    connections: int = 1
    timeout_s: float = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to.

    Attributes:
        number: the request's place in the load.
        due_s: when it should have left, seconds from the start of the load.
        lag_s: how much later it left.
        latency_s: from `due_s` to the whole answer.
        status: HTTP status, or `LOST`.
        digest: sha256 of the body.
        code: `code` of a problem document, else empty.
    """

    number: int
    due_s: float
    lag_s: float
    latency_s: float
    status: int
    digest: str
    code: str

    @property
    def done_s(self) -> float:
        """When the answer was complete, seconds from the start of the load."""
        return self.due_s + self.latency_s


@dataclass(frozen=True)
class LoadResult:
    """All answers in the order of their requests, and what sending them cost this side."""

    answers: list[Answer]
    wall_s: float
    cpu_s: float


def poisson(rate: float, requests: int, seed: int) -> list[float]:
    """Arrival times (s) of a Poisson process of `rate` per second: exponential gaps."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, requests)
    times: list[float] = np.cumsum(gaps).tolist()
    return times


def constant(rate: float, requests: int) -> list[float]:
    """Arrival times (s) in equal steps."""
    return [number / rate for number in range(requests)]


class Generator:
    """The process that sends. It lives, idle, between loads."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._process = ProcessPoolExecutor(1, mp_context=spawn)
        self._process.submit(clock).result()  # started and imported

    def send(self, load: Load) -> LoadResult:
        """Send one load and wait for its last answer."""
        return self._process.submit(send_load, load).result()

    def close(self) -> None:
        self._process.shutdown()


def send_load(load: Load) -> LoadResult:
    """Send one load from this process."""
    wall, cpu = clock(), time.process_time()
    answers = uvloop.run(_Sender(load).run())
    return LoadResult(answers, clock() - wall, time.process_time() - cpu)


class _Sender:
    """One load on one event loop."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.requests = [_encode(load, photo) for photo in load.photos]
        self.client = Client(load.port)

    async def run(self) -> list[Answer]:
        self.start = clock() + START_DELAY_S
        try:
            if self.load.arrivals is not None:
                return await self._send_by_schedule(self.load.arrivals)
            return await self._send_in_turn()
        finally:
            self.client.close()

    async def _send_by_schedule(self, arrivals: list[float]) -> list[Answer]:
        tasks = []
        for number, due in enumerate(arrivals):
            delay = self.start + due - clock()
            if delay > 0:
                await asyncio.sleep(delay)
            tasks.append(asyncio.create_task(self._send(number, self.start + due)))
        return await asyncio.gather(*tasks)

    async def _send_in_turn(self) -> list[Answer]:
        numbers = iter(range(self.load.requests))
        callers = [self._call(numbers) for _ in range(self.load.connections)]
        answers = itertools.chain.from_iterable(await asyncio.gather(*callers))
        return sorted(answers, key=lambda answer: answer.number)

    async def _call(self, numbers: Iterator[int]) -> list[Answer]:
        answers = []
        for number in numbers:
            for _ in range(ATTEMPTS):
                answers.append(await self._send(number, clock()))
                if answers[-1].status not in REFUSALS:
                    break
                await asyncio.sleep(BACK_OFF_S)
        return answers

    async def _send(self, number: int, due: float) -> Answer:
        left = clock()
        status, body = LOST, b""
        try:
            async with asyncio.timeout(self.load.timeout_s):
                response = await self.client.exchange(self.requests[number % len(self.requests)])
            status, body = response.status, response.body
        except (OSError, TimeoutError):
            pass
        latency = clock() - due
        digest = hashlib.sha256(body).hexdigest()
        return Answer(
            number, due - self.start, left - due, latency, status, digest, _read_code(status, body)
        )


def _encode(load: Load, photo: Photo) -> bytes:
    """The request as it goes over the wire."""
    headers = {
        "Host": f"127.0.0.1:{load.port}",
        "Content-Type": photo.content_type,
        "Content-Length": str(len(photo.body)),
        "Accept": "image/png",
        **load.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {load.path} HTTP/1.1\r\n{lines}\r\n".encode() + photo.body


def _read_code(status: int, body: bytes) -> str:
    """The `code` of a problem document (RFC 9457)."""
    if status < 400:
        return ""
    try:
        document = json.loads(body)
    except ValueError:
        return ""
    return str(document.get("code", "")) if isinstance(document, dict) else ""
