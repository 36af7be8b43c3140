"""The systems of the table: our service and its peers, and how each is started."""

import os
from pathlib import Path

from benchmarks.serving.install import peer_names, python_of
from benchmarks.serving.process import Command, our_command

OURS = "photo2cartoon"
BARE = "bare"
DEADLINE_HEADER = "X-Request-Timeout-Ms"


def list_systems(peers: Path | None) -> list[str]:
    """Ours, and every peer that is installed in `peers`."""
    installed = peer_names() if peers else []
    return [OURS, *(name for name in installed if peers and python_of(peers, name).exists())]


def start_command(
    system: str, peers: Path | None, port: int, lanes: int, deadline_s: float, work_s: float
) -> Command:
    """Start `system` on `port` with `lanes` lanes or workers.

    Ours hears of the deadline with each request. A peer hears of it at its start, and how long one
    photo takes alone, so that it can refuse what it cannot do within the deadline.
    """
    deadline_ms, work_ms = round(deadline_s * 1000), round(work_s * 1000)
    if system == OURS:
        return our_command(port, {DEADLINE_HEADER: str(deadline_ms)})
    assert peers is not None
    numbers = [str(number) for number in (port, lanes, deadline_ms, work_ms)]
    # Ray's and BentoML's helpers are looked up on the path.
    path = f"{python_of(peers, system).parent.resolve()}{os.pathsep}{os.environ.get('PATH', '')}"
    return Command(
        [
            str(python_of(peers, system).absolute()),
            "-m",
            f"benchmarks.serving.peers.{system}",
            *numbers,
        ],
        port,
        "/cartoonize",
        environment={"PATH": path},
    )
