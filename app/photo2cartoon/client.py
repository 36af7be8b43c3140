"""A client of the service: a photo goes over HTTP, a cartoon and what is known of it come back.

`Client` blocks; `AsyncClient` is the same for coroutines. What the service refuses a photo for is
raised as the `Problem` that drawing here would raise, with the same `code`. Both need httpx2, which
the extra `client` installs.
"""

import base64
import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import urlsplit

from photo2cartoon.ground.errors import Problem

try:
    import anyio
    import httpx2
except ImportError as missing:
    hint = f"{missing.name} is not installed: pip install 'photo2cartoon[client]'"
    raise ImportError(hint, name=missing.name) from missing

Photo = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO

URL = "http://localhost:8000"
DEADLINE_S = 60.0
PASSING = {429, 502, 503}  # statuses that another attempt may not meet again
UNREACHED = 3  # attempts to reach a service that does not answer at all
LONGEST_PAUSE_S = 8.0  # where the service does not say how long to wait
KINDS = {kind.code: kind for kind in Problem.__subclasses__()}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture's file, its size in px, and the indices of the faces that are drawn in it."""

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    faces: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cartoon:
    """What became of one photo.

    Attributes:
        pictures: one; with `faces="all"` and no scene, one for each face.
        style: the style in which they are drawn.
        faces: the faces that were found, from left to right, as the service's JSON describes them:
            `index`, `box`, `score`, `landmarks`, `drawn`, `quality`.
        facts: the service's whole answer, without the pictures.
    """

    pictures: tuple[Picture, ...]
    style: str
    faces: tuple[dict[str, Any], ...]
    facts: dict[str, Any] = field(repr=False)

    @property
    def picture(self) -> bytes:
        """The file of the first picture, which mostly is the only one."""
        return self.pictures[0].data

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the first picture, px."""
        return self.pictures[0].width, self.pictures[0].height


class Client:
    """Draws on a service. Any thread may call it. Close it, or use it in a `with` statement."""

    def __init__(
        self, url: str = URL, *, api_key: str | None = None, deadline_s: float = DEADLINE_S
    ) -> None:
        """Remember where the service is; the first call connects.

        Args:
            url: the service's address, with its prefix if it has one.
            api_key: one of the service's API keys, if it has any.
            deadline_s: how long a call may take with all its attempts, s. The service learns what
                is left of it, and refuses at once what would come too late.

        Raises:
            ValueError: `url` is not an address of HTTP.
        """
        self._http = httpx2.Client(base_url=_check_url(url), headers=_make_headers(api_key))
        self.deadline_s = deadline_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def cartoonize(self, photo: Photo, **options: object) -> Cartoon:
        """Draw the largest face of a photo, or what `options` say.

        While the service is full (429, 503) it is asked again, when its `Retry-After` says, until
        the deadline.

        Args:
            photo: a path, a file's bytes, or a file open for reading bytes.
            **options: as over HTTP (`ground.options.Options`); None counts as not given.

        Raises:
            Problem: the service refuses the photo, or is full until the deadline.
            ConnectionError: nothing answers at the address.
            TimeoutError: no answer came until the deadline.
            OSError: a path cannot be read.
        """
        return _read_cartoon(self._send(_draw_request(_read_photo(photo), options)))

    def styles(self) -> list[dict[str, Any]]:
        """Return the styles of the service, as `GET /v1/styles` lists them; the first is default.

        Raises:
            Problem, ConnectionError, TimeoutError: as `cartoonize`.
        """
        return _read_styles(self._send(STYLES_REQUEST))

    def _send(self, request: Mapping[str, Any]) -> httpx2.Response:
        patience = Patience(self.deadline_s)
        while True:
            try:
                answer = self._http.request(**patience.bound(request))
            except httpx2.TransportError as error:
                pause = patience.after_error(error)
            else:
                if answer.is_success and _is_json(answer):
                    return answer
                pause = patience.after_problem(answer)
            time.sleep(pause)


class AsyncClient:
    """Draws on a service, for coroutines of asyncio or trio; else the same as `Client`."""

    def __init__(
        self, url: str = URL, *, api_key: str | None = None, deadline_s: float = DEADLINE_S
    ) -> None:
        """Remember where the service is. Arguments and errors are those of `Client`."""
        self._http = httpx2.AsyncClient(base_url=_check_url(url), headers=_make_headers(api_key))
        self.deadline_s = deadline_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def cartoonize(self, photo: Photo, **options: object) -> Cartoon:
        """Draw a photo. Arguments, result and errors are those of `Client.cartoonize`."""
        content = await anyio.to_thread.run_sync(partial(_read_photo, photo))
        return _read_cartoon(await self._send(_draw_request(content, options)))

    async def styles(self) -> list[dict[str, Any]]:
        """Return the styles of the service, as `Client.styles`."""
        return _read_styles(await self._send(STYLES_REQUEST))

    async def _send(self, request: Mapping[str, Any]) -> httpx2.Response:
        patience = Patience(self.deadline_s)
        while True:
            try:
                answer = await self._http.request(**patience.bound(request))
            except httpx2.TransportError as error:
                pause = patience.after_error(error)
            else:
                if answer.is_success and _is_json(answer):
                    return answer
                pause = patience.after_problem(answer)
            await anyio.sleep(pause)


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an address of HTTP: {url}")
    return url


def _make_headers(api_key: str | None) -> dict[str, str]:
    named = {"User-Agent": "photo2cartoon"}
    return named if api_key is None else {**named, "Authorization": f"Bearer {api_key}"}


def _read_photo(photo: Photo) -> bytes:
    if isinstance(photo, str | PathLike):
        return Path(photo).read_bytes()
    return bytes(photo) if isinstance(photo, bytes | bytearray | memoryview) else photo.read()


STYLES_REQUEST = {"method": "GET", "url": "/v1/styles", "headers": {}}


def _draw_request(photo: bytes, options: Mapping[str, object]) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": "/cartoonize",
        "params": {name: str(value) for name, value in options.items() if value is not None},
        "headers": {"Accept": "application/json", "Content-Type": "application/octet-stream"},
        "content": photo,
    }


def _is_json(answer: httpx2.Response, media_type: str = "application/json") -> bool:
    kind, _, _ = answer.headers.get("content-type", "").partition(";")
    return kind.strip().lower() == media_type


def _read_styles(answer: httpx2.Response) -> list[dict[str, Any]]:
    styles: list[dict[str, Any]] = answer.json()["styles"]
    return styles


def _read_cartoon(answer: httpx2.Response) -> Cartoon:
    facts: dict[str, Any] = answer.json()
    pictures = tuple(
        Picture(
            data=base64.b64decode(picture["image"].partition(",")[2]),
            media_type=picture["media_type"],
            width=picture["width"],
            height=picture["height"],
            faces=tuple(picture["faces"]),
        )
        for picture in facts.pop("pictures")
    )
    return Cartoon(pictures, facts["style"], tuple(facts["faces"]), facts)


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

    def _own_pause(self) -> float:
        """Return a pause that doubles from attempt to attempt, with chance in it, s."""
        longest_s = min(LONGEST_PAUSE_S, math.ldexp(0.25, self._attempts))
        return longest_s * random.uniform(0.5, 1)


def read_problem(answer: httpx2.Response) -> Problem:
    """Return an answer that is no success as the problem of its `code`.

    What stands between client and service answers in its own words: that is a `Problem` of the code
    `unexpected_answer`.
    """
    document: dict[str, Any] = answer.json() if _is_json(answer, "application/problem+json") else {}
    said = f"{answer.status_code} {answer.reason_phrase}"
    detail = document.get("detail", f"The answer is {said}, and not from this service.")
    code = document.get("code", "unexpected_answer")
    problem = KINDS[code]() if code in KINDS else Problem(detail)
    problem.args = (detail,)
    vars(problem).update(
        status=answer.status_code,
        code=code,
        title=document.get("title", "Unexpected answer"),
        detail=detail,
        retry_after_s=_read_retry_after(answer.headers.get("retry-after")),
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
