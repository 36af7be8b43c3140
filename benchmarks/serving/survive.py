"""The same harm to our service and to its peers, under a limit of memory: who dies, hangs, grows?

python -m benchmarks.serving.survive GROUP [--peers FOLDER] [--system NAME] [--harm NAME]

GROUP is a memory cgroup of yours, with its limit set; each system is started anew in it for each
kind of harm. Joining it may need root:

    mkdir /sys/fs/cgroup/memory/harm
    echo 1536M > /sys/fs/cgroup/memory/harm/memory.limit_in_bytes     # version 2: memory.max

The columns: what the harm was answered; a good photo meanwhile, and one 1 s after it (status and
seconds); memory of all processes before and after, MiB; how many of them the kernel killed. The
peers serve our stages, whose checks of headers and scans protect them as well.
"""

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from select import select
from typing import Annotated

import psutil
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.decoder_process import SIDE, encode, many_scans
from benchmarks.serving.process import (
    Command,
    end_on_sigterm,
    free_port,
    memory_bytes,
    running,
)
from benchmarks.serving.systems import list_systems, start_command
from benchmarks.stages import EXAMPLE
from photo2cartoon.ground.machine import MIB

MB = 1_000_000
LANES, DEADLINE_S, WORK_S = 2, 30, 0.1
GOOD_TIMEOUT_S, HARM_TIMEOUT_S = 15, 60
SETTLE_S = 1
BODY_BYTES = 19_000_000  # below `P2C_MAX_BODY_BYTES`
LOG = Path("out/survive.log")
HEAD_BYTES, HEAD_S = 300_000_000, 40


@dataclass(frozen=True)
class Target:
    """A running server."""

    command: Command

    def head(self, length: int) -> bytes:
        """Return the head of a POST whose body has `length` bytes."""
        headers = {"Host": "x", "Content-Type": "image/jpeg", **self.command.headers}
        lines = [f"{name}: {value}" for name, value in headers.items()]
        first = f"POST {self.command.path} HTTP/1.1"
        return "\r\n".join([first, *lines, f"Content-Length: {length}", "", ""]).encode()

    def connect(self, timeout_s: float) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.command.port), timeout_s)

    def post(self, body: bytes, timeout_s: float) -> str:
        """Return the status of the answer, or the name of the error in its place."""
        try:
            with self.connect(timeout_s) as connection:
                with suppress(OSError):  # it may answer before it has read all
                    connection.sendall(self.head(len(body)) + body)
                answer = connection.recv(12)
        except OSError as error:
            return type(error).__name__
        return answer[9:].decode() or "closed"

    def post_all(self, body: bytes, count: int) -> str:
        """Post `body` `count` times at once; return how many got which answer."""
        with ThreadPoolExecutor(count) as callers:
            sent = [callers.submit(self.post, body, HARM_TIMEOUT_S) for _ in range(count)]
            return _count(call.result() for call in sent)


Harm = Callable[[Target], str]


def photos(count: int, body: bytes) -> Harm:
    """Return the harm of a photo that is sent `count` times at once."""
    return lambda target: target.post_all(body, count)


def endless_head(target: Target) -> str:
    """Send short header lines until an answer comes, or the connection ends."""
    piece, sent, start = b"a: b\r\n" * 10_000, 0, time.monotonic()
    with target.connect(HEAD_S) as connection:
        try:
            connection.sendall(target.head(1)[:-2])
            while sent < HEAD_BYTES and time.monotonic() < start + HEAD_S:
                if select([connection], [], [], 0)[0]:
                    answer = connection.recv(12)[9:].decode() or "closed"
                    return f"{answer} within {sent / MB:.1f} MB"
                connection.sendall(piece)
                sent += len(piece)
        except OSError as error:
            return f"{type(error).__name__} within {sent / MB:.1f} MB"
    return f"{sent / MB:.1f} MB taken"


def held_bodies(count: int, share: float) -> Harm:
    """Return the harm of `count` bodies of which a share is sent, and the rest never."""
    part = bytes(int(BODY_BYTES * share) + 1)

    def hold(target: Target) -> str:
        try:
            with target.connect(GOOD_TIMEOUT_S) as connection:
                connection.sendall(target.head(BODY_BYTES) + part)
                return connection.recv(12)[9:].decode() or "closed"
        except OSError as error:
            return type(error).__name__

    def harm(target: Target) -> str:
        with ThreadPoolExecutor(count) as callers:
            return _count(callers.map(hold, [target] * count))

    return harm


