"""Lanes: the threads that work on photos, and the bounded queue before them."""

import asyncio
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from app.errors import Overloaded

T = TypeVar("T")

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
SMOOTHING = 0.1  # weight of the newest job in the running mean of a job's time


def available_cores(quota_file: Path = CGROUP_QUOTA) -> int:
    """Cores this process may use: its affinity, or a container's CPU quota where that is less."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or quota "max"
        return cores


class Lanes:
    """Runs jobs on `threads` threads; at most `max_queue` more may wait."""

    def __init__(self, threads: int, max_queue: int) -> None:
        self.threads = threads or available_cores()
        self.max_queue = max_queue
        self._executor = ThreadPoolExecutor(self.threads, thread_name_prefix="lane")
        self._jobs = 0  # running and waiting; touched on the event loop only
        self._mean_s = 0.0

    def check_room(self) -> None:
        """Refuse at the door, before a body is read.

        Raises:
            Overloaded: the queue is full; it says when to come back.
        """
        if self._jobs >= self.threads + self.max_queue:
            backlog_s = self._jobs * self._mean_s / self.threads
            raise Overloaded(retry_after_s=max(1, math.ceil(backlog_s)))

    async def run(self, job: Callable[[], T]) -> T:
        """Run `job` on a lane and await its result.

        Raises:
            Overloaded: the queue is full.
        """
        self.check_room()
        loop = asyncio.get_running_loop()
        future = self._executor.submit(self._timed, job)
        self._jobs += 1
        # Not a finally around the await: a caller may leave while its job still holds a thread.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._leave))
        return await asyncio.wrap_future(future)

    def _leave(self) -> None:
        self._jobs -= 1

    def _timed(self, job: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return job()
        finally:
            took = time.perf_counter() - start
            self._mean_s += SMOOTHING * (took - self._mean_s) if self._mean_s else took

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
