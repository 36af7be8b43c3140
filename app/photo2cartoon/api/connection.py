"""Connections: bounds in bytes, lines and seconds for what stands before the application.

    head      at most 32 KiB and 100 lines (431), within 10 s of its first byte (408)
    requests  one at a time: what is sent ahead waits, and is not read beyond 64 KiB
    answer    must be taken at 4 KB/s or more, or the connection ends
    answers   have the room that bodies leave in `P2C_MAX_BUFFERED_BYTES`; the one that has waited
              longest to be taken ends where there is none
    idle      ends after 65 s, and earlier where a new caller needs the place
    number    at most `P2C_MAX_CONNECTIONS`; one more is 503 while all of them work
    peer      at most `P2C_MAX_CONNECTIONS_PER_PEER` from one address; one more is 429 likewise

A request of HTTP/1.1 names one host, and none names two (RFC 9112, 3.2). An offer of another
protocol is not taken: Java's client offers h2c with every request, and uvicorn would drop its body.

uvicorn's protocol, on which this one is built, has none of these bounds but the 65 s. What cannot
be answered by the application has the same form as its answers, and is logged and counted alike.
"""

import asyncio
import time
import uuid
from enum import Enum, auto
from ipaddress import IPv4Address, ip_address
from typing import Any, Final

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from photo2cartoon.api.answers import problem_response
from photo2cartoon.api.middleware import note_request
from photo2cartoon.ground.errors import (
    HeadTooLarge,
    MalformedRequest,
    Overloaded,
    Problem,
    TooManyAtOnce,
    UploadTimeout,
)
from photo2cartoon.ground.settings import Settings

MAX_HEAD_BYTES: Final = 32_768
MAX_HEAD_LINES: Final = 100
MAX_AHEAD_BYTES: Final = 65_536
PIECE_BYTES: Final = 16_384  # what the parser is given at a time
HEAD_TIMEOUT_S: Final = 10
KEEP_ALIVE_S: Final = (
    65  # longer than the usual proxy's 60 s, or the proxy meets closed connections
)
LINGER_S: Final = 2  # a connection closed while its caller still sends would lose the answer
ANSWER_CHECK_S: Final = 15
ANSWER_CHECK_BYTES: Final = 4_000 * ANSWER_CHECK_S

PEER_DETAIL: Final = "As many connections as one address may have are open from yours, and at work."


class _Part(Enum):
    """What of a request comes next."""

    START = auto()
    HEAD = auto()
    BODY = auto()


