"""Ticket: one photo on its way: when it is due, whether its caller waits, what took how long."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from enum import StrEnum
from threading import Semaphore
from typing import Any

from photo2cartoon.ground.errors import DeadlinePassed
from photo2cartoon.ground.report import Report


class Stage(StrEnum):
    """The stages of one photo, in order, as log, `Server-Timing`, metrics and traces name them."""

    READ = "read"
    QUEUE = "queue"
    DECODE = "decode"
    DETECT = "detect"
    ALIGN = "align"
    MATTE = "matte"
    GENERATE = "generate"
    COMPOSE = "compose"
    ENCODE = "encode"


class Abandoned(Exception):
    """The caller has left, so nobody waits for the answer. This error is never sent."""


class Ticket:
    """Goes with one photo through the lanes, the pipeline and the batchers.

    Work stops at the door of the next stage once the caller has left or the deadline has passed. A
    ticket without a deadline (command line, benchmarks) only adds up the times of the stages.

    Attributes:
        seconds: time by stage, s, in the order in which the stages first ran.
        at: the stage that the photo is in, or was in last.
        facts: what the log and the metrics should know: `faces` found, `scale` of decoding,
            the `style` that draws, the size if it is `smaller` than asked for.
        report: what the caller wants to know of the photo beside its picture, if anything; the
            pipeline fills it in.
        core: the permit to compute that the lane holds, where lanes outnumber cores.
        abandoned: whether the caller has left.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        """Set the deadline, `timeout_s` seconds from now; None for no deadline."""
        self.seconds: dict[Stage, float] = {}
        self.at = Stage.READ
        self.facts: dict[str, int | str] = {}
        self.report: Report | None = None
        self.core: Semaphore | None = None
        self.abandoned = False
        self._deadline: float | None = None
        self._awaited: Future[Any] | None = None
        if timeout_s is not None:
            self.due_in(timeout_s)

    def due_in(self, seconds: float) -> None:
        """Set the deadline, `seconds` from now."""
        self._deadline = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def check(self) -> None:
        """Stop here if it is of no use to continue.

        Raises:
            Abandoned: the caller has left.
            DeadlinePassed: the answer would come too late.
        """
        if self.abandoned:
            raise Abandoned
        if self.left_s <= 0:
            raise DeadlinePassed

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Count the time spent inside as that of `stage`, even if it ends in an error.

        Raises:
            Abandoned, DeadlinePassed: as from `check`.
        """
        self.check()
        self.at = stage
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: Stage, seconds: float) -> None:
        """Add `seconds` to `stage`."""
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def abandon(self) -> None:
        """Note that the caller has left. Any thread may call this."""
        self.abandoned = True
        if awaited := self._awaited:
            awaited.cancel()

    @contextmanager
    def awaiting(self, future: Future[Any]) -> Iterator[None]:
        """Inside, this thread waits for `future`; as it computes nothing, it gives up its core."""
        self._awaited = future
        if self.abandoned:  # the caller may have left just before
            future.cancel()
        if self.core:
            self.core.release()
        try:
            yield
        finally:
            if self.core:
                self.core.acquire()
            self._awaited = None

    def milliseconds(self) -> dict[str, float]:
        """Return the times of the stages in ms, rounded to hundredths."""
        return {stage.value: round(took * 1000, 2) for stage, took in self.seconds.items()}