def unread_answers(target: Target) -> str:
    """Send requests, one behind the other, whose answers are never read."""
    piece, sent = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000, 0
    with target.connect(3) as connection:
        with suppress(OSError):
            while sent < BODY_BYTES:
                connection.sendall(piece)
                sent += len(piece)
        time.sleep(SETTLE_S)
        return f"{sent / MB:.1f} MB taken"


def _flat(mode: str, side: int) -> bytes:
    return encode(Image.new(mode, (side, side), "gray"), "PNG")


HARMS: dict[str, Callable[[], Harm]] = {
    "2 PNG RGBA of 50 MP": lambda: photos(2, _flat("RGBA", SIDE)),
    "16 PNG RGBA of 50 MP": lambda: photos(16, _flat("RGBA", SIDE)),
    "2 JPEG of 50 MP, many scans": lambda: photos(2, many_scans(SIDE)),
    "2 PNG of 100 MP": lambda: photos(2, _flat("RGB", 10_000)),
    "an endless head": lambda: endless_head,
    "40 bodies of which one byte comes": lambda: held_bodies(40, 0),
    "100 bodies that end 1 % early": lambda: held_bodies(100, 0.99),
    "pipelined, never read": lambda: unread_answers,
}


def main(
    group: Annotated[Path, typer.Argument(help="A memory cgroup with its limit set.")],
    peers: Annotated[Path | None, typer.Option(help="Folder of `install`; none: no peers.")] = None,
    systems: Annotated[list[str] | None, typer.Option("--system", help="Only these.")] = None,
    harms: Annotated[list[str] | None, typer.Option("--harm", help="Only these.")] = None,
) -> None:
    """Do each harm to each system, and print one table."""
    end_on_sigterm()
    table = Table("system", "harm", "answers", "meanwhile", "after", "MiB", "killed")
    for name in harms or HARMS:
        harm = HARMS[name]()
        for system in systems or list_systems(peers):
            command = start_command(system, peers, free_port(), LANES, DEADLINE_S, WORK_S)
            row = (system, name, *suffer(command, group, harm))
            print(*row, sep="\t", flush=True)
            table.add_row(*row)
    Console(width=160).print(table)


def suffer(command: Command, group: Path, harm: Harm) -> tuple[str, ...]:
    """Start a server in `group`, do the harm; return the last five columns."""
    photo, target, killed = EXAMPLE.read_bytes(), Target(command), kills(group)
    with LOG.open("ab") as log, running(within(group, command), photo, log) as process:
        before = memory_bytes(process)
        with ThreadPoolExecutor(1) as beside:
            doing = beside.submit(harm, target)
            time.sleep(SETTLE_S)
            meanwhile = timed(target, photo)
            answers = doing.result()
        time.sleep(SETTLE_S)
        after = timed(target, photo)
        ended = process.status() == psutil.STATUS_ZOMBIE
        grown = f"{before // MIB} to {0 if ended else memory_bytes(process) // MIB}"
    return answers, meanwhile, after, grown, str(kills(group) - killed)


def timed(target: Target, photo: bytes) -> str:
    """Post a good photo; return its status and the seconds that it took."""
    start = time.monotonic()
    status = target.post(photo, GOOD_TIMEOUT_S)
    return f"{status} {time.monotonic() - start:.1f}"


def within(group: Path, command: Command) -> Command:
    """Return `command`, run in the cgroup."""
    join = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    return replace(command, arguments=join + command.arguments)


def kills(group: Path) -> int:
    """How many processes of the cgroup the kernel has killed for want of memory."""
    for name in ("memory.oom_control", "memory.events"):
        with suppress(FileNotFoundError):
            found = re.search(r"^oom_kill (\d+)", (group / name).read_text(), re.MULTILINE)
            return int(found[1]) if found else 0
    raise typer.BadParameter(f"{group} is no memory cgroup.")


def _count(answers: Iterator[str]) -> str:
    return ", ".join(f"{count} x {answer}" for answer, count in Counter(answers).most_common())


if __name__ == "__main__":
    typer.run(main)