class _Flow(FlowControl):
    """Lets nobody resume reading while it is held."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class _Answered:
    """The transport as an answer sees it, which closes it when it is written: see `end_answer`."""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection.transport, name)

    def close(self) -> None:
        self._connection.end_answer()


class Connection(HttpToolsProtocol):
    """One caller's connection."""

    def __init__(self, *args: Any, settings: Settings, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._settings = settings
        self._part = _Part.START
        # When it came to be idle. uvloop's own time is the same for many that come together.
        self._since = time.monotonic()
        self._head_bytes = self._head_lines = 0
        self._body_left = 0  # bytes of a body of declared length that are still to come
        self._untold = 0  # bytes that the parser has taken and said nothing of
        self._ahead = bytearray()  # not given to the parser yet
        self._too_large = False
        self._refused = False
        self._answer_check: asyncio.TimerHandle | None = None
        self._untaken_since: float | None = None  # an answer waits, of which much is not taken

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.flow = self._flow = _Flow(self.transport)
        self._end_after(KEEP_ALIVE_S)
        if len(self.connections) > self._settings.max_connections:
            self._make_room(self._others, Overloaded(retry_after_s=1))
        elif most := self._settings.max_connections_per_peer:
            peers = [other for other in self._others if other.peer == self.peer]
            if len(peers) >= most:
                self._make_room(peers, TooManyAtOnce(PEER_DETAIL, retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self._ahead.clear()
        self._unset_keepalive_if_required()
        if self._answer_check:
            self._answer_check.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._ahead += data
        self._parse()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._untaken_since = time.monotonic()
        self._make_room_for_answers()
        self._answer_check = self.loop.call_later(
            ANSWER_CHECK_S, self._check_answer, self.transport.get_write_buffer_size()
        )

    def resume_writing(self) -> None:
        super().resume_writing()
        self._untaken_since = None
        if self._answer_check:
            self._answer_check.cancel()

    # From the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._part = _Part.HEAD
        self._head_bytes = self._head_lines = self._body_left = self._untold = 0
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(HEAD_TIMEOUT_S, self._end_late_head)

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4, lines=1)  # 4: colon, space, line end
        super().on_header(name, value)
        if name.lower() == b"content-length":
            self._body_left = int(value.strip().lstrip(b"0") or b"0")

    def on_headers_complete(self) -> None:
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (not hosts and self.parser.get_http_version() == "1.1"):
            raise ValueError  # ends the parser's work
        if self.parser.get_method() == b"CONNECT":
            raise ValueError  # no more HTTP would follow
        if self._offers_protocol:
            return  # it is read again, without the offer
        self._part = _Part.BODY
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        self.cycle.transport = _Answered(self)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._body_left = max(0, self._body_left - len(body))
        self._untold = 0

    def on_message_complete(self) -> None:
        if self._offers_protocol:
            return
        super().on_message_complete()
        self._part = _Part.START
        self._untold = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()  # ends the connection KEEP_ALIVE_S later
        self._since = time.monotonic()
        if self.transport.is_closing():
            self._end_after(KEEP_ALIVE_S)  # nobody waits longer for the last bytes to be taken
            return
        if self._refused:
            self._end_after(LINGER_S)  # what still comes is read, and thrown away
            return
        self._parse()

    # From the server

    def end_upload(self, problem: Problem) -> None:
        """Answer a request whose body has not arrived in full with `problem`."""
        if self._part is _Part.BODY and self._answering:
            self._refuse(problem)

    def end_answer(self) -> None:
        """End the connection after an answer that says so, once its request has been sent.

        A connection that is closed while its caller still sends is reset, and the answer is lost:
        many clients send all of a body before they read.
        """
        if self._part is _Part.BODY and self.transport.can_write_eof():
            self._refused = True
            self._ahead.clear()
            self.transport.write_eof()
        else:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that has been idle for long, or whose last bytes nobody takes."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def _answering(self) -> bool:
        """Whether a request is with the application."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _offers_protocol(self) -> bool:
        """Whether the parser would hand the connection to another protocol after this head."""
        return self.parser.should_upgrade()

    def _parse(self) -> None:
        """Give the parser what has come, up to the end of a request that is to be answered.

        A body in chunks is parsed a piece at a time, between which others have their turn: it may
        be all chunks of one byte.
        """
        while self._ahead and not self._refused and not self._is_full():
            piece = self._take_piece()
            self._untold += len(piece)
            try:
                self.parser.feed_data(piece)
            except HttpParserUpgrade as found:
                self._part = _Part.START
                self._ahead[:0] = self._head_without_offer() + piece[found.args[0] :]
            except HttpParserError:
                too_large = self._too_large
                self._refuse(HeadTooLarge() if too_large else MalformedRequest("No valid HTTP."))
            else:
                if self._untold > MAX_HEAD_BYTES:
                    self._refuse(HeadTooLarge())
            if self._ahead and self._part is _Part.BODY and not self._body_left:
                self.loop.call_soon(self._parse)
                break
        self._hold_or_resume()

    def _hold_or_resume(self) -> None:
        """Stop reading while much waits for the parser, or for the application."""
        self._flow.held = len(self._ahead) > MAX_AHEAD_BYTES
        loaded = self._answering and len(self.cycle.body) > HIGH_WATER_LIMIT
        if self._flow.held:
            self._flow.pause_reading()
        elif not loaded:
            self._flow.resume_reading()

    def _is_full(self) -> bool:
        return self._part is _Part.START and self._answering

    def _take_piece(self) -> bytes:
        """Take bytes that belong to one request, as far as that can be seen.

        A head, and what has chunks, ends with an empty line; where that lies across two pieces,
        uvicorn's own queue takes the second request.
        """
        if self._part is _Part.BODY and self._body_left:
            size = self._body_left
        else:
            end = self._ahead.find(b"\r\n\r\n", 0, PIECE_BYTES)
            size = PIECE_BYTES if end < 0 else end + 4
        piece = bytes(self._ahead[:size])
        del self._ahead[:size]
        return piece

    def _head_without_offer(self) -> bytes:
        """Write the head that was parsed anew, without `Upgrade`."""
        version = self.parser.get_http_version().encode()
        first = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)
        lines = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([first, *lines, b"", b""])

    def _count(self, size: int, lines: int = 0) -> None:
        """Count a part of the head, or of the lines after the last chunk."""
        self._untold = 0
        self._head_bytes += size
        self._head_lines += lines
        if self._head_bytes > MAX_HEAD_BYTES or self._head_lines > MAX_HEAD_LINES:
            self._too_large = True
            raise ValueError  # ends the parser's work

    def _end_after(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _end_late_head(self) -> None:
        if not self._answering:  # else it came ahead, and its time has not begun
            self._refuse(UploadTimeout("The request's head did not arrive within 10 seconds."))

    def _check_answer(self, before: int) -> None:
        """End the connection unless its caller has taken enough of the answer since the last."""
        left = self.transport.get_write_buffer_size()
        if before - left < ANSWER_CHECK_BYTES:
            self.transport.abort()
        else:
            self._make_room_for_answers()
            self._answer_check = self.loop.call_later(ANSWER_CHECK_S, self._check_answer, left)

    def _make_room_for_answers(self) -> None:
        """End the answers that have waited longest, while all have no room beside the bodies."""
        waiting = {one: one._untaken_since for one in (self, *self._others) if one._untaken_since}
        sizes = {one: one.transport.get_write_buffer_size() for one in waiting}
        taken = self.config.app.state.engine.held_bytes + sum(sizes.values())  # type: ignore[union-attr]
        for one in sorted(waiting, key=lambda one: waiting[one] or 0):
            if taken <= self._settings.max_buffered_bytes or one is self:
                break
            taken -= sizes[one]
            one._untaken_since = None
            one.transport.abort()

    @property
    def peer(self) -> int | None:
        """The caller's address as a number: of IPv6 its first 64 bits, which one caller has."""
        if self.client is None:
            return None
        address = ip_address(self.client[0])
        if isinstance(address, IPv4Address):
            return int(address)
        mapped = address.ipv4_mapped  # what a socket that takes both calls an IPv4 caller
        return int(mapped) if mapped else int(address) >> 64

    @property
    def _others(self) -> list["Connection"]:
        found = (other for other in self.connections if isinstance(other, Connection))
        return [other for other in found if other is not self]

    def _make_room(self, others: list["Connection"], problem: Problem) -> None:
        """End the one of `others` that has been idle longest; refuse this one if none is idle."""
        idle = [one for one in others if not one._answering and not one.transport.is_closing()]
        if idle:
            min(idle, key=lambda other: other._since).transport.abort()
        else:
            self._refuse(problem)

    def _refuse(self, problem: Problem) -> None:
        """Answer with a problem and end the connection; the application learns that it ended."""
        self._refused = True
        self._ahead.clear()
        if self._answering:
            self.loop.call_soon(self._refuse_in_place, problem)  # once the application has begun
            return
        request_id = uuid.uuid4().hex
        state = {"request_id": request_id, "problem": problem.code}
        scope = {"method": None, "state": state, "app": self.config.app}
        note_request(scope, None, problem.status, 0)
        self._write_problem(problem, request_id)

    def _refuse_in_place(self, problem: Problem) -> None:
        """Answer in place of the application, which logs and counts `problem` as its own."""
        state = self.cycle.scope["state"]
        if self._answering and not self.cycle.response_started and "request_id" in state:
            state["refused"] = problem
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._write_problem(problem, state["request_id"])
        else:
            self.transport.close()

    def _write_problem(self, problem: Problem, request_id: str) -> None:
        response = problem_response(problem, request_id)
        response.headers.update({"X-Request-ID": request_id, "Connection": "close"})
        headers = [*self.server_state.default_headers, *response.raw_headers]
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        body = bytes(response.body)
        self.transport.write(STATUS_LINE[response.status_code] + lines + b"\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._end_after(LINGER_S)
