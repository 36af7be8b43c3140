"""A web server whose answers a test writes down beforehand."""

import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

Answer = tuple[int, dict[str, str], bytes] | None  # None closes the connection without one


class ScriptedServer:
    """Answers one request after the other with the next of `answers`, the last one for ever.

    Attributes:
        url: its address.
        requests: path, headers and body of what came.
    """

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        left = list(answers)
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length", 0))
                named = {name.lower(): value for name, value in self.headers.items()}
                requests.append((self.path, named, self.rfile.read(length)))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if answer is None:
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
