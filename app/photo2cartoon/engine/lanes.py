"""Lanes: threads that each carry one photo the whole way, and the bounded queue before them.

On a CPU there is one lane per core and no photo waits for others: a batch gains nothing there
(docs/benchmarks.md). Where networks run in batches, lanes outnumber the cores, because most of them
wait inside a `Batcher`; the cores are then shared out as permits.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from photo2cartoon.ground.errors import (
    DeadlinePassed,
    Draining,
    InternalError,
    Overloaded,
    Problem,
    WouldBeLate,
)
from photo2cartoon.ground.forecast import RunningQuantile, RunningTime
from photo2cartoon.ground.ticket import Abandoned, Stage, Ticket

log = logging.getLogger("photo2cartoon.engine.lanes")

T = TypeVar("T")

ON_TIME = 0.995  # share of the admitted jobs that should be done by their deadline
STUCK_AFTER_S = 120.0  # one photo on one lane: the largest scenes stay well below


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    ticket: Ticket
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    since: float
    predicted_wait_s: float
    predicted_s: float
    started: float = 0.0

    def settle(self, result: Any, error: Exception | None) -> None:
        """Answer the caller from a lane; a caller who has left gets nothing."""

        def settle() -> None:
            if self.future.done():
                return
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)

        try:
            self.loop.call_soon_threadsafe(settle)
        except RuntimeError:  # the loop is closed: nobody is left to answer
            log.debug("a job ended after its event loop")


class Lanes:
    """Runs jobs on `threads` threads; at most `max_queue` more may wait, first come, first served.

    Attributes:
        threads: number of lanes.
        max_queue: largest number of jobs that may wait.
        times: how long a job takes on a lane, s.
        lateness: delay beyond the prediction that a share `ON_TIME` of the jobs stays below, s.
    """

    def __init__(
        self,
        threads: int,
        max_queue: int,
        *,
        cores: int | None = None,
        fastest_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the threads.

        Args:
            threads: number of lanes.
            max_queue: largest number of jobs that may wait.
            cores: number of lanes that may compute at the same time; None for all of them.
            fastest_s: shortest time between two jobs that what the lanes share (a batched network)
                allows, s.
            clock: tells the time, s; it never goes back.
        """
        self.threads = threads
        self.max_queue = max_queue
        self.times = RunningTime()
        self.lateness = RunningQuantile(ON_TIME)
        self._fastest_s = fastest_s
        self._clock = clock
        self._core = None if cores is None else threading.Semaphore(cores)
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._closed = False
        self._dead = 0
        self._workers = [
            threading.Thread(target=self._work, name=f"lane-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for worker in self._workers:
            worker.start()

    @property
    def waiting(self) -> int:
        """Number of jobs that no lane has taken yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Number of jobs on a lane."""
        return len(self._running)

    @property
    def alive(self) -> bool:
        """False once a lane has died or has been on one job for `STUCK_AFTER_S`."""
        now = self._clock()
        stuck = any(now - job.started > STUCK_AFTER_S for job in list(self._running))
        return not stuck and not self._dead

    @property
    def predicted_wait_s(self) -> float:
        """How long a job that arrived now would wait for a lane, s.

        Lanes become free one after the other, each when its job has had the mean time; the jobs
        that wait take them in turn, and every turn of all lanes takes one mean time more.
        """
        running, ahead = list(self._running), len(self._waiting)
        if len(running) < self.threads and not ahead:
            return 0.0
        mean, now = self.times.mean, self._clock()
        rests = sorted(max(0.0, mean - (now - job.started)) for job in running)
        rests = [0.0] * (self.threads - len(rests)) + rests
        turns, place = divmod(ahead, self.threads)
        return max(rests[place] + turns * mean, (ahead + 0.5) * self._fastest_s())

    def check_room(self, timeout_s: float = math.inf) -> float:
        """Refuse at the door: before a photo is read, or a job queued.

        Args:
            timeout_s: how long the caller would wait for the answer.

        Returns:
            The predicted wait, s.

        Raises:
            Overloaded: the queue is full.
            WouldBeLate: to judge by the last jobs' times, the answer would come after `timeout_s`.
            Draining: the lanes have stopped.
        """
        wait = self.predicted_wait_s
        problem: Problem | None = None
        if self._closed:
            problem = Draining(retry_after_s=1)
        elif self.running + self.waiting >= self.threads + self.max_queue:
            problem = Overloaded(retry_after_s=wait)
        # A free lane refuses nobody: its time would be lost, and a wrong estimate never mended.
        elif wait and (late := wait + self.times.mean + self.lateness.value - timeout_s) > 0:
            problem = WouldBeLate(retry_after_s=late)
        if problem:
            raise problem
        return wait

    async def run(self, work: Callable[[], T], ticket: Ticket) -> T:
        """Run `work` on a lane and await its result; cancelling the await abandons the job.

        Raises:
            Overloaded, WouldBeLate, Draining: as from `check_room`.
            DeadlinePassed: the ticket's deadline passed before the work was done.
        """
        wait_s = self.check_room(ticket.left_s)
        loop = asyncio.get_running_loop()
        job = _Job(
            work,
            ticket,
            loop,
            loop.create_future(),
            self._clock(),
            wait_s,
            wait_s + self.times.mean,
        )
        ticket.at = Stage.QUEUE
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        return result

    def _abandon(self, job: _Job) -> None:
        job.ticket.abandon()
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)  # its place is free at once

    def _work(self) -> None:
        try:
            while job := self._next():
                self._carry(job)
        except BaseException:
            self._dead += 1
            log.critical("a lane died", exc_info=True)
            if self._dead == self.threads:
                self.stop()  # nobody may wait forever

    def _next(self) -> _Job | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait(1)  # a killed thread notices when it wakes
            job = self._waiting.popleft()
            job.started = self._clock()
            self._running.add(job)
            return job

    def _carry(self, job: _Job) -> None:
        start = self._clock()
        job.ticket.add(Stage.QUEUE, start - job.since)
        result: Any = None
        error: Exception | None = None
        try:
            self._refuse_what_is_late(job)
            result = self._compute(job)
            self.times.add(self._clock() - start)
        except (Abandoned, DeadlinePassed) as stopped:
            error = stopped  # says nothing about how long a job takes
        except Exception as failed:  # noqa: BLE001 - the caller handles it
            self.times.add(self._clock() - start)
            error = failed
        except BaseException:  # something kills this thread: its caller must not wait forever
            error = InternalError()
            raise
        finally:
            with self._changed:
                self._running.discard(job)
            if not isinstance(error, Abandoned):
                late_s = self._clock() - job.since - job.predicted_s
                self.lateness.add(max(0.0, late_s), step=self.times.mean / 8)
            job.settle(result, error)

    def _compute(self, job: _Job) -> Any:
        if self._core is None:
            return job.work()
        job.ticket.core = self._core
        with self._core:
            return job.work()

    def _refuse_what_is_late(self, job: _Job) -> None:
        """Do not begin a job that has waited and can no longer be done in time."""
        job.ticket.check()
        soonest = self.times.mean - self.times.deviation
        # As at the door: a job that found a free lane runs, or a wrong estimate would never mend.
        if job.predicted_wait_s and job.ticket.left_s < soonest:
            raise DeadlinePassed

    def stop(self) -> None:
        """Take no more jobs, and tell every caller who waits that this server is stopping."""
        with self._changed:
            self._closed = True
            jobs, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
        for job in jobs:
            job.settle(None, Draining(retry_after_s=1))

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop, and let the jobs on the lanes finish within `timeout_s`."""
        self.stop()
        deadline = self._clock() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, deadline - self._clock()))
