"""Arrival: what every route that draws does first, and how it gets its pictures.

A body takes room as it comes: what its head declares, or does not declare, takes none. It may take
`P2C_UPLOAD_TIMEOUT_S` in all, and after the first 10 s it must have come at `P2C_MIN_UPLOAD_RATE`
or more on average, or it is not waited for any longer.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.types import Message

from photo2cartoon.api.bodies import declared_size
from photo2cartoon.api.caller import read_timeout, unless_left
from photo2cartoon.api.documents import gives_several
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import UploadTimeout
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage, Ticket
from photo2cartoon.pipeline.styles import LEAST_COST

UPLOAD_GRACE_S: Final = 10

T = TypeVar("T")


@asynccontextmanager
async def arrive(
    request: Request,
    engine: Engine,
    read: Callable[[Request, int], Awaitable[T]],
    max_bytes: int | None = None,
) -> AsyncIterator[tuple[T, Ticket]]:
    """Inside, the body has been read, and memory for it is held.

    Args:
        request: whose body has not been read.
        engine: refuses at the door what would come too late, or finds no room.
        read: reads the body, of at most so many bytes.
        max_bytes: that number; None: `P2C_MAX_BODY_BYTES`.

    Raises:
        Overloaded, WouldBeLate, Draining: there is no room, or no time.
        UploadTimeout: the body did not arrive in time.
    """
    timeout_s = check_door(request, engine)
    limit = max_bytes or engine.settings.max_body_bytes
    with engine.hold(min(declared_size(request), limit)):
        pass  # whoever finds no room is told before the body is sent
    with ExitStack() as room:
        ticket = request.state.ticket = request.app.state.open_ticket()
        with ticket.stage(Stage.READ):
            body = await _receive(request, engine, read, limit, room)
        ticket.due_in(timeout_s)
        yield body, ticket


def check_door(request: Request, engine: Engine) -> float:
    """Refuse by the head alone; return how long the caller waits, s.

    Raises:
        Overloaded, WouldBeLate, Draining: there is no room, or no time.
        InvalidOption: the head says no number for how long.
    """
    timeout_s = read_timeout(request, engine.settings)
    smaller = request.query_params.get("on_overload") == "smaller"
    engine.lanes.check_room(timeout_s, cost=LEAST_COST if smaller else None)
    return timeout_s


async def _receive(
    request: Request,
    engine: Engine,
    read: Callable[[Request, int], Awaitable[T]],
    limit: int,
    room: ExitStack,
) -> T:
    """Read a body as it comes; `room` holds as much memory as has come.

    Raises:
        Overloaded: the bodies at hand leave no room for what has come.
        UploadTimeout: the body did not arrive in time.
    """
    settings, clock = engine.settings, asyncio.get_running_loop().time
    began, came = clock(), 0

    def due() -> float:
        rate, longest = settings.min_upload_rate, settings.upload_timeout_s
        return began + (min(longest, UPLOAD_GRACE_S + came / rate) if rate else longest)

    async def take() -> Message:
        nonlocal came
        message = await request.receive()
        came += len(message.get("body", b""))
        room.close()  # and hold more at once: nobody else has a turn between the two
        room.enter_context(engine.hold(came))
        limits.reschedule(due())
        return message

    try:
        async with asyncio.timeout_at(due()) as limits:
            return await read(Request(request.scope, take), limit)
    except TimeoutError as error:
        raise UploadTimeout from error


async def draw(
    request: Request, engine: Engine, photo: bytes, options: Options, ticket: Ticket
) -> list[bytes]:
    """Return the encoded pictures: one in all, or one for each face.

    Args:
        request: whose body has been read; if its caller leaves, the work ends.
        engine: that draws.
        photo: the bytes of the file.
        options: settled, with the format.
        ticket: from `arrive`.
    """
    if gives_several(options):
        options = engine.fit(options, ticket)
        return await unless_left(request, engine.draw(photo, options, ticket))
    options, etag = await engine.choose(photo, options, ticket)
    return [await unless_left(request, engine.cartoonize(photo, options, ticket, etag))]
