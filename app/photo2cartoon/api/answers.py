"""Answers: in which format a picture goes out, the headers it has, and how a problem is told."""

import io
import re

from fastapi.exceptions import RequestValidationError
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from photo2cartoon.api.accept import best_match
from photo2cartoon.ground.errors import (
    BodyTooLarge,
    InternalError,
    InvalidOption,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Problem,
)
from photo2cartoon.ground.formats import MEDIA_TYPES, OutputFormat
from photo2cartoon.ground.options import Options

# A caller may keep its picture, and ask again by the entity tag; a shared cache may not.
PRIVATE = {"Cache-Control": "private, no-cache", "Vary": "Accept"}
# What browsers must not do with an answer: guess its type, run it, frame it, tell where it was.
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
# Where the clients of other interfaces look for the detail of a problem: OpenAI's, Triton's.
DETAILS = {"/v1/images/": "message", "/v1/models": "message", "/v2/": "error"}
ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*")')


def negotiate(request: Request, media_types: list[str]) -> str:
    """Choose one of `media_types` by the `Accept` header; on a tie, the last.

    Raises:
        NotAcceptable: the header allows none of them.
    """
    chosen = best_match(",".join(request.headers.getlist("accept")), media_types)
    if chosen is None:
        raise NotAcceptable
    return chosen


def settle_format(options: Options, request: Request) -> Options:
    """Take the picture's format from `Accept` where the options leave it open.

    Raises:
        NotAcceptable: `Accept` allows none of our formats.
    """
    if options.format:
        return options
    possible: list[OutputFormat] = ["webp", "jpeg", "png"]
    if options.transparent:
        possible.remove("jpeg")
    by_type = {MEDIA_TYPES[name]: name for name in possible}
    return options.model_copy(update={"format": by_type[negotiate(request, list(by_type))]})


def matches(if_none_match: str, etag: str) -> bool:
    """Whether an `If-None-Match` header names `etag`, compared weakly (RFC 9110, 13.1.2).

    `*` does not count: it asks whether there is any answer, which takes drawing one to know.
    """
    return etag.removeprefix("W/") in ENTITY_TAG.findall(if_none_match)


def not_modified(etag: str) -> Response:
    """Return the answer to a caller that already has the picture named `etag`."""
    return Response(status_code=304, headers={**PRIVATE, "ETag": etag})


def picture_response(picture: bytes, options: Options, etag: str) -> Response:
    """Return the answer with a picture, encoded in the format that `options` name.

    The headers say in which style it is drawn, and how large it is: not always what was asked for.
    """
    media_type = MEDIA_TYPES[options.file_format]
    width, height = picture_size(picture)
    headers = {"X-Style": options.style or "", "X-Picture-Size": f"{width}x{height}"}
    headers |= {**PRIVATE, "ETag": etag}
    return Response(picture, media_type=media_type, headers=headers)


def picture_size(picture: bytes) -> tuple[int, int]:
    """Return width and height of an encoded picture, px, as its header has them."""
    with Image.open(io.BytesIO(picture)) as header:
        return header.size


def problem_response(problem: Problem, request_id: str, **more: str) -> Response:
    """Return the one form that all errors have: `application/problem+json` (RFC 9457).

    `more` are further members, for clients of another interface.
    """
    return JSONResponse(
        problem.body(request_id) | more,
        problem.status,
        headers={"Cache-Control": "no-store", **SAFE, **problem.headers},
        media_type="application/problem+json",
    )


async def answer_problem(request: Request, error: Exception) -> Response:
    """Answer an error of our family, or one that FastAPI or Starlette raised."""
    problem = error if isinstance(error, Problem) else _translate(error)
    request.state.problem = problem.code
    path = getattr(request.scope.get("route"), "path", "")
    member = next((name for start, name in DETAILS.items() if path.startswith(start)), "detail")
    return problem_response(problem, request.state.request_id, **{member: problem.detail})


def _translate(error: Exception) -> Problem:
    if isinstance(error, RequestValidationError):
        return InvalidOption()
    if not isinstance(error, HTTPException):
        return InternalError()
    if error.status_code == 405:
        allowed = set(re.findall(r"\w+", (error.headers or {}).get("Allow", "")))
        head = {"HEAD"} if "GET" in allowed else set()
        return MethodNotAllowed(", ".join(sorted(allowed | head)))
    known = {404: NotFound, 413: BodyTooLarge}
    return known.get(error.status_code, MalformedRequest)()
