"""Jobs run beside the event loop; a full queue refuses at once; nobody is left waiting."""

import asyncio
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from app.errors import Overloaded
from app.lanes import Lanes, available_cores

pytestmark = pytest.mark.anyio


async def test_results_return_to_their_own_callers() -> None:
    lanes = Lanes(threads=3, max_queue=100)

    def job(number: int) -> int:
        time.sleep(0.001 * (number % 5))
        return number

    answers = await asyncio.gather(*(lanes.run(partial(job, number)) for number in range(60)))
    assert list(answers) == list(range(60))
    lanes.close()


async def test_no_more_threads_than_asked_for_work_at_once() -> None:
    lanes = Lanes(threads=2, max_queue=10)
    running, most, lock = 0, 0, threading.Lock()

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    await asyncio.gather(*(lanes.run(job) for _ in range(8)))
    assert most == 2
    lanes.close()


async def test_a_full_queue_refuses_at_once_and_recovers() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    gate = threading.Event()
    held = [asyncio.create_task(lanes.run(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await lanes.run(lambda: True)
    assert int(refusal.value.headers["Retry-After"]) >= 1
    gate.set()
    assert await asyncio.gather(*held) == [True, True]
    await asyncio.sleep(0)
    assert await lanes.run(lambda: "room again") == "room again"
    lanes.close()


async def test_the_time_to_come_back_follows_the_backlog() -> None:
    lanes = Lanes(threads=1, max_queue=3)
    lanes._mean_s = 2.0
    gate = threading.Event()
    held = [asyncio.create_task(lanes.run(gate.wait)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        lanes.check_room()
    assert refusal.value.retry_after_s == 8
    gate.set()
    await asyncio.gather(*held)
    lanes.close()


async def test_a_failing_job_fails_its_own_caller_only() -> None:
    lanes = Lanes(threads=1, max_queue=10)

    def fail() -> None:
        raise ValueError("poison")

    results = await asyncio.gather(
        lanes.run(lambda: 1), lanes.run(fail), lanes.run(lambda: 3), return_exceptions=True
    )
    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert results[2] == 3
    lanes.close()


async def test_a_caller_that_leaves_frees_its_place() -> None:
    lanes = Lanes(threads=1, max_queue=1)
    gate = threading.Event()
    running = asyncio.create_task(lanes.run(gate.wait))
    waiting = asyncio.create_task(lanes.run(lambda: True))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0.01)
    late = asyncio.create_task(lanes.run(lambda: "its place"))
    await asyncio.sleep(0)
    gate.set()
    assert await late == "its place"
    await running
    lanes.close()


@pytest.mark.parametrize(
    ("quota", "expected"), [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1)]
)
def test_cores_respect_a_containers_quota(tmp_path: Path, quota: str, expected: int | None) -> None:
    unlimited = available_cores(tmp_path / "missing")
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert available_cores(file) == (expected or unlimited)
    assert unlimited >= 1
