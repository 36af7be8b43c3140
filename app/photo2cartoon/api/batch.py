"""POST /cartoonize/batch: several photos in one request; each is answered for itself."""

import asyncio
import base64
import json
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from photo2cartoon.api.answers import PRIVATE, negotiate
from photo2cartoon.api.arrival import arrive
from photo2cartoon.api.bodies import read_options, read_photos
from photo2cartoon.api.caller import read_timeout, unless_left
from photo2cartoon.api.documents import JSON, ZIP, gives_several, pack
from photo2cartoon.api.keys import Admitted
from photo2cartoon.api.large import one_at_a_time
from photo2cartoon.api.openapi import BATCH
from photo2cartoon.api.routes import EngineDep
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import (
    InternalError,
    InvalidOption,
    PhotoMissing,
    Problem,
    TooManyPhotos,
    TooMuchMemory,
)
from photo2cartoon.ground.formats import MEDIA_TYPES, SUFFIXES
from photo2cartoon.ground.options import Options
from photo2cartoon.telemetry.metrics import Metrics

log = logging.getLogger("photo2cartoon.api.batch")

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one photo of a batch: its picture, or its problem.

    Attributes:
        index: place of the photo in the form, counted from 0.
        status: that a request with this photo alone would have.
        media_type: of the picture.
        etag: name of the picture, quotes included.
        problem: the problem document.
        picture: the encoded picture; empty where there is a problem.
    """

    index: int
    status: int = 200
    media_type: str | None = None
    etag: str | None = None
    problem: dict[str, Any] | None = None
    picture: bytes = b""

    def members(self, **picture: str) -> dict[str, Any]:
        """Return the JSON members, with `picture` where there is one: its `data`, or its `file`."""
        known = {
            "index": self.index,
            "status": self.status,
            "media_type": self.media_type,
            "etag": self.etag,
            "problem": self.problem,
        }
        members = {name: value for name, value in known.items() if value is not None}
        return members | picture if self.picture else members


@router.post("/cartoonize/batch", **BATCH)
async def cartoonize_batch(request: Request, engine: EngineDep, _: Admitted) -> Response:
    """Turn every photo of the form into a cartoon; one that fails costs the others nothing."""
    timeout_s = read_timeout(request, engine.settings)
    media_type = negotiate(request, [ZIP, JSON])
    limit = engine.settings.max_batch_bytes
    async with arrive(request, engine, read_photos, limit) as ((photos, fields), _ticket):
        if not photos:
            raise PhotoMissing("Send the photos as files named 'photo' in a multipart/form-data.")
        if len(photos) > engine.settings.max_photos:
            raise TooManyPhotos
        options = engine.pipeline.styles.settle(read_options(request, fields))
        if gives_several(options):
            raise InvalidOption("faces=all needs compose=scene: each photo gives one picture.")
        options = options.model_copy(update={"format": options.file_format})
        with ExitStack() as room:  # for the pictures, until the answer has been put together
            drawn = _draw_all(engine, photos, options, timeout_s, request, room)
            items = await unless_left(request, drawn)
            if media_type == ZIP:
                answer = await one_at_a_time(_pack, items, SUFFIXES[options.file_format])
            else:
                answer = await one_at_a_time(_write, items)
    return Response(answer, 200, PRIVATE, media_type)


async def _draw_all(
    engine: Engine,
    photos: list[bytes],
    options: Options,
    timeout_s: float,
    request: Request,
    room: ExitStack,
) -> list[Item]:
    """Draw the photos side by side; `room` holds as much memory as their pictures take.

    As many pictures are kept as have `P2C_MAX_BATCH_BYTES`: those drawn after them are problems.
    """
    request_id = request.state.request_id
    metrics: Metrics = request.app.state.metrics
    media_type = MEDIA_TYPES[options.file_format]
    left = engine.settings.max_batch_bytes

    async def draw(index: int, photo: bytes) -> Item:
        nonlocal left
        ticket = request.app.state.open_ticket(timeout_s)
        try:
            if not photo:
                raise PhotoMissing
            chosen, etag = await engine.choose(photo, options, ticket)
            picture = await engine.cartoonize(photo, chosen, ticket, etag)
            if len(picture) > left:
                raise TooMuchMemory("The batch's pictures are too large to be held together.")
            room.enter_context(engine.hold(len(picture)))
            left -= len(picture)
        except Exception as error:
            problem = error if isinstance(error, Problem) else InternalError()
            if problem is not error:
                log.exception("unexpected error", extra={"fields": {"request_id": request_id}})
            metrics.problem(problem.code)
            return Item(index, problem.status, problem=problem.body(request_id))
        finally:
            metrics.photo(ticket)
        return Item(index, media_type=media_type, etag=etag, picture=picture)

    return await asyncio.gather(*(draw(index, photo) for index, photo in enumerate(photos)))


def _write(items: list[Item]) -> bytes:
    """Return the JSON document; its texts are large, and copied as seldom as can be."""
    parts = []
    for item in items:
        members = json.dumps(item.members()).encode()
        if item.picture:
            data = base64.b64encode(item.picture)
            members = b"".join([members[:-1], b', "data": "', data, b'"}'])
        parts.append(members)
    return b"".join([b'{"items": [', b", ".join(parts), b"]}"])


def _pack(items: list[Item], suffix: str) -> bytes:
    """Make a ZIP of `INDEX.png` for each picture, and `items.json`: what became of each photo."""
    files = {f"{item.index}{suffix}": item.picture for item in items if item.picture}
    members = [item.members(file=f"{item.index}{suffix}") for item in items]
    return pack(files | {"items.json": json.dumps({"items": members}, indent=2).encode()})
