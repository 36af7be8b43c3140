"""A server as a process: started, waited for, its memory read, ended with all it started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import httpx2
import psutil

ROOT = Path(__file__).parents[2]
# The peers' environments have no package of ours: the benchmarks, the service, the models.
SOURCES = os.pathsep.join(str(folder) for folder in (ROOT, ROOT / "app", ROOT / "models"))
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 20


@dataclass(frozen=True)
class Command:
    """How a server is started, and how a photo is sent to it."""

    arguments: list[str]
    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def end_on_sigterm() -> None:
    """Let SIGTERM end this program as an error would: with its servers stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


@contextmanager
def running(command: Command, photo: bytes, log: IO[bytes]) -> Iterator[psutil.Process]:
    """Run a server from its first cartoon on; in the end nothing of it is left.

    Raises:
        RuntimeError: it ended, or drew nothing in time; `log` says why.
    """
    process = subprocess.Popen(
        command.arguments,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": SOURCES} | command.environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        wait_until_ready(process, command, photo)
        yield psutil.Process(process.pid)
    finally:
        stop(process)


def wait_until_ready(process: subprocess.Popen[bytes], command: Command, photo: bytes) -> None:
    """Send `photo` until 200 comes back."""
    url = f"http://127.0.0.1:{command.port}{command.path}"
    headers = {"Content-Type": "image/jpeg", **command.headers}
    end = time.monotonic() + START_TIMEOUT_S
    status = 0
    while process.poll() is None and time.monotonic() < end:
        with suppress(httpx2.TransportError):
            status = httpx2.post(url, content=photo, headers=headers, timeout=10).status_code
            if status == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(
        f"no cartoon from {command.arguments} (exit {process.poll()}, HTTP {status})"
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; then end its group and whatever of its tree moved to groups of its own."""
    tree = descendants(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in tree:
        with suppress(psutil.NoSuchProcess):
            child.kill()  # psutil knows a process by its start time too: never a stranger's
    process.wait()
    psutil.wait_procs(tree, STOP_TIMEOUT_S)


def descendants(pid: int) -> list[psutil.Process]:
    """Every process below `pid`."""
    try:
        return list(psutil.Process(pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def memory_bytes(process: psutil.Process) -> int:
    """PSS of the whole tree: forked workers share pages, which RSS would count once for each."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += member.memory_full_info().pss
    return total


def open_files(process: psutil.Process) -> int:
    """File descriptors of the whole tree."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            total += member.num_fds()
    return total


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def our_command(port: int, headers: dict[str, str] | None = None) -> Command:
    """Our service with its default settings, from this Python."""
    return Command(
        [sys.executable, "-m", "photo2cartoon", "serve"],
        port,
        "/cartoonize",
        headers or {},
        {"P2C_PORT": str(port), "P2C_LOG_LEVEL": "warning"},
    )
