"""A real server process, and how tests talk to it."""

import json
import os
import subprocess
import sys
import threading
from queue import Queue
from typing import Self

from tests.places import ROOT


class Server:
    """A `photo2cartoon serve` process on a free port of this machine."""

    def __init__(
        self, program: str = "from photo2cartoon.cli.main import main; main()", **environment: str
    ) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("P2C_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "serve"],
            cwd=ROOT,
            env={**plain, "P2C_PORT": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._ready: Queue[str | None] = Queue()
        # A pipe that nobody empties would stop the server after some hundred log lines.
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        url = self._ready.get(timeout=60)
        if url is None:
            raise RuntimeError("the server stopped: " + "".join(self.lines))
        self.url = url

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(text)
            if '"event": "ready"' in text:
                self._ready.put(json.loads(text)["url"])
        self._ready.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop and wait for its end; its exit code."""
        self.process.terminate()
        code = self.process.wait(timeout=30)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code
