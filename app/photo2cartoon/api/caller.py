"""The caller: how long it waits for its answer, and whether it is still there."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from photo2cartoon.ground.errors import InvalidOption
from photo2cartoon.ground.settings import Settings

T = TypeVar("T")

WHOLE_MS = re.compile(r"0*[1-9][0-9]{0,17}")  # a longer one could cost a long conversion


def read_timeout(request: Request, settings: Settings) -> float:
    """Return how long the caller waits, s: its `X-Request-Timeout-Ms`, within the settings.

    Raises:
        InvalidOption: the header is not a whole number of milliseconds above 0.
    """
    asked_ms = request.headers.get("x-request-timeout-ms")
    if asked_ms is None:
        return settings.deadline_ms / 1000
    if not WHOLE_MS.fullmatch(asked_ms):
        raise InvalidOption(
            "X-Request-Timeout-Ms must be a whole number of ms above 0, of 18 digits at most."
        )
    return min(int(asked_ms.lstrip("0")), settings.max_deadline_ms) / 1000


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it when the caller leaves. The body must have been read.

    Raises:
        ClientDisconnect: the caller left.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_wait_until_left(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
