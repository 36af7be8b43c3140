"""Addresses: the same routes behind a proxy's prefix, and HEAD wherever there is GET. Pure ASGI."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Prefix:
    """Makes every path begin with the prefix under which a proxy publishes the service.

    A proxy may remove the prefix or leave it there: the docs page and the servers of `openapi.json`
    have it in both cases (ASGI's `root_path`).
    """

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self.app = app
        self.prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["root_path"] = self.prefix
            if not f"{scope['path']}/".startswith(f"{self.prefix}/"):
                scope["path"] = self.prefix + scope["path"]
        await self.app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET; the server leaves out the body, because its own scope still says HEAD.

    FastAPI's routes would answer 405 otherwise (RFC 9110, 9.1, requires HEAD wherever GET is).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        try:
            await self.app(as_get, receive, send)
        finally:
            if "route" in as_get:  # the log names it
                scope["route"] = as_get["route"]
