"""A time limit for native code, which no exception reaches and no signal handler interrupts."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from photo2cartoon.ground.settings import Settings

WHY = "one of them may never answer; if this machine is slow, raise P2C_START_TIMEOUT_S"


@contextmanager
def start_limit(settings: Settings) -> Iterator[None]:
    """End the process with 2 and one line if the block, which opens models, takes too long.

    A model file may loop for ever: within the runtime that loads it, or in its self test.
    """
    seconds = settings.start_timeout_s
    if not seconds:
        yield
        return
    timer = threading.Timer(seconds, _end, [f"the models are not ready after {seconds:g} s: {WHY}"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _end(message: str) -> None:
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - the last words of a command
    os._exit(2)
