"""Lanes: threads that each carry one photo the whole way, and the bounded queue before them.

On a CPU there is one lane per core and no photo waits for others: a batch gains nothing there
(docs/benchmarks.md). Where networks run in batches, lanes outnumber the cores, because most of them
wait inside a `Batcher`; the cores are then shared out as permits.

Jobs have weights, the memory that they take, and those that run have no more than `budget` in all.
A job at the front that does not fit is passed by those that fit beside it: it waits only for jobs
that ran before it came to the front, so a stream of light ones never keeps a heavy one waiting.
"""

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heapreplace
from itertools import islice
from typing import Any, TypeVar

from photo2cartoon.ground.errors import (
    DeadlinePassed,
    Draining,
    InternalError,
    Overloaded,
    Problem,
    TooMuchMemory,
    WouldBeLate,
)
from photo2cartoon.ground.forecast import MEAN_GAIN, RunningQuantile, RunningTime
from photo2cartoon.ground.ticket import Abandoned, Stage, Ticket

log = logging.getLogger("photo2cartoon.engine.lanes")

T = TypeVar("T")

ON_TIME = 0.995  # share of the admitted jobs that should be done by their deadline
STUCK_AFTER_S = 120.0  # one photo on one lane: the largest scenes stay well below


@dataclass(slots=True, eq=False)
class _Job:
    """One job; `passed` is the one that was before it and did not fit when it began."""

    work: Callable[[], Any]
    ticket: Ticket
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    since: float
    predicted_wait_s: float
    predicted_s: float
    weight: int = 0
    cost: float = 1.0
    started: float = 0.0
    passed: "_Job | None" = None

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


def _left_s(mean: float, age: float) -> float:
    """Return how long a job that has run for `age` is expected to go on, s.

    Past the mean, its age is the best guide: what is late by some time is expected to take as long
    again, so that a job without end is not taken for one that is about to end.
    """
    return abs(mean - age)


