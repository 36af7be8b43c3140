"""What comes in: the body with its photos, the options, the format that is asked for."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import mimeparse
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from photo2cartoon.ground.errors import (
    InvalidOption,
    MalformedRequest,
    NotAcceptable,
    PhotoMissing,
    UnsupportedFormat,
    UploadTimeout,
)
from photo2cartoon.ground.formats import MEDIA_TYPES, OutputFormat
from photo2cartoon.ground.options import Options, parse_options

T = TypeVar("T")

MAX_FIELDS = 16
MAX_FILES = 1000  # a form with more is no form of ours; how many photos are taken is a setting


async def unless_left(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and cancel it when the client leaves. The body must have been read.

    Raises:
        ClientDisconnect: it left.
    """
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_wait_until_left(request))
    try:
        await asyncio.wait({task, watcher}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def body_size(request: Request, limit: int) -> int:
    """How much memory the body may take, bytes: its declared length, else all it is allowed."""
    declared = request.headers.get("content-length", "")
    return int(declared) if declared.isdecimal() else limit


@asynccontextmanager
async def upload_limit(seconds: float) -> AsyncIterator[None]:
    """Inside, a body is read.

    Raises:
        UploadTimeout: it took longer than `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UploadTimeout from error


async def read_photo(request: Request, max_bytes: int) -> tuple[bytes, dict[str, Any]]:
    """Read the photo's bytes, and the other fields of a form.

    Raises:
        PhotoMissing, MalformedRequest, UnsupportedFormat: as their names say.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        photos, fields = await read_photos(request, max_bytes, max_files=1)
        photo = photos[0] if photos else b""
    elif media_type.startswith("image/") or media_type in ("", "application/octet-stream"):
        photo, fields = await request.body(), {}
    else:
        raise UnsupportedFormat("Send a multipart/form-data with 'photo', or an image/* body.")
    if not photo:
        raise PhotoMissing
    return photo, fields


async def read_photos(
    request: Request, max_bytes: int, max_files: int = MAX_FILES
) -> tuple[list[bytes], dict[str, Any]]:
    """Read every file `photo` of a form, in its order, and the form's other fields.

    Raises:
        MalformedRequest: it cannot be parsed, or has more than `max_files` files.
    """
    async with _read_form(request, max_bytes, max_files) as form:
        uploads = [file for file in form.getlist("photo") if isinstance(file, UploadFile)]
        photos = [await upload.read() for upload in uploads]
        return photos, {name: value for name, value in form.items() if name != "photo"}


@asynccontextmanager
async def _read_form(request: Request, max_bytes: int, max_files: int) -> AsyncIterator[FormData]:
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS
    )
    parser.spool_max_size = max_bytes  # a photo stays in memory: it is never written to disk
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise MalformedRequest("The form cannot be parsed, or holds too many files.") from error
    try:
        yield form
    finally:
        await form.close()


def read_options(request: Request, fields: dict[str, Any]) -> Options:
    """Take the options from the query and the form.

    Raises:
        InvalidOption: an unknown option or value, one given twice, or more than one picture asked.
    """
    given = [*request.query_params.multi_items(), *fields.items()]
    if len({name for name, _ in given}) < len(given):
        raise InvalidOption("An option is given twice.")
    options = parse_options(dict(given))
    if options.faces == "all" and options.compose == "portrait":
        raise InvalidOption("faces=all needs compose=scene: one request gives one picture.")
    return options


def settle_format(options: Options, request: Request) -> Options:
    """Take the picture's format from `Accept` where the options leave it open.

    Raises:
        NotAcceptable: `Accept` leaves none of our formats.
    """
    if options.format:
        return options
    possible: list[OutputFormat] = ["webp", "jpeg", "png"]
    if options.transparent:
        possible.remove("jpeg")
    by_type = {MEDIA_TYPES[name]: name for name in possible}
    return options.model_copy(update={"format": by_type[negotiate(request, list(by_type))]})


def negotiate(request: Request, media_types: list[str]) -> str:
    """Choose one of `media_types` by the `Accept` header; on a tie the last.

    Raises:
        NotAcceptable: it allows none of them.
    """
    try:
        chosen: str = mimeparse.best_match(media_types, request.headers.get("accept", "*/*"))
    except mimeparse.MimeTypeParseException as error:
        raise NotAcceptable from error
    if not chosen:
        raise NotAcceptable
    return chosen
