"""nginx of this machine with the example's configuration, before instances of the service."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from benchmarks.serving.process import ROOT, free_port

CONFIGURATION = ROOT / "examples" / "gateway" / "nginx.conf"
START_S = 30.0


class Gateway:
    """nginx before some instances; leaving the block stops it when what is under way has ended.

    Attributes:
        port: where it listens.
        url: likewise.
        log: one line a request.
        errors: its warnings.
    """

    def __init__(self, folder: Path, addresses: list[str]) -> None:
        """Start it with its files in `folder`.

        Args:
            folder: a new one.
            addresses: host and port of the instances, which take the example's names in turn.

        Raises:
            FileNotFoundError: nginx is not installed (Debian: nginx-light).
            RuntimeError: it does not listen.
        """
        program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if program is None:
            raise FileNotFoundError("nginx is missing (Debian: nginx-light)")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log, self.errors = folder / "log", folder / "errors"
        text = CONFIGURATION.read_text()
        text = text.replace("listen 8080;", f"listen 127.0.0.1:{self.port};")
        text = text.replace("/dev/stdout", str(self.log))
        text = text.replace("/dev/stderr", str(self.errors))
        for number, address in enumerate(addresses):
            text = text.replace(f"photo2cartoon-{number}:8000", address)
        if os.geteuid() == 0:
            text = f"user root;\n{text}"  # a temporary folder is its maker's alone
        (folder / "nginx.conf").write_text(text)
        command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf")]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        while not self._listens():
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"nginx does not listen: {self.errors}")
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/metrics").status_code == 404
        except httpx2.TransportError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Let what is under way end, and nginx after it."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=30)
