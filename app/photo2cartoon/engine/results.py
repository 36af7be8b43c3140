"""Results: finished pictures kept for the next caller with the same photo, one drawing for many.

Off by default: with no room, every photo is drawn. Pictures live in memory only.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache

from photo2cartoon.ground.errors import DeadlinePassed, WouldBeLate

Draw = Callable[[], Coroutine[Any, Any, bytes]]


@dataclass(slots=True, eq=False)
class _Flight:
    """A drawing that is under way, and how many callers wait for it."""

    task: asyncio.Task[bytes]
    waiting: int = 0


class Results:
    """At most `max_bytes` of pictures by entity tag; the least recently used is dropped first.

    Attributes:
        max_bytes: room for pictures; 0 keeps nothing and shares nothing.
        counts: how often a picture was already kept (`hit`), under way (`shared`), drawn (`miss`).
    """

    def __init__(self, max_bytes: int = 0) -> None:
        self.max_bytes = max_bytes
        self.counts: Counter[str] = Counter()
        self._kept: LRUCache[str, bytes] = LRUCache(max_bytes, getsizeof=len)
        self._flights: dict[str, _Flight] = {}

    def __contains__(self, etag: str) -> bool:
        """Whether the picture named `etag` is kept, or being drawn to be kept."""
        return etag in self._kept or etag in self._flights

    async def get(self, etag: str, draw: Draw) -> bytes:
        """Return the picture named `etag`: kept, from a drawing under way, or drawn now.

        Args:
            etag: the picture's name.
            draw: draws the picture; called unless it is kept or under way.

        Raises:
            Problem: what `draw` raised.
        """
        if not self.max_bytes:
            return await draw()
        if (kept := self._kept.get(etag)) is not None:
            self.counts["hit"] += 1
            return kept
        if flight := self._flights.get(etag):
            self.counts["shared"] += 1
            try:
                return await self._join(etag, flight)
            except (DeadlinePassed, WouldBeLate):
                return await draw()  # the first caller's time ran out: ours may not have
        self.counts["miss"] += 1
        flight = self._flights[etag] = _Flight(asyncio.create_task(draw()))
        return await self._join(etag, flight)

    async def _join(self, etag: str, flight: _Flight) -> bytes:
        """Await a drawing; it continues as long as anybody waits for it."""
        flight.waiting += 1
        try:
            picture = await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
                self._flights.pop(etag, None)
        if len(picture) <= self.max_bytes:
            self._kept[etag] = picture
        return picture
