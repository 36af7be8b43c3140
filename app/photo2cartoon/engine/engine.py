"""Engine: what stands between a photo and its cartoon: memory, kept results, a lane, the pipeline.

It knows nothing of how photos arrive: it takes bytes, options and a deadline, and returns bytes.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from photo2cartoon.engine.etag import fingerprint, make_etag
from photo2cartoon.engine.lanes import Lanes
from photo2cartoon.engine.results import Results
from photo2cartoon.ground.errors import Overloaded, Problem
from photo2cartoon.ground.machine import (
    MIB,
    available_cores,
    give_back_memory,
    memory_limit,
    resident_memory,
)
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import Settings
from photo2cartoon.ground.ticket import Ticket
from photo2cartoon.pipeline.pipeline import Pipeline
from photo2cartoon.pipeline.styles import FREE_SIZE
from photo2cartoon.pipeline.weight import weigh

log = logging.getLogger("photo2cartoon.engine.engine")

HASHED_AT_ONCE = 1_000_000  # bytes; hashing takes 1 ms per 2 MB, so more would hold up others

READ_AT_ONCE = (b"\xff\xd8", b"\x89PNG", b"RIFF")  # files that tell their size in microseconds
GIVEN_BACK = 192 * MIB  # weight from which a photo's memory is given back, which takes some ms
MARGIN = 0.9  # of the limit: allocators, and what the kernel counts besides, take a little


def memory_budget(settings: Settings, limit: int | None, resident: int) -> float:
    """Return how much memory the photos that are drawn may take in all, bytes.

    By default it is the limit's rest: without what the process holds before its first photo, and
    without the bodies that may be at hand; but at least half of what is left by the process.

    Args:
        settings: of the service.
        limit: most memory that the process may have, bytes; None: there is no limit.
        resident: what it holds at rest, bytes.
    """
    if settings.memory_budget:
        return settings.memory_budget
    if limit is None:
        return math.inf
    left = max(1.0, MARGIN * limit - resident)
    return max(left / 2, left - settings.max_buffered_bytes)


class Engine:
    """Made once at the start, shared by all callers. Everything in it is bounded.

    Attributes:
        settings: of the service.
        lanes: the threads that work, and their queue.
        pipeline: what they run.
        results: pictures kept for the next caller with the same photo.
        draining: whether the server is about to stop: it still works, but should get no more work.
        held_bytes: memory that is held for photos at hand, bytes.
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
        self.held_bytes = 0
        self._fingerprint = fingerprint(self.pipeline.models, self.pipeline.device.describe())
        self._weak = self.pipeline.device.on_gpu
        cores = settings.threads or available_cores()
        budget = memory_budget(settings, memory_limit(), resident_memory())
        budget_mib = None if budget == math.inf else round(budget / MIB)
        log.info("memory budget", extra={"fields": {"mib": budget_mib}})
        if batchers := self.pipeline.batchers:
            self.lanes = Lanes(
                self.pipeline.lanes(cores),
                settings.max_queue,
                cores=cores,
                budget=budget,
                fastest_s=lambda: max(batcher.fastest_s for batcher in batchers),
            )
        else:
            self.lanes = Lanes(cores, settings.max_queue, budget=budget)

    @property
    def alive(self) -> bool:
        """False once a thread that works has died or hangs: only a new process mends it."""
        return self.lanes.alive and all(batcher.alive for batcher in self.pipeline.batchers)

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Hold `size` bytes of memory for what a caller sends.

        Raises:
            Overloaded: what is held already leaves no room.
        """
        if self.held_bytes + size > self.settings.max_buffered_bytes:
            raise Overloaded(retry_after_s=self.lanes.predicted_wait_s)
        self.held_bytes += size
        try:
            yield
        finally:
            self.held_bytes -= size

    def fit(self, options: Options, ticket: Ticket) -> Options:
        """Return `options` with the size that the load allows: the one asked for, or a smaller one.

        Only a caller who allows it (`on_overload`) gets a smaller one. Nothing is remembered: the
        queue as it is now decides. What was asked for is drawn below a pressure of `smaller_from`;
        the steps of the smaller sizes are spread evenly from there to 1, where a caller is refused.

        Args:
            options: with style and format settled.
            ticket: the deadline, and where a smaller size is written.
        """
        styles, least = self.pipeline.styles, self.settings.smaller_from
        *larger, fitting = styles.rungs(options)
        for step, rung in enumerate(larger):
            limit = least + (1 - least) * step / len(larger)
            if self.lanes.pressure(ticket.left_s, styles.cost(rung)) < limit:
                fitting = rung
                break
        if larger and fitting != larger[0]:
            ticket.facts["smaller"] = fitting.size or FREE_SIZE
        return fitting

    async def choose(
        self,
        photo: bytes,
        options: Options,
        ticket: Ticket,
        known: Callable[[str], bool] = lambda _: False,
    ) -> tuple[Options, str]:
        """Settle the size, and name the picture.

        Args:
            photo: the bytes of the file.
            options: with style and format settled.
            ticket: as for `fit`.
            known: whether the caller has the picture of that name. What it asked for and has, and
                what is kept, costs nothing, so no smaller one is drawn.
        """
        asked, *smaller = self.pipeline.styles.rungs(options)
        etag = await self.name(photo, asked)
        if not smaller or known(etag) or etag in self.results:
            return asked, etag
        fitting = self.fit(options, ticket)
        return fitting, etag if fitting == asked else await self.name(photo, fitting)

    async def name(self, photo: bytes, options: Options) -> str:
        """Return the entity tag, quotes included, of the picture that `cartoonize` would return.

        Args:
            photo: the bytes of the file.
            options: with the format settled.
        """
        if len(photo) <= HASHED_AT_ONCE:
            return make_etag(photo, options, self._fingerprint, weak=self._weak)
        return await asyncio.to_thread(
            make_etag, photo, options, self._fingerprint, weak=self._weak
        )

    async def cartoonize(self, photo: bytes, options: Options, ticket: Ticket, etag: str) -> bytes:
        """Return the encoded picture; cancelling the await frees its place, wherever it is.

        Args:
            photo: the bytes of the file.
            options: with size and format settled; they ask for one picture.
            ticket: the deadline, and where times and facts are written.
            etag: the picture's name, from `name`.

        Raises:
            Problem: of the photo, the queue or the deadline.
        """

        async def draw() -> bytes:
            (picture,) = await self.draw(photo, options, ticket)
            return picture

        return await self.results.get(etag, draw)

    async def draw(self, photo: bytes, options: Options, ticket: Ticket) -> list[bytes]:
        """Return the encoded pictures, drawn now: one a chosen face, one in all for a scene.

        What a kept picture cannot tell is in the ticket afterwards: its facts and its report.

        Raises:
            Problem: as `cartoonize`.
        """
        weight = 0
        if self.lanes.budget < math.inf:
            weight = await self._weigh(photo, options)
        return await self.lanes.run(
            lambda: self._draw_now(photo, options, ticket, weight),
            ticket,
            weight,
            self.pipeline.styles.cost(options),
        )

    def _draw_now(self, photo: bytes, options: Options, ticket: Ticket, weight: int) -> list[bytes]:
        """Run the pipeline on this thread; what a large photo took is given back."""
        try:
            return self.pipeline.cartoonize(photo, options, ticket)
        except Problem as problem:  # its trace would hold the pixels until it is collected
            problem.__cause__ = problem.__context__ = None
            raise problem.with_traceback(None)  # noqa: B904 - for the same reason
        finally:
            if weight > GIVEN_BACK:
                give_back_memory()

    async def _weigh(self, photo: bytes, options: Options) -> int:
        """Return the most memory that drawing `photo` takes, bytes.

        Raises:
            Problem: the file says that it is none that is drawn.
        """
        if len(photo) <= HASHED_AT_ONCE and photo.startswith(READ_AT_ONCE):
            return self._weigh_now(photo, options)
        return await asyncio.to_thread(self._weigh_now, photo, options)

    def _weigh_now(self, photo: bytes, options: Options) -> int:
        on_gpu = self.pipeline.device.on_gpu
        return weigh(photo, options, self.pipeline.cropper.max_pixels, on_gpu=on_gpu)

    def close(self) -> None:
        """Finish what runs, answer what waits, end every thread."""
        self.lanes.close()
        self.pipeline.close()
