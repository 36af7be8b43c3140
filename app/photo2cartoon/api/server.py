"""The server: uvicorn around the application, from the first model to the last answer."""

import asyncio
import errno
import logging
import math
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from photo2cartoon.api.app import create_app
from photo2cartoon.api.connection import KEEP_ALIVE_S, Connection
from photo2cartoon.engine.engine import Engine
from photo2cartoon.ground.errors import Draining
from photo2cartoon.ground.settings import Settings, unknown_variables
from photo2cartoon.ground.time_limit import start_limit
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.runtime.checks import Finding, StartRefused
from photo2cartoon.telemetry.logs import capture_native_stderr, configure_logs

log = logging.getLogger("photo2cartoon.api.server")

LAST_JOBS_S = 5


def serve(settings: Settings) -> None:
    """Listen and serve until a signal says stop.

    Raises:
        ManifestError: a model is missing, changed, or does not work; nothing has listened yet.
        StartRefused: what the settings ask for does not run here, or the port is in use; nothing
            has listened yet.
    """
    capture_native_stderr()
    configure_logs(settings.log_level)
    if names := unknown_variables():
        log.warning("variables_ignored", extra={"fields": {"names": names}})
    host = "" if settings.host == "::" else settings.host  # asyncio would leave IPv4 out of `::`
    _check_address(host, settings.port)
    with start_limit(settings):
        pipeline = open_pipeline(settings)  # here, where its errors can be told in one line
    app = create_app(settings, lambda _: pipeline)
    config = uvicorn.Config(
        app,
        host=host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=partial(Connection, settings=settings),  # type: ignore[arg-type]
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_S,
        # What still waits after the grace is refused (below); what runs gets this much more time.
        timeout_graceful_shutdown=math.ceil(settings.grace_s) + LAST_JOBS_S,
    )
    _Server(config, settings, lambda: app.state.engine).run()


def _check_address(host: str, port: int) -> None:
    """Refuse an address on which nobody can listen, before the models are loaded.

    Args:
        host: name or address; empty for every address of the machine, of IPv4 and of IPv6.
        port: 0 for a free one.

    Raises:
        StartRefused: it is in use, or not this machine's.
    """
    try:
        addresses = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in addresses if host == "" else addresses[:1]:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:  # as asyncio does: [::] leaves 0.0.0.0 alone
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            finding = Finding(
                f"port {port} of {host or '::'} is in use",
                "--port or P2C_PORT takes another, 0 a free one",
            )
        else:
            reason = error.strerror or str(error)
            finding = Finding(f"cannot listen on {host or '::'}:{port}", reason)
        raise StartRefused(finding) from error


class _Server(uvicorn.Server):
    """Logs the address and port on which it listens, and stops in steps.

    After the first signal it is no longer ready; `drain_delay_s` later it takes no new connections,
    and works for `grace_s` on what it has accepted; what still waits then is answered as
    `draining`. A second signal stops it at once.
    """

    def __init__(
        self, config: uvicorn.Config, settings: Settings, engine: Callable[[], Engine]
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._engine = engine
        self._stop_at: float | None = None
        self._signal = signal.SIGTERM

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                host, port = listener.getsockname()[:2]
                address = f"[{host}]" if listener.family == socket.AF_INET6 else host
                log.info("ready", extra={"fields": {"url": f"http://{address}:{port}"}})

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at is None and self.started:
            self._signal = signal.Signals(sig)
            self._stop_at = time.monotonic() + self._settings.drain_delay_s
            self._engine().draining = True
        else:
            self.force_exit = True
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            super().handle_exit(self._signal, None)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("draining", extra={"fields": {"waiting": self._engine().lanes.waiting}})
        asyncio.get_running_loop().call_later(self._settings.grace_s, self._end_grace)
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn then skips the end of the lifespan
            self._engine().lanes.close(timeout_s=0)
        else:
            self._captured_signals.clear()  # uvicorn would raise them again, and not exit with 0

    def _end_grace(self) -> None:
        """Answer what still waits, and what is still being sent, as `draining`."""
        self._engine().lanes.stop()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.end_upload(Draining(retry_after_s=1))
