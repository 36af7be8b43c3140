"""POST /cartoonize/batch: several photos in one request; each is answered for itself."""

import asyncio
import base64
import io
import json
import logging
import zipfile
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from photo2cartoon.api.bodies import (
    body_size,
    negotiate,
    read_options,
    read_photos,
    unless_left,
    upload_limit,
)
from photo2cartoon.api.openapi import BATCH
from photo2cartoon.api.routes import PRIVATE, EngineDep
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import InternalError, PhotoMissing, Problem, TooManyPhotos
from photo2cartoon.ground.formats import SUFFIXES
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.ticket import Stage
from photo2cartoon.telemetry.metrics import Metrics

log = logging.getLogger("photo2cartoon.api.batch")

router = APIRouter()

JSON, ZIP = "application/json", "application/zip"


@router.post("/cartoonize/batch", **BATCH)
async def cartoonize_batch(request: Request, engine: EngineDep) -> Response:
    """Turn every photo of the form into a cartoon; one that fails costs the others nothing."""
    timeout_s = engine.timeout_s(request.headers.get("x-request-timeout-ms"))
    kind = negotiate(request, [ZIP, JSON])
    engine.lanes.check_room(timeout_s)
    with engine.body(body_size(request, engine.settings.max_batch_bytes)):
        ticket = request.state.ticket = request.app.state.open_ticket()
        with ticket.stage(Stage.READ):
            async with upload_limit(engine.settings.upload_timeout_s):
                photos, fields = await read_photos(request, engine.settings.max_batch_bytes)
        if not photos:
            raise PhotoMissing("Send the photos as files named 'photo' in a multipart/form-data.")
        if len(photos) > engine.settings.max_photos:
            raise TooManyPhotos
        options = read_options(request, fields)
        options = options.model_copy(update={"format": options.format or "png"})
        answers = await unless_left(request, _draw_all(engine, photos, options, timeout_s, request))
    headers = {"Cache-Control": PRIVATE, "Vary": "Accept"}
    if kind == ZIP:
        return Response(
            _to_zip(answers, SUFFIXES[options.format or "png"]), media_type=ZIP, headers=headers
        )
    return JSONResponse({"items": [_to_json(answer) for answer in answers]}, headers=headers)


async def _draw_all(
    engine: Engine, photos: list[bytes], options: Options, timeout_s: float, request: Request
) -> list[dict[str, Any]]:
    request_id = request.state.request_id
    metrics: Metrics = request.app.state.metrics

    async def draw(index: int, photo: bytes) -> dict[str, Any]:
        ticket = request.app.state.open_ticket(timeout_s)
        try:
            if not photo:
                raise PhotoMissing
            picture = await engine.cartoonize(photo, options, ticket)
        except Exception as error:
            problem = error if isinstance(error, Problem) else InternalError()
            if problem is not error:
                log.exception("unexpected error", extra={"fields": {"request_id": request_id}})
            metrics.problem(problem.code)
            return {"index": index, "status": problem.status, "problem": problem.body(request_id)}
        finally:
            metrics.photo(ticket)
        return {
            "index": index,
            "status": 200,
            "media_type": picture.media_type,
            "etag": picture.etag,
            "content": picture.content,
        }

    return await asyncio.gather(*(draw(index, photo) for index, photo in enumerate(photos)))


def _to_json(answer: dict[str, Any]) -> dict[str, Any]:
    """One item of the JSON answer, the picture as base64."""
    item = dict(answer)
    if content := item.pop("content", None):
        item["data"] = base64.b64encode(content).decode()
    return item


def _to_zip(answers: list[dict[str, Any]], suffix: str) -> bytes:
    """Pack `INDEX.png` for each picture, and `items.json`, which says what became of each photo."""
    buffer = io.BytesIO()
    items = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # pictures are packed already
        for answer in answers:
            item = dict(answer)
            if content := item.pop("content", None):
                item["file"] = f"{item['index']}{suffix}"
                archive.writestr(item["file"], content)
            items.append(item)
        archive.writestr("items.json", json.dumps({"items": items}, indent=2))
    return buffer.getvalue()
