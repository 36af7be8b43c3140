"""Bodies: the photos that come in, and the options, in the query and the form."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from photo2cartoon.ground.errors import (
    InvalidOption,
    MalformedRequest,
    PhotoMissing,
    UnsupportedFormat,
    UploadTimeout,
)
from photo2cartoon.ground.options import Options, parse_options

Fields = list[tuple[str, Any]]  # of a form, in order: names may come twice

LENGTH = re.compile(r"[0-9]{1,19}")
FORM = "multipart/form-data"
MAX_FIELDS = 16
MAX_FILES = 1000  # of any form; how many photos a batch may have is a setting


def media_type(request: Request) -> str:
    """Return the body's type as the caller declares it, in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def body_size(request: Request, limit: int) -> int:
    """Return how much memory the body may take, bytes: its declared length, else `limit`."""
    declared = request.headers.get("content-length", "")
    return int(declared) if LENGTH.fullmatch(declared) else limit


@asynccontextmanager
async def upload_limit(seconds: float) -> AsyncIterator[None]:
    """Inside, a body is read, within `seconds`.

    Raises:
        UploadTimeout: reading took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UploadTimeout from error


async def read_photo(request: Request, max_bytes: int) -> tuple[bytes, Fields]:
    """Read the photo's bytes, and the other fields of a form.

    Raises:
        PhotoMissing: the body is empty, or the form has no file `photo`.
        MalformedRequest: the form cannot be parsed, or has more than one file.
        UnsupportedFormat: the body is neither a form nor an image.
    """
    kind = media_type(request)
    if kind == FORM:
        photos, fields = await read_photos(request, max_bytes, max_files=1)
        photo = photos[0] if photos else b""
    elif kind.startswith("image/") or kind in ("", "application/octet-stream"):
        photo, fields = await request.body(), []
    else:
        raise UnsupportedFormat("Send a multipart/form-data with 'photo', or an image/* body.")
    if not photo:
        raise PhotoMissing
    return photo, fields


async def read_photos(
    request: Request, max_bytes: int, max_files: int = MAX_FILES
) -> tuple[list[bytes], Fields]:
    """Read every file `photo` of a form, in order, and the form's other fields.

    Raises:
        MalformedRequest: the form cannot be parsed, or has more than `max_files` files.
    """
    async with _read_form(request, max_bytes, max_files) as form:
        uploads = [file for file in form.getlist("photo") if isinstance(file, UploadFile)]
        photos = [await upload.read() for upload in uploads]
        return photos, [(name, value) for name, value in form.multi_items() if name != "photo"]


@asynccontextmanager
async def _read_form(request: Request, max_bytes: int, max_files: int) -> AsyncIterator[FormData]:
    if media_type(request) != FORM:
        raise MalformedRequest("Send a multipart/form-data.")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS
    )
    parser.spool_max_size = max_bytes  # photos stay in memory and are never written to disk
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError) as error:  # ValueError: of a charset that is asked for
        raise MalformedRequest("The form cannot be parsed, or holds too many files.") from error
    try:
        yield form
    finally:
        await form.close()


def read_options(request: Request, fields: Fields) -> Options:
    """Take the options from the query and the form.

    Raises:
        InvalidOption: an unknown option or value, an option given twice, or more than one picture
            asked for.
    """
    given = [*request.query_params.multi_items(), *fields]
    if len({name for name, _ in given}) < len(given):
        raise InvalidOption("An option is given twice.")
    options = parse_options(dict(given))
    if options.faces == "all" and options.compose == "portrait":
        raise InvalidOption("faces=all needs compose=scene: one request gives one picture.")
    return options
