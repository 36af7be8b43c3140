"""What this process may use of its machine, and who listens on a port of it."""

import ctypes
import json
import math
import os
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MIB = 2**20
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
ASK_TIMEOUT_S = 1.0


def available_cores(quota_file: Path = CGROUP_QUOTA) -> int:
    """Return the number of cores for this process: its affinity, or a smaller CPU quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or quota "max"
        return cores


def give_back_memory() -> None:
    """Give memory that is free within the process back to the machine, where glibc manages it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim:
        trim(0)


def total_memory() -> int:
    """Return the memory of the machine, bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_limit(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Return this process's memory limit, bytes; None if there is none below `total_memory`.

    The smallest limit counts, of the process's group and of those that it lies in. A container
    sees its own group as the root, whatever the path says.
    """
    limits = (_read_limit(file) for file in _limit_files(root, membership))
    smallest = min((limit for limit in limits if limit is not None), default=total_memory())
    return smallest if smallest < total_memory() else None


def _limit_files(root: Path, membership: Path) -> Iterator[Path]:
    """Yield the files that may state a limit, of cgroup v2 and v1."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    for line in (*lines, "0::/", "0:memory:/"):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path)
        for each in (group, *group.parents):
            yield folder / each.relative_to("/") / name


def _read_limit(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # another version of cgroups, or "max"
        return None


def resident_memory() -> int:
    """Return the memory that this process holds, bytes; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def who_listens(host: str, port: int) -> str | None:
    """Return what keeps the service from listening on `host`:`port`; None if nothing does."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind(address)
        except PermissionError:
            return "needs more rights than this process has"
        except OSError as error:
            return "is this service's" if _is_ours(port) else f"is taken ({error.strerror})"
    return None


def _is_ours(port: int) -> bool:
    """Whether what listens on this machine answers as this service does."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/readyz", timeout=ASK_TIMEOUT_S
        ) as answer:
            return "predicted_wait_ms" in json.load(answer)
    except (OSError, ValueError):
        return False
