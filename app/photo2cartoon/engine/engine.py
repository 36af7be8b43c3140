"""Engine: what stands between a request and its cartoon: deadline, lane, pipeline, results."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from photo2cartoon.engine.etag import fingerprint, make_etag, matches
from photo2cartoon.engine.lanes import Lanes
from photo2cartoon.engine.results import Results
from photo2cartoon.ground.errors import InvalidOption, Overloaded
from photo2cartoon.ground.formats import MEDIA_TYPES
from photo2cartoon.ground.machine import available_cores
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Picture:
    """An answer.

    Attributes:
        content: the encoded picture; None where the caller has it already.
        media_type: of the content.
        etag: its name, quotes included.
    """

    content: bytes | None
    media_type: str
    etag: str


class Engine:
    """Made once at the start, shared by all requests. Everything in it is bounded.

    Attributes:
        settings: of the service.
        lanes: the threads that work, and their queue.
        pipeline: what they run.
        results: pictures kept for the next same request.
        draining: the server is about to stop: it still works, and should get no more to do.
        body_bytes: of the requests that are read or worked on.
    """

    def __init__(self, settings: Settings, open_pipeline: Callable[[Settings], Pipeline]) -> None:
        """Load the models and start the lanes.

        Raises:
            ManifestError: a model is missing, changed, or does not work.
            StartRefused: what the settings ask for does not run here.
        """
        self.settings = settings
        self.draining = False
        self.pipeline = open_pipeline(settings)
        self.results = Results(settings.cache_bytes)
        self._fingerprint = fingerprint(self.pipeline.models, self.pipeline.device.describe())
        self._weak = self.pipeline.device.on_gpu
        self.body_bytes = 0
        cores = settings.threads or available_cores()
        if batchers := self.pipeline.batchers:
            self.lanes = Lanes(
                self.pipeline.lanes(cores),
                settings.max_queue,
                cores=cores,
                fastest_s=lambda: max(batcher.fastest_s for batcher in batchers),
            )
        else:
            self.lanes = Lanes(cores, settings.max_queue)

    @property
    def alive(self) -> bool:
        """False when a thread that does the work has died or hangs: only a new process mends it."""
        return self.lanes.alive and all(batcher.alive for batcher in self.pipeline.batchers)

    def timeout_s(self, asked_ms: str | None) -> float:
        """How long a caller waits for the answer, s: what it asked for, within the settings.

        Raises:
            InvalidOption: not a whole number of milliseconds above 0.
        """
        if asked_ms is None:
            return self.settings.deadline_ms / 1000
        if not asked_ms.isdecimal() or int(asked_ms) < 1:
            raise InvalidOption("X-Request-Timeout-Ms must be a whole number of ms above 0.")
        return min(int(asked_ms), self.settings.max_deadline_ms) / 1000

    @contextmanager
    def body(self, size: int) -> Iterator[None]:
        """Hold room in memory for a request body of `size` bytes.

        Raises:
            Overloaded: the bodies at hand leave no room.
        """
        if self.body_bytes + size > self.settings.max_buffered_bytes:
            raise Overloaded(retry_after_s=self.lanes.predicted_wait_s)
        self.body_bytes += size
        try:
            yield
        finally:
            self.body_bytes -= size

    async def cartoonize(
        self, photo: bytes, options: Options, ticket: Ticket, known: str = ""
    ) -> Picture:
        """Draw one picture; cancelling the await frees its place, wherever it is.

        Args:
            photo: the file's bytes.
            options: with the format settled; they ask for one picture.
            ticket: the request's.
            known: an `If-None-Match` header: answers that the caller has.

        Raises:
            Problem: the photo's, the queue's or the deadline's.
        """
        media_type = MEDIA_TYPES[options.format or "png"]
        # Hashing takes 1 ms per 2 MB: a thread of its own where that would hold up others.
        etag = (
            await asyncio.to_thread(make_etag, photo, options, self._fingerprint, weak=self._weak)
            if len(photo) > 1_000_000
            else make_etag(photo, options, self._fingerprint, weak=self._weak)
        )
        if matches(known, etag):
            return Picture(None, media_type, etag)

        async def draw() -> bytes:
            (picture,) = await self.lanes.run(
                lambda: self.pipeline.cartoonize(photo, options, ticket), ticket
            )
            return picture

        return Picture(await self.results.get(etag, draw), media_type, etag)

    def close(self) -> None:
        """Finish what runs, answer what waits, end every thread."""
        self.lanes.close()
        self.pipeline.close()
