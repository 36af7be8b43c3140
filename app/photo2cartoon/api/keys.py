"""API keys: who may draw, and how many requests each may have under way at once.

The settings hold names and the keys' sha256 digests, never a key. Without any, all may draw.
"""

import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from photo2cartoon.ground.errors import TooManyAtOnce, Unauthorized

RETRY_S = 1


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its name in logs and metrics, its digest, and its limit.

    Attributes:
        name: in logs and metrics.
        digest: sha256 of the key, hexadecimal.
        at_once: most requests under way; 0 for any number.
    """

    name: str
    digest: str
    at_once: int = 0

    @classmethod
    def parse(cls, entry: str) -> "Key":
        """Read `name:digest` or `name:digest:limit`, which the settings have checked."""
        name, digest, *limit = entry.split(":")
        return cls(name, digest, int(limit[0]) if limit else 0)


class Keys:
    """All keys, and how many requests of each are under way."""

    def __init__(self, entries: Sequence[str]) -> None:
        self._keys = [Key.parse(entry) for entry in entries]
        self._busy: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, given: str) -> Key:
        """Return the key that a caller gave. How long that takes tells nothing about the digests.

        Raises:
            Unauthorized: there is no such key.
        """
        digest = hashlib.sha256(given.encode()).hexdigest()
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not found:
            raise Unauthorized
        return found[0]

    @contextmanager
    def hold(self, key: Key) -> Iterator[None]:
        """Count one request as under way.

        Raises:
            TooManyAtOnce: as many as the key may have are under way already.
        """
        if key.at_once and self._busy[key.name] >= key.at_once:
            raise TooManyAtOnce(retry_after_s=RETRY_S)
        self._busy[key.name] += 1
        try:
            yield
        finally:
            self._busy[key.name] -= 1


async def admit(request: Request) -> AsyncIterator[None]:
    """Let a request in whose key is known, or any request where there are no keys.

    Raises:
        Unauthorized, TooManyAtOnce: it may not draw, or not now.
    """
    keys: Keys = request.app.state.keys
    if not keys:
        yield
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given = token.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    key = keys.find(given)
    request.state.key = key.name
    with keys.hold(key):
        yield


Admitted = Annotated[None, Depends(admit)]