class Lanes:
    """Runs jobs on `threads` threads; at most `max_queue` more may wait, first come, first served.

    Attributes:
        threads: number of lanes.
        max_queue: largest number of jobs that may wait.
        budget: most weight of all jobs that run, bytes; infinite where nothing limits it.
        times: how long a job of cost 1 takes on a lane, s.
        usual_cost: running mean of the jobs' costs.
        lateness: delay beyond the prediction that a share `ON_TIME` of the jobs stays below, s.
    """

    def __init__(
        self,
        threads: int,
        max_queue: int,
        *,
        cores: int | None = None,
        budget: float = math.inf,
        fastest_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the threads.

        Args:
            threads: number of lanes.
            max_queue: largest number of jobs that may wait.
            cores: number of lanes that may compute at the same time; None for all of them.
            budget: most weight of all jobs that run, bytes.
            fastest_s: shortest time between two jobs that what the lanes share (a batched network)
                allows, s.
            clock: tells the time, s; it never goes back.
        """
        self.threads = threads
        self.max_queue = max_queue
        self.budget = budget
        self.times = RunningTime()
        self.usual_cost = 1.0
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

        Lanes become free one after the other, as the jobs on them end; the jobs that wait take the
        first that is free, each for the mean time of its cost.
        """
        running, waiting = list(self._running), list(self._waiting)
        if len(running) < self.threads and not waiting:
            return 0.0
        mean, now = self.times.mean, self._clock()
        free = [0.0] * (self.threads - len(running))
        free += [_left_s(mean * job.cost, now - job.started) for job in running]
        heapify(free)
        for job in waiting:
            heapreplace(free, free[0] + mean * job.cost)
        return max(free[0], (len(waiting) + 0.5) * self._fastest_s())

    def pressure(self, timeout_s: float, cost: float) -> float:
        """Return how near a job is to being refused: 0 on a free lane; from 1 on it is refused.

        It is the larger of two shares: how many of the places to wait are taken, and how much the
        predicted wait takes of the time that the caller leaves for waiting.

        Args:
            timeout_s: how long the caller would wait for the answer.
            cost: of the job, by the usual one.
        """
        wait = max(self.predicted_wait_s, self._wait_for_memory(0))
        if not wait:
            return 0.0
        spare = timeout_s - self.times.mean * cost - self.lateness.value
        share = wait / spare if spare > 0 else math.inf
        return max(share, self.waiting / max(1, self.max_queue))

    def _wait_for_memory(self, weight: int) -> float:
        """Return how long a job of `weight` bytes that arrived now would wait for memory, s.

        It waits until what is before it has had as much memory, for as long as it takes, at the
        pace of the whole budget.
        """
        running, waiting = list(self._running), list(self._waiting)
        if weight + sum(job.weight for job in (*running, *waiting)) <= self.budget:
            return 0.0
        mean, now = self.times.mean, self._clock()
        before = sum(job.weight * _left_s(mean * job.cost, now - job.started) for job in running)
        return (before + sum(job.weight * mean * job.cost for job in waiting)) / self.budget

    def check_room(
        self, timeout_s: float = math.inf, weight: int = 0, cost: float | None = None
    ) -> float:
        """Refuse at the door: before a photo is read, or a job queued.

        Args:
            timeout_s: how long the caller would wait for the answer.
            weight: memory that the job takes, bytes; 0 where it is not known yet.
            cost: how long the job takes, by one of cost 1; None, where it is not known yet: as long
                as the last ones.

        Returns:
            The predicted wait, s.

        Raises:
            TooMuchMemory: the job is heavier than the budget.
            Overloaded: the queue is full.
            WouldBeLate: to judge by the last jobs' times, the answer would come after `timeout_s`.
            Draining: the lanes have stopped.
        """
        wait = max(self.predicted_wait_s, self._wait_for_memory(weight))
        takes = self.times.mean * (self.usual_cost if cost is None else cost)
        problem: Problem | None = None
        if weight > self.budget:
            problem = TooMuchMemory()
        elif self._closed:
            problem = Draining(retry_after_s=1)
        elif self.running + self.waiting >= self.threads + self.max_queue:
            problem = Overloaded(retry_after_s=wait)
        # A free lane refuses nobody: its time would be lost, and a wrong estimate never mended.
        elif wait and (late := wait + takes + self.lateness.value - timeout_s) > 0:
            problem = WouldBeLate(retry_after_s=late)
        if problem:
            raise problem
        return wait

    async def run(
        self, work: Callable[[], T], ticket: Ticket, weight: int = 0, cost: float = 1.0
    ) -> T:
        """Run `work` on a lane and await its result; cancelling the await abandons the job.

        Args:
            work: what to run.
            ticket: the deadline, and where times are written.
            weight: most memory that the job takes, bytes.
            cost: how long it takes, by jobs of cost 1.

        Raises:
            TooMuchMemory, Overloaded, WouldBeLate, Draining: as from `check_room`.
            DeadlinePassed: the ticket's deadline passed before the work was done; the caller is
                told then, wherever the job is.
        """
        wait_s = self.check_room(ticket.left_s, weight, cost)
        self.usual_cost += MEAN_GAIN * (cost - self.usual_cost)
        loop = asyncio.get_running_loop()
        job = _Job(
            work,
            ticket,
            loop,
            loop.create_future(),
            self._clock(),
            wait_s,
            wait_s + self.times.mean * cost,
            weight,
            cost,
        )
        ticket.at = Stage.QUEUE
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        due = None
        if ticket.left_s < math.inf:
            due = loop.call_later(max(0.0, ticket.left_s), self._expire, job)
        try:
            result: T = await job.future
        except asyncio.CancelledError:
            self._abandon(job)
            raise
        finally:
            if due:
                due.cancel()
        return result

    def _expire(self, job: _Job) -> None:
        """Tell a caller that the deadline has passed; a job that runs stops at its next stage."""
        if not job.future.done():
            job.future.set_exception(DeadlinePassed())
        if self._leave_queue(job):
            job.ticket.add(Stage.QUEUE, self._clock() - job.since)
            self._count_lateness(job)

    def _abandon(self, job: _Job) -> None:
        job.ticket.abandon()
        self._leave_queue(job)

    def _leave_queue(self, job: _Job) -> bool:
        """Free the place of a job that waits; tell whether it did."""
        with self._changed:
            if job not in self._waiting:
                return False
            self._waiting.remove(job)
            self._changed.notify_all()  # it may have been in the way of others
            return True

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
            while not (job := self._fitting()):
                if self._closed and not self._waiting:
                    return None
                self._changed.wait(1)  # a killed thread notices when it wakes
            self._waiting.remove(job)
            job.started = self._clock()
            self._running.add(job)
            return job

    def _fitting(self) -> _Job | None:
        """Return the first job that waits, or one behind it that fits beside it."""
        if not self._waiting:
            return None
        first = self._waiting[0]
        taken = sum(job.weight for job in self._running)
        if taken + first.weight <= self.budget:
            return first
        beside = first.weight + sum(job.weight for job in self._running if job.passed is first)
        for job in islice(self._waiting, 1, None):
            if max(taken, beside) + job.weight <= self.budget:
                job.passed = first
                return job
        return None

    def _carry(self, job: _Job) -> None:
        start = self._clock()
        job.ticket.add(Stage.QUEUE, start - job.since)
        result: Any = None
        error: Exception | None = None
        try:
            self._refuse_what_is_late(job)
            result = self._compute(job)
            self.times.add((self._clock() - start) / job.cost)
        except (Abandoned, DeadlinePassed) as stopped:
            error = stopped  # says nothing about how long a job takes
        except Exception as failed:  # noqa: BLE001 - the caller handles it
            self.times.add((self._clock() - start) / job.cost)
            error = failed
        except BaseException:  # something kills this thread: its caller must not wait forever
            error = InternalError()
            raise
        finally:
            with self._changed:
                self._running.discard(job)
                job.passed = None
                if self._waiting:
                    self._changed.notify_all()  # several may fit where a heavy one was
            if not isinstance(error, Abandoned):
                self._count_lateness(job)
            job.settle(result, error)

    def _count_lateness(self, job: _Job) -> None:
        late_s = self._clock() - job.since - job.predicted_s
        self.lateness.add(max(0.0, late_s), step=self.times.mean / 8)

    def _compute(self, job: _Job) -> Any:
        if self._core is None:
            return job.work()
        job.ticket.core = self._core
        with self._core:
            return job.work()

    def _refuse_what_is_late(self, job: _Job) -> None:
        """Do not begin a job that has waited and can no longer be done in time."""
        job.ticket.check()
        soonest = (self.times.mean - self.times.deviation) * job.cost
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
