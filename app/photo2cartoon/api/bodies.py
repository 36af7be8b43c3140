"""Bodies: the photos that come in, and the options, in the query and beside the photo."""

import base64
import re
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from photo2cartoon.api.large import parse_json, read_document
from photo2cartoon.ground.errors import (
    InvalidOption,
    MalformedRequest,
    PhotoMissing,
    UnsupportedCoding,
    UnsupportedFormat,
)
from photo2cartoon.ground.options import Options, parse_options

Fields = list[tuple[str, Any]]  # names and values, in order: names may come twice

LENGTH = re.compile(r"[0-9]{1,19}")
FORM, JSON, BYTES = "multipart/form-data", "application/json", "application/octet-stream"
MAX_FIELDS = 16
MAX_FILES = 1000  # of any form; how many photos a batch may have is a setting


def media_type(request: Request) -> str:
    """Return the body's type as the caller declares it, in lower case, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def declared_size(request: Request) -> int:
    """Return the body's length as its head declares it, bytes; 0 where it declares none."""
    declared = request.headers.get("content-length", "")
    return int(declared) if LENGTH.fullmatch(declared) else 0


async def read_photo(request: Request, max_bytes: int) -> tuple[bytes, Fields]:
    """Read the photo's bytes, and the options that came beside it.

    Raises:
        PhotoMissing: there is no photo, or it is empty.
        MalformedRequest: the form or the JSON cannot be parsed, or has more than one photo.
        UnsupportedFormat: the body is neither a form nor JSON nor an image.
        UnsupportedCoding: the body is compressed.
    """
    kind = media_type(request)
    photo, fields = b"", Fields()
    if kind == FORM:
        photos, fields = await read_photos(request, max_bytes, max_files=1, names=None)
        photo = photos[0] if photos else b""
    elif kind == JSON:
        photo, fields = await read_document(read_json, await read_body(request))
    elif kind.startswith("image/") or kind in ("", BYTES):
        photo = await read_body(request)
    else:
        raise UnsupportedFormat("Send a form with the photo as a file, an image/* body, or JSON.")
    if not photo:
        raise PhotoMissing
    return photo, fields


async def read_body(request: Request) -> bytes:
    """Read a body that is not a form; the request keeps no copy of it.

    Raises:
        UnsupportedCoding: it is compressed.
    """
    _refuse_coding(request)
    return b"".join([chunk async for chunk in request.stream()])


def _refuse_coding(request: Request) -> None:
    if request.headers.get("content-encoding", "").strip().lower() not in ("", "identity"):
        raise UnsupportedCoding


async def read_photos(
    request: Request,
    max_bytes: int,
    max_files: int = MAX_FILES,
    names: Container[str] | None = ("photo",),
) -> tuple[list[bytes], Fields]:
    """Read the files `names` of a form, in order (None: whatever their names), and other fields.

    A field that is empty counts as not given: an HTML form sends all that it has.

    Raises:
        MalformedRequest: the form cannot be parsed, or has more than `max_files` files.
        UnsupportedCoding: the body is compressed.
    """
    async with read_form(request, max_bytes, max_files) as form:
        photos, fields = [], Fields()
        for key, value in form.multi_items():
            if isinstance(value, UploadFile) and (names is None or key in names):
                photos.append(await value.read())
            elif value != "":
                fields.append((key, value))
        return photos, fields


@asynccontextmanager
async def read_form(request: Request, max_bytes: int, max_files: int) -> AsyncIterator[FormData]:
    """Inside, the files of a form can be read.

    Raises:
        MalformedRequest: as from `read_photos`.
        UnsupportedCoding: the body is compressed.
    """
    _refuse_coding(request)
    if media_type(request) != FORM:
        raise MalformedRequest("Send a multipart/form-data.")
    parser = _FormParser(
        request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS
    )
    parser.spool_max_size = max_bytes  # photos stay in memory and are never written to disk
    try:
        try:
            form = await parser.parse()
        except (MultiPartException, ValueError) as error:  # ValueError: of a charset
            raise MalformedRequest("The form cannot be parsed, or holds too many files.") from error
        yield form
    finally:
        parser.close_files()


class _FormParser(MultiPartParser):
    """Takes a part for a file if it has a file name, is called `photo`, or says it is a picture.

    Clients that write forms by hand leave the file name out, or give it as `filename*` only.
    """

    def close_files(self) -> None:
        """Give back the memory of every file, also of one that has not come in full."""
        for file in self._files_to_close_on_error:
            file.close()

    def on_headers_finished(self) -> None:
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        kind = Headers(raw=part.item_headers).get("content-type", "").lower()
        named = options.get(b"name")
        is_file = named == b"photo" or kind.startswith(("image/", BYTES))
        if named and is_file and b"filename" not in options:
            part.content_disposition = (part.content_disposition or b"") + b'; filename="photo"'
        super().on_headers_finished()


def read_json(body: bytes) -> tuple[bytes, Fields]:
    """Read a JSON object with a `photo` and options; those that are null or empty are not given.

    Raises:
        MalformedRequest: it is no such object, or its photo is not base64.
        PhotoMissing: it has no photo.
        InvalidOption: an option is neither text nor a whole number.
    """
    try:
        members = parse_json(body, tuple)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest("The body is not valid JSON.") from error
    if not isinstance(members, tuple):
        raise MalformedRequest("The JSON must be an object with a member 'photo'.")
    photos = [value for name, value in members if name == "photo" and value]
    if not photos:
        raise PhotoMissing
    if len(photos) > 1 or not isinstance(photos[0], str):
        raise MalformedRequest("The member 'photo' must be one data: URL.")
    fields = [pair for pair in members if pair[0] != "photo" and pair[1] not in ("", None)]
    if any(isinstance(value, bool) or not isinstance(value, str | int) for _, value in fields):
        raise InvalidOption("An option in JSON is text or a whole number.")
    return decode_base64(photos[0]), fields


def decode_base64(text: str) -> bytes:
    """Decode a `data:` URL in base64, or base64 alone.

    Raises:
        MalformedRequest: it is neither.
    """
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.lower().endswith(";base64"):
            raise MalformedRequest("A data: URL must be in base64.")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise MalformedRequest("The photo is not valid base64.") from error


def read_options(request: Request, fields: Fields) -> Options:
    """Take the options from the query and from what came with the photo.

    Raises:
        InvalidOption: an unknown option or value, or an option given twice.
    """
    given = [*request.query_params.multi_items(), *fields]
    if len({name for name, _ in given}) < len(given):
        raise InvalidOption("An option is given twice.")
    return parse_options(dict(given))
