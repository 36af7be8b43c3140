"""A client of the service: a photo goes over HTTP, a cartoon and what is known of it come back.

`Client` blocks; `AsyncClient` is the same for coroutines. What the service refuses a photo for is
raised as the `Problem` that drawing here would raise, with the same `code`. Both need httpx2, which
the extra `client` installs.
"""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

try:
    import anyio
    import httpx2
except ImportError as missing:
    hint = f"{missing.name} is not installed: pip install 'photo2cartoon[client]'"
    raise ImportError(hint, name=missing.name) from missing

from photo2cartoon.client.exchange import (
    STYLES_REQUEST,
    Batch,
    BatchItem,
    Cartoon,
    Photo,
    draw_request,
    read_cartoon,
    read_photo,
    read_styles,
)
from photo2cartoon.client.patience import Patience, is_json

URL = "http://localhost:8000"
DEADLINE_S = 60.0


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
        request = draw_request(read_photo(photo), options)
        return read_cartoon(self._send(request, Patience(self.deadline_s)))

    def batch(self, photos: Iterable[Photo], **options: object) -> list[BatchItem]:
        """Draw several photos with one request, each with the same `options`.

        A photo that cannot be drawn costs the others nothing: its item has the problem. Those that
        find no room are sent again until the deadline. How many photos, and of how many bytes, one
        request may have, the service says (`P2C_MAX_PHOTOS`, `P2C_MAX_BATCH_BYTES`).

        Args:
            photos: as for `cartoonize`.
            **options: likewise; each photo gives one picture.

        Returns:
            One item for each photo, in their order.

        Raises:
            Problem: the service refuses all of them together: too many, an option that is wrong.
            ConnectionError, TimeoutError, OSError: as `cartoonize`.
        """
        work, patience = Batch(map(read_photo, photos), options), Patience(self.deadline_s)
        while work.left:
            if pause := work.read(self._send(work.request(), patience), patience):
                time.sleep(pause)
        return work.items

    def styles(self) -> list[dict[str, Any]]:
        """Return the styles of the service, as `GET /v1/styles` lists them; the first is default.

        Raises:
            Problem, ConnectionError, TimeoutError: as `cartoonize`.
        """
        return read_styles(self._send(STYLES_REQUEST, Patience(self.deadline_s)))

    def _send(self, request: Mapping[str, Any], patience: Patience) -> httpx2.Response:
        while True:
            try:
                answer = self._http.request(**patience.bound(request))
            except httpx2.TransportError as error:
                pause = patience.after_error(error)
            else:
                if answer.is_success and is_json(answer):
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
        content = await anyio.to_thread.run_sync(partial(read_photo, photo))
        answer = await self._send(draw_request(content, options), Patience(self.deadline_s))
        return read_cartoon(answer)

    async def batch(self, photos: Iterable[Photo], **options: object) -> list[BatchItem]:
        """Draw several photos. Arguments, result and errors are those of `Client.batch`."""
        contents = await anyio.to_thread.run_sync(lambda: [read_photo(photo) for photo in photos])
        work, patience = Batch(contents, options), Patience(self.deadline_s)
        while work.left:
            if pause := work.read(await self._send(work.request(), patience), patience):
                await anyio.sleep(pause)
        return work.items

    async def styles(self) -> list[dict[str, Any]]:
        """Return the styles of the service, as `Client.styles`."""
        return read_styles(await self._send(STYLES_REQUEST, Patience(self.deadline_s)))

    async def _send(self, request: Mapping[str, Any], patience: Patience) -> httpx2.Response:
        while True:
            try:
                answer = await self._http.request(**patience.bound(request))
            except httpx2.TransportError as error:
                pause = patience.after_error(error)
            else:
                if answer.is_success and is_json(answer):
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
