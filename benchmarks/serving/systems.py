"""The systems of the table: our service and its peers, and how each is started.

A peer serves the pipeline on ONNX Runtime, as its users would. The two fastest serve it once more
on OpenVINO, as our service does: what is left between them and ours is not the runtime.
"""

import os
from pathlib import Path

from benchmarks.serving.install import peer_names, python_of
from benchmarks.serving.process import Command, our_command

OURS = "photo2cartoon"
BARE = "bare"
ON_OPENVINO = "-openvino"  # the end of the name of a peer on that runtime
ON_BOTH = ("lit_serve", "mosec_")
DEADLINE_HEADER = "X-Request-Timeout-Ms"


def list_systems(peers: Path | None) -> list[str]:
    """Return ours, and every peer that is installed in `peers`, by runtime."""
    names = peer_names() if peers else []
    installed = [name for name in names if peers and python_of(peers, name).exists()]
    again = [name + ON_OPENVINO for name in installed if name in ON_BOTH]
    return [OURS, *installed, *again]


def provider_of(system: str, default: str) -> str:
    """Return the provider, as `P2C_PROVIDER` names it, on which `system` draws; ours: `default`."""
    if system == OURS:
        return default
    return "openvino" if system.endswith(ON_OPENVINO) else "cpu"


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
    provider = provider_of(system, "cpu")
    system = system.removesuffix(ON_OPENVINO)
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
        environment={"PATH": path, "P2C_PROVIDER": provider},
    )
