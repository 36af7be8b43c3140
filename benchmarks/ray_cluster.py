"""A Ray cluster and an S3 server of this machine, for the benchmark of bulk work and for its test.

Their programs are those of `.venv-ray`, which `make test-ops` builds.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.error import HTTPError, URLError

import psutil

from benchmarks.serving.process import free_port

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / ".venv-ray" / "bin"
START_S = 300.0
STORE_BYTES = "80000000"  # of a node's object store: photos do not pass through it
TRANSFER = """
import sys, fsspec
kind, one, other = sys.argv[1:]
store = fsspec.filesystem("s3")
store.put(one, other, recursive=True) if kind == "put" else store.get(one, other, recursive=True)
"""


@dataclass
class Store:
    """An S3 server of this machine (moto), with one bucket."""

    port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        """What a program of `.venv-ray` needs to find the store and this package."""
        return os.environ | {
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'models'}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0" * 64,
        }

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [PROGRAMS / "python", PROGRAMS / "moto_server", "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        make = urllib.request.Request(f"http://127.0.0.1:{self.port}/bucket", method="PUT")
        for _ in wait_until(START_S):
            try:
                urllib.request.urlopen(make).close()
            except HTTPError:
                raise
            except URLError:
                continue
            return self
        raise TimeoutError

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def transfer(self, kind: str, one: str, other: str) -> None:
        """Copy a folder into the store (`put`) or out of it (`get`)."""
        program: list[str | Path] = [PROGRAMS / "python", "-c", TRANSFER, kind, one, other]
        subprocess.run(program, env=self.environment, check=True)

    def names(self, folder: str) -> list[str]:
        """Return the names of the pictures in a folder of the bucket."""
        names: list[str] = []
        while True:
            after = f"&start-after={names[-1]}" if names else ""
            url = f"http://127.0.0.1:{self.port}/bucket?list-type=2&prefix={folder}/{after}"
            with urllib.request.urlopen(url) as answer:
                page = re.findall(r"<Key>([^<]+\.png)</Key>", answer.read().decode())
            names += page
            if len(page) < 1000:
                return names


@contextmanager
def node(store: Store, *arguments: str) -> Iterator[psutil.Process]:
    """Run one node of a cluster, of one core."""
    sizes = (
        "--num-cpus",
        "1",
        "--node-ip-address",
        "127.0.0.1",
        "--object-store-memory",
        STORE_BYTES,
        "--disable-usage-stats",
    )
    command: list[str | Path] = [PROGRAMS / "ray", "start", "--block", *sizes, *arguments]
    process = subprocess.Popen(
        command, env=store.environment, stdout=subprocess.DEVNULL, process_group=0
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def cluster(store: Store) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Run two nodes of one core each; yields the address and the nodes."""
    with ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets have short names
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port = str(free_port())
        head = ("--head", "--port", port, "--include-dashboard", "false", "--temp-dir", folder)
        nodes = [stack.enter_context(node(store, *head))]
        address = f"127.0.0.1:{port}"
        for wait in (0, 1):
            for _ in wait_until(START_S):
                if count_nodes(store, address) > wait:
                    break
            if not wait:
                nodes.append(stack.enter_context(node(store, "--address", address)))
        yield address, nodes


def count_nodes(store: Store, address: str) -> int:
    """Return how many nodes the cluster at `address` has; 0 if it does not answer."""
    program = "import ray, sys; ray.init(sys.argv[1]); print(len(ray.nodes()))"
    command: list[str | Path] = [PROGRAMS / "python", "-c", program, address]
    done = subprocess.run(
        command, env=store.environment, capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 else 0


def drawers(nodes: list[psutil.Process]) -> list[psutil.Process]:
    """Return the processes that hold a pipeline."""
    found = []
    for each in nodes:
        for child in each.children(recursive=True):
            try:
                if "".join(child.cmdline()).startswith("ray::Drawer"):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
    return found


def wait_until(seconds: float, every: float = 0.2) -> Iterator[float]:
    """Yield the time that has passed, again and again, until `seconds` have."""
    start = time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        yield passed
        time.sleep(every)
