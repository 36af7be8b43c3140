"""Results: finished pictures kept for the next same request, and one drawing for many at once.

Off by default: with no room, every request is drawn. Pictures live in memory only.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from photo2cartoon.ground.errors import DeadlinePassed, WouldBeLate

Draw = Callable[[], Coroutine[Any, Any, bytes]]


@dataclass(slots=True, eq=False)
class _Flight:
    """A drawing that is under way, and how many wait for it."""

    task: asyncio.Task[bytes]
    waiting: int = 0


@dataclass
class Results:
    """At most `max_bytes` of pictures by entity tag; the least recently used go first.

    Attributes:
        max_bytes: room; 0 keeps nothing and shares nothing.
        counts: how often a picture was kept already (`hit`), under way (`shared`), drawn (`miss`).
    """

    max_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    _flights: dict[str, _Flight] = field(default_factory=dict)
    _bytes: int = 0

    async def get(self, etag: str, draw: Draw) -> bytes:
        """Return the picture named `etag`: kept, from a drawing under way, or drawn now.

        Args:
            etag: of the answer.
            draw: draws it; called if nobody does yet.

        Raises:
            Problem: what `draw` raised.
        """
        if not self.max_bytes:
            return await draw()
        if etag in self._kept:
            self.counts["hit"] += 1
            self._kept.move_to_end(etag)
            return self._kept[etag]
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
        """Await a drawing; it goes on as long as anybody waits for it."""
        flight.waiting += 1
        try:
            picture = await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
                self._flights.pop(etag, None)
        self._keep(etag, picture)
        return picture

    def _keep(self, etag: str, picture: bytes) -> None:
        if etag in self._kept or len(picture) > self.max_bytes:
            return
        self._kept[etag] = picture
        self._bytes += len(picture)
        while self._bytes > self.max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
