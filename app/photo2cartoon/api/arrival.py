"""Arrival: what every route that draws does first, and how it gets its pictures."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import Request

from photo2cartoon.api.bodies import body_size, upload_limit
from photo2cartoon.api.caller import read_timeout, unless_left
from photo2cartoon.api.documents import gives_several
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage, Ticket

T = TypeVar("T")


@asynccontextmanager
async def arrive(
    request: Request, engine: Engine, read: Callable[[Request, int], Awaitable[T]]
) -> AsyncIterator[tuple[T, Ticket]]:
    """Inside, the body has been read, and memory for it is held.

    Args:
        request: whose body has not been read.
        engine: refuses at the door what would come too late, or finds no room.
        read: reads the body, of at most so many bytes.

    Raises:
        Overloaded, WouldBeLate, Draining: there is no room, or no time.
        UploadTimeout: the body did not arrive in time.
    """
    timeout_s = read_timeout(request, engine.settings)
    engine.lanes.check_room(timeout_s)
    limit = engine.settings.max_body_bytes
    with engine.hold(body_size(request, limit)):
        ticket = request.state.ticket = request.app.state.open_ticket()
        with ticket.stage(Stage.READ):
            async with upload_limit(engine.settings.upload_timeout_s):
                body = await read(request, limit)
        ticket.due_in(timeout_s)
        yield body, ticket


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
        return await unless_left(request, engine.draw(photo, options, ticket))
    etag = await engine.name(photo, options)
    return [await unless_left(request, engine.cartoonize(photo, options, ticket, etag))]
