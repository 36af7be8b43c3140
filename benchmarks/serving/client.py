"""A light HTTP/1.1 client: pooled keep-alive connections on asyncio, parsed by httptools.

It shares the cores with the server it measures, so it does per request only what it must: write
prepared bytes, parse the answer.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import cast

import httptools


@dataclass(frozen=True, slots=True)
class Response:
    """What came back: status, body, and whether the connection may be used again."""

    status: int
    body: bytes
    keep_alive: bool


class Client:
    """Sends prepared requests to one port of this machine; as many at a time as it is told.

    The connection that has been idle longest goes first: where each of a server's processes has
    connections of its own, all of them get work.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port
        self._idle: deque[_Connection] = deque()

    async def exchange(self, request: bytes) -> Response:
        """Send `request` (head and body) and read its answer.

        A kept connection may have been closed by the server at the moment it is used again: the
        request then goes once more, over a new one.

        Raises:
            OSError: no connection, or one that ended before the answer was complete.
        """
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open():
                try:
                    return await self._use(connection, request)
                except ConnectionError:
                    if connection.has_answered():
                        raise
                    break
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, self.host, self.port)
        return await self._use(connection, request)

    async def _use(self, connection: "_Connection", request: bytes) -> Response:
        try:
            response = await connection.exchange(request)
        except BaseException:  # also when cancelled: half an answer makes it useless
            connection.close()
            raise
        if response.keep_alive:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def close(self) -> None:
        """Close the kept connections."""
        for connection in self._idle:
            connection.close()


class _Connection(asyncio.Protocol):
    """One connection, one request at a time. The `on_*` methods are called by the parser."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._answer: asyncio.Future[Response] | None = None

    def exchange(self, request: bytes) -> "asyncio.Future[Response]":
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answered = False
        self._transport.write(request)
        return self._answer

    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def has_answered(self) -> bool:
        """Whether anything of the last answer came."""
        return self._answered

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(ConnectionError(f"not HTTP: {error}"))

    def connection_lost(self, _: Exception | None) -> None:
        self._fail(ConnectionResetError("closed before the answer was complete"))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        if self._answer and not self._answer.done():
            self._answer.set_result(Response(status, bytes(self._body), keep_alive))

    def _fail(self, error: ConnectionError) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)
