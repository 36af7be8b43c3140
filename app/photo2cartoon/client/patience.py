"""Patience: how long a call goes on asking a service that is full, and what a refusal becomes."""

import math
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from photo2cartoon.ground.errors import Problem

PASSING = {429, 502, 503}  # statuses that another attempt may not meet again
UNREACHED = 3  # attempts to reach a service that does not answer at all
LONGEST_PAUSE_S = 8.0  # where the service does not say how long to wait
KINDS = {kind.code: kind for kind in Problem.__subclasses__()}


class Patience:
    """The deadline of one call, and whether another attempt is worth its wait."""

    def __init__(self, deadline_s: float) -> None:
        self._end = time.monotonic() + deadline_s
        self._attempts = 0
        self._unreached = 0

    @property
    def left_s(self) -> float:
        """How much of the deadline is left, s."""
        return max(0.001, self._end - time.monotonic())

    def bound(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of httpx2's `request` for the next attempt, with its deadline."""
        self._attempts += 1
        left_s = self.left_s
        headers = {**request["headers"], "X-Request-Timeout-Ms": str(math.ceil(left_s * 1000))}
        return {**request, "headers": headers, "timeout": left_s}

    def after_error(self, error: httpx2.TransportError) -> float:
        """Return how long to wait after an attempt that had no answer, s.

        Raises:
            TimeoutError: the deadline has passed.
            ConnectionError: the service cannot be reached, or its connection ended again and again.
        """
        if isinstance(error, httpx2.TimeoutException):
            raise TimeoutError("no answer came until the deadline") from error
        self._unreached += 1
        pause = self._own_pause()
        if self._unreached >= UNREACHED or pause >= self.left_s:
            raise ConnectionError(f"no answer from the service: {error}") from error
        return pause

    def after_problem(self, answer: httpx2.Response) -> float:
        """Return how long to wait after an answer that is a problem, s.

        Raises:
            Problem: it will not pass, or not before the deadline.
        """
        problem = read_problem(answer)
        asked = problem.retry_after_s
        pause = self._own_pause() if asked is None else asked + random.uniform(0, 0.5)
        if answer.status_code not in PASSING or pause >= self.left_s:
            raise problem
        return pause

    def after_full(self) -> float | None:
        """Return how long to wait for room for a part of the call, s; None: until too late."""
        pause = self._own_pause()
        return pause if pause < self.left_s else None

    def _own_pause(self) -> float:
        """Return a pause that doubles from attempt to attempt, with chance in it, s."""
        longest_s = min(LONGEST_PAUSE_S, math.ldexp(0.25, self._attempts))
        return longest_s * random.uniform(0.5, 1)


def is_json(answer: httpx2.Response, media_type: str = "application/json") -> bool:
    """Whether an answer is JSON, of that media type."""
    kind, _, _ = answer.headers.get("content-type", "").partition(";")
    return kind.strip().lower() == media_type


def read_problem(answer: httpx2.Response) -> Problem:
    """Return an answer that is no success as the problem of its `code`.

    What stands between client and service answers in its own words: that is a `Problem` of the code
    `unexpected_answer`.
    """
    document: dict[str, Any] = answer.json() if is_json(answer, "application/problem+json") else {}
    said = f"{answer.status_code} {answer.reason_phrase}"
    document.setdefault("detail", f"The answer is {said}, and not from this service.")
    retry_after_s = _read_retry_after(answer.headers.get("retry-after"))
    return make_problem(document | {"status": answer.status_code}, retry_after_s)


def make_problem(document: Mapping[str, Any], retry_after_s: float | None = None) -> Problem:
    """Return the problem that a problem document describes."""
    detail = document["detail"]
    code = document.get("code", "unexpected_answer")
    problem = KINDS[code]() if code in KINDS else Problem(detail)
    problem.args = (detail,)
    vars(problem).update(
        status=document["status"],
        code=code,
        title=document.get("title", "Unexpected answer"),
        detail=detail,
        retry_after_s=retry_after_s,
    )
    if "request_id" in document:
        problem.add_note(f"request id: {document['request_id']}")
    return problem


def _read_retry_after(text: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, which may be a date; None if it says nothing."""
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
