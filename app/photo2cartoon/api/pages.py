"""The page at `/` and the list of operations at `/docs`: files of the folder `page/`, as they are.

The files are read once, when the application is built, and nothing else can be asked for. They
load nothing from other hosts: the content security policy allows this origin only, and no script
or style that stands inside a page.
"""

import hashlib
from importlib import resources
from pathlib import PurePath

from fastapi import APIRouter, Request
from starlette.responses import Response

from photo2cartoon.api.answers import matches
from photo2cartoon.ground.errors import NotFound
from photo2cartoon.ground.settings import Settings

FOLDER = resources.files("photo2cartoon.api") / "page"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
}
HEADERS = {  # beside those of `middleware.SafeHeaders`
    "Cache-Control": "no-cache",  # browsers keep a file, and ask again by its entity tag
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
}


def example_of(style: str) -> str | None:
    """Return the address, below the service's own, of a picture by a style that comes along."""
    name = f"style-{style}.webp"
    known = {file.name for file in FOLDER.iterdir()}
    return f"page/{name}" if name in known else None


def page_router(settings: Settings) -> APIRouter:
    """Return the routes of the pages and their files; none if `P2C_PAGE` is false."""
    router = APIRouter(include_in_schema=False)
    if not settings.page:
        return router
    answers = {file.name: _answer(file.name, file.read_bytes()) for file in FOLDER.iterdir()}

    def show(name: str, request: Request) -> Response:
        content, headers = answers[name]
        if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    async def show_page(request: Request) -> Response:
        return show("index.html", request)

    async def show_docs(request: Request) -> Response:
        return show("docs.html", request)

    async def show_file(name: str, request: Request) -> Response:
        if name not in answers or name.endswith(".html"):
            raise NotFound
        return show(name, request)

    methods = ["GET", "HEAD"]
    router.add_api_route("/", show_page, methods=methods)
    router.add_api_route("/docs", show_docs, methods=methods)
    router.add_api_route("/page/{name}", show_file, methods=methods)
    return router


def _answer(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    """Return a file's bytes with all headers of its answer."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    media_type = MEDIA_TYPES[PurePath(name).suffix]
    return content, {**HEADERS, "Content-Type": media_type, "ETag": etag}
