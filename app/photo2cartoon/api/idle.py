"""Idle moments: the service tests its models again, as it did at the start.

Memory that went bad, or a driver that did, draws wrong pictures without an error. A service whose
self test fails is not ready, so that its callers go elsewhere; it is again after one that passes.
"""

import asyncio
import logging
from typing import Final

from photo2cartoon.engine.engine import Engine

log = logging.getLogger("photo2cartoon.api.idle")

LOOK_AGAIN_S: Final = 1
LONGEST_S: Final = 120


async def test_when_idle(engine: Engine, every_s: float) -> None:
    """Test the models when no photo is here, `every_s` apart, until cancelled; 0: never."""
    pipeline, wait_s = engine.pipeline, every_s
    while every_s:
        await asyncio.sleep(wait_s)
        if engine.lanes.running or engine.lanes.waiting:
            wait_s = LOOK_AGAIN_S
            continue
        wait_s, before = every_s, pipeline.failing
        try:
            await asyncio.wait_for(asyncio.to_thread(pipeline.self_test), LONGEST_S)
        except TimeoutError:
            pipeline.failing = f"a model has not answered for {LONGEST_S} s"
        if pipeline.failing != before:
            level = logging.ERROR if pipeline.failing else logging.INFO
            log.log(level, "self test", extra={"fields": {"failing": pipeline.failing}})
