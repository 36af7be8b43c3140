"""One door before three instances: Debian's nginx with the example's configuration, under load.

One instance refuses what it cannot draw at once, one is killed, one is told to stop.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from benchmarks.gateway import Gateway
from tests.server import Server, wait_for

CALLERS = 6
SETTINGS = {"P2C_STYLES": "photo2cartoon-lite", "P2C_THREADS": "1", "P2C_DRAIN_DELAY_S": "1"}


def open_gateway(folder: Path, instances: list[Server]) -> Gateway:
    return Gateway(folder, [instance.url.removeprefix("http://") for instance in instances])


@pytest.fixture(scope="module")
def instances() -> Iterator[list[Server]]:
    """Two that let photos wait, and a third that refuses whatever it cannot draw at once."""
    queues = ("64", "64", "0")
    servers = [Server(P2C_MAX_QUEUE=queue, **SETTINGS) for queue in queues]
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def gateway(instances: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_gateway(tmp_path_factory.mktemp("nginx"), instances) as gateway:
        yield gateway


class Load:
    """Callers who send one photo after the other, until they are told to stop."""

    def __init__(self, url: str, photo: bytes) -> None:
        self.statuses: list[int | str] = []
        self.without_retry_after = 0
        self.stopped = threading.Event()
        self.threads = [
            threading.Thread(target=self._call, args=(url, photo)) for _ in range(CALLERS)
        ]
        for thread in self.threads:
            thread.start()

    def _call(self, url: str, photo: bytes) -> None:
        with httpx2.Client(timeout=60) as client:
            while not self.stopped.is_set():
                try:
                    answer = client.post(f"{url}/cartoonize", content=photo)
                    self.without_retry_after += (
                        answer.status_code == 503 and "retry-after" not in answer.headers
                    )
                    self.statuses.append(answer.status_code)
                except httpx2.TransportError as error:
                    self.statuses.append(type(error).__name__)

    def wait_for_more(self, count: int) -> None:
        enough = len(self.statuses) + count
        wait_for(lambda: len(self.statuses) >= enough, seconds=90)

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def test_a_picture_is_validated_by_any_instance_and_kept_by_none_but_its_caller(
    gateway: Gateway, instances: list[Server], photo: bytes
) -> None:
    first = httpx2.post(f"{gateway.url}/cartoonize", content=photo)
    assert first.status_code == 200
    assert first.headers["cache-control"].startswith("private")
    assert "x-cache-status" not in first.headers
    again = {"If-None-Match": first.headers["etag"]}
    for url in (gateway.url, *(instance.url for instance in instances)):
        answer = httpx2.post(f"{url}/cartoonize", content=photo, headers=again)
        assert (answer.status_code, answer.content) == (304, b"")


def test_the_page_comes_from_the_cache_and_is_validated(gateway: Gateway) -> None:
    answers = [httpx2.get(f"{gateway.url}/") for _ in range(2)]
    assert [answer.headers["x-cache-status"] for answer in answers] == ["MISS", "HIT"]
    assert answers[0].content == answers[1].content
    again = {"If-None-Match": answers[0].headers["etag"]}
    assert httpx2.get(f"{gateway.url}/", headers=again).status_code == 304


def test_photos_stay_in_memory(gateway: Gateway, photo: bytes) -> None:
    said = "buffered to a temporary file"  # nginx's warning
    padded = photo + bytes(3_000_000)
    assert httpx2.post(f"{gateway.url}/cartoonize", content=padded).status_code == 200
    assert said not in gateway.errors.read_text()
    httpx2.post(f"{gateway.url}/cartoonize", content=bytes(30_000_000), timeout=60)
    assert said in gateway.errors.read_text()  # what no photo may be


def test_a_refusal_by_all_keeps_its_retry_after(
    instances: list[Server], photo: bytes, tmp_path: Path
) -> None:
    gateway = open_gateway(tmp_path, [instances[2]] * 3)
    load = Load(gateway.url, photo)
    try:
        wait_for(lambda: 503 in load.statuses and 200 in load.statuses, seconds=60)
    finally:
        load.stop()
        gateway.stop()
    assert set(load.statuses) == {200, 503}
    assert load.without_retry_after == 0


def test_refusals_a_death_and_a_drain_cost_no_request(
    gateway: Gateway, instances: list[Server], photo: bytes
) -> None:
    load = Load(gateway.url, photo)
    try:
        load.wait_for_more(30)
        instances[0].process.kill()
        load.wait_for_more(30)
        instances[2].process.terminate()
        assert instances[2].process.wait(timeout=60) == 0
        load.wait_for_more(30)
    finally:
        load.stop()
    assert set(load.statuses) == {200}
    tried = re.findall(r"^200 POST \S+: (.*) from", gateway.log.read_text(), re.MULTILINE)
    assert any("503, " in statuses for statuses in tried)  # refused, and drawn by another
    assert any("502, " in statuses for statuses in tried)  # dead, and drawn by another
