"""A real process under a memory budget: few large photos at a time, small ones beside them."""

import io
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.options import Options
from photo2cartoon.pipeline.weight import MIB, weigh
from tests.server import Server, post, ready, wait_for

BUDGET = 200 * MIB
LARGE = (4000, 3000)
TOO_LARGE = (6000, 6000)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def _png(size: tuple[int, int]) -> bytes:
    soft = np.random.default_rng(0).integers(0, 256, (size[1] // 40, size[0] // 40, 4), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(soft).resize(size, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(P2C_MEMORY_BUDGET="200Mi", P2C_THREADS="4", P2C_DEADLINE_MS="120000") as server:
        yield server


def _memory(server: Server, line: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(text.split()[1]) * 1024 for text in status.split("\n") if text.startswith(line))


def test_large_photos_take_turns_and_the_budget_holds(server: Server, photo: bytes) -> None:
    large = _png(LARGE)
    weight = weigh(large, Options(), 50_000_000)
    assert BUDGET / 2 < weight <= BUDGET  # one of them at a time
    assert post(server.url, photo).status_code == 200
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    before = _memory(server, "VmRSS")
    with ThreadPoolExecutor(5) as callers:
        answers = [callers.submit(post, server.url, large) for _ in range(4)]
        wait_for(lambda: ready(server.url)["waiting"] >= 1)
        assert ready(server.url)["running"] < 4
        assert post(server.url, photo).status_code == 200  # beside them
        assert [answer.result().json()["code"] for answer in answers] == ["no_face"] * 4
    assert _memory(server, "VmHWM") - before < BUDGET + 4 * len(large) + 64 * MIB


def test_what_can_never_fit_is_refused_at_once(server: Server, photo: bytes) -> None:
    answer = post(server.url, _png(TOO_LARGE))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_much_memory")
    assert post(server.url, photo).status_code == 200
