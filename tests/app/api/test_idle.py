"""An idle service tests its models again, and is not ready while one of them fails."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.api.idle import test_when_idle as idle_loop
from photo2cartoon.ground.settings import LITE, Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import upload
from tests.server import wait_for

SETTINGS = Settings(threads=1, self_test_s=0.01)


def status(client: TestClient) -> tuple[int, str, str]:
    answer = client.get("/readyz")
    return answer.status_code, answer.json()["status"], answer.json()["failing"]


def flat(batch: np.ndarray[Any, Any], ticket: object = None) -> list[np.ndarray[Any, Any]]:
    return [np.zeros_like(batch)]


def broken(batch: np.ndarray[Any, Any], ticket: object = None) -> list[np.ndarray[Any, Any]]:
    raise RuntimeError("CUDA error 700")


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (flat, f"model {LITE}: output output is flat"),
        (broken, "a model does not run: RuntimeError"),
    ],
)
def test_a_model_that_fails_makes_the_service_not_ready_until_it_works(
    pipeline: Pipeline, photo: bytes, monkeypatch: pytest.MonkeyPatch, run: Any, reason: str
) -> None:
    generator = next(one for one in pipeline.networks if one.model.name == LITE)
    with TestClient(create_app(SETTINGS, lambda _: pipeline)) as client:
        assert status(client) == (200, "ready", "")
        with monkeypatch.context() as patch:
            patch.setattr(generator, "run", run)
            wait_for(lambda: status(client) == (503, "failing", reason))
            assert "\np2c_ready 0.0" in client.get("/metrics").text
            assert client.get("/v2/health/ready").status_code == 503
            assert client.get("/livez").status_code == 200
        wait_for(lambda: status(client) == (200, "ready", ""))
        assert client.post("/cartoonize", **upload(photo)).status_code == 200


def test_a_busy_service_is_not_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lanes:
        """Busy until the fifth look."""

        waiting = looks = 0

        @property
        def running(self) -> int:
            self.looks += 1
            return int(self.looks < 5)

    lanes, tested_after = Lanes(), []

    async def run() -> None:
        done = asyncio.Event()

        def self_test() -> None:
            tested_after.append(lanes.looks)
            loop.call_soon_threadsafe(done.set)

        loop = asyncio.get_running_loop()
        pipeline = SimpleNamespace(failing="", self_test=self_test)
        engine: Any = SimpleNamespace(lanes=lanes, pipeline=pipeline)
        task = asyncio.create_task(idle_loop(engine, 0.001))
        await asyncio.wait_for(done.wait(), 30)
        task.cancel()

    monkeypatch.setattr("photo2cartoon.api.idle.LOOK_AGAIN_S", 0.001)
    asyncio.run(run())
    assert tested_after[0] == 5


def test_no_test_is_made_where_none_is_wanted() -> None:
    engine: Any = SimpleNamespace(pipeline=SimpleNamespace(failing=""))
    asyncio.run(idle_loop(engine, 0))
