"""Read weight files in a process of their own, whose memory and time have an end.

Nothing in a weights file is run, but its readers are large, and a file made for it may still take
all memory, take for ever, or crash one of them. Here that ends another process than the caller's.
What comes back is facts in JSON and plain arrays: nothing that is unpickled.

The limits are the operating system's; where it has none (Windows), the process is all there is.
"""

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from photo2cartoon_models.readers import weights
from photo2cartoon_models.readers.weights import NET, GeneratorWeights
from photo2cartoon_models.readers.weights_error import WeightsError

try:
    import resource as _resource
except ModuleNotFoundError:
    resource: Any = None
else:
    resource = _resource

Arrays = dict[str, NDArray[Any]]
Work = Callable[..., tuple[dict[str, Any], Arrays]]

CPU_S: Final = 300
MEMORY_BYTES: Final = 2 * 2**30  # beside the packages, for a file of no size
MEMORY_FACTOR: Final = 8  # of the file's size: its content, its tensors, float32 of halves
PAGE_BYTES: Final = 4096
LONGEST_ANSWER: Final = 2**34  # bytes of one array
NUMBERS: Final = re.compile(r"[<>|][fiub][1248]")
SEPARATOR: Final = "\0"  # between the names of a network and of its tensor


def read_weights(path: Path, net: str = NET) -> GeneratorWeights:
    """Read the weights of one generator, as `weights.read_weights` does.

    Raises:
        WeightsError: as there, or reading took more memory or time than it may, or crashed.
    """
    facts, tensors = call(_read_weights, path, net)
    return GeneratorWeights(tensors=tensors, **facts)


def read_networks(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Read the networks of a file that holds several, by name, unchecked; empty if it holds one.

    Raises:
        WeightsError: as `read_weights`.
    """
    facts, arrays = call(_read_networks, path)
    networks: dict[str, dict[str, torch.Tensor]] = {name: {} for name in facts["networks"]}
    for name, array in arrays.items():
        network, _, tensor = name.partition(SEPARATOR)
        networks[network][tensor] = torch.from_numpy(array)
    return networks


def call(
    work: Work,
    path: Path,
    *more: Any,
    cpu_s: int = CPU_S,
    memory_bytes: int | None = None,
) -> tuple[dict[str, Any], Arrays]:
    """Return what `work(path, *more)` returns in a process of its own.

    Args:
        work: a function of a module, which returns facts for JSON and arrays of numbers.
        path: the file that it reads.
        more: what else it takes.
        cpu_s: processor time that it may take, s.
        memory_bytes: memory that it may take beside 8 times the file's size, bytes; None: 2 GiB.

    Raises:
        WeightsError: `work` raised it, or took more than it may, or crashed.
    """
    size = path.stat().st_size if path.is_file() else 0
    limits = cpu_s, (memory_bytes or MEMORY_BYTES) + MEMORY_FACTOR * size
    context: Any = multiprocessing.get_context("spawn" if resource is None else "forkserver")
    if resource is not None:  # one process imports torch; those that read are its forks
        context.set_forkserver_preload(["__main__", weights.__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(theirs, limits, work, path, *more), daemon=True)
    process.start()
    theirs.close()
    try:
        return _take(ours)
    except (EOFError, OSError, TypeError, ValueError) as error:
        process.join()
        raise WeightsError(_explain(process.exitcode, cpu_s)) from error
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()


def _take(ours: Connection) -> tuple[dict[str, Any], Arrays]:
    head = json.loads(ours.recv_bytes(LONGEST_ANSWER))
    if "error" in head:
        raise WeightsError(head["error"])
    arrays = {}
    for name, kind, shape in head["arrays"]:
        if not NUMBERS.fullmatch(kind):
            raise ValueError(f"no array of numbers: {kind}")
        content = bytearray(ours.recv_bytes(LONGEST_ANSWER))
        arrays[name] = np.ndarray(shape, kind, content)
    return head["facts"], arrays


def _explain(code: int | None, cpu_s: int) -> str:
    signal_number = -code if code is not None and code < 0 else 0
    if signal_number == getattr(signal, "SIGXCPU", None):
        return f"refused: reading it takes more than {cpu_s} s of a processor"
    what = signal.Signals(signal_number).name if signal_number else f"exit code {code}"
    return f"refused: the process that read it was ended ({what}); the file is broken or hostile"


def _answer(
    theirs: Connection, limits: tuple[int, int], work: Work, path: Path, *more: Any
) -> None:
    """Be the process: limit it, do the work, send the answer."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a library's last words are not for the caller
    _limit(*limits)
    try:
        facts, arrays = work(path, *more)
        parts = [(name, array.dtype.str, array.shape) for name, array in arrays.items()]
        theirs.send_bytes(json.dumps({"facts": facts, "arrays": parts}).encode())
        for array in arrays.values():
            theirs.send_bytes(np.ascontiguousarray(array).tobytes())
    except MemoryError:
        _send_error(theirs, "refused: reading it takes more memory than a file of its size should")
    except WeightsError as error:
        _send_error(theirs, " ".join(str(error).splitlines()))


def _send_error(theirs: Connection, message: str) -> None:
    theirs.send_bytes(json.dumps({"error": message}).encode())


def _limit(cpu_s: int, memory_bytes: int) -> None:
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    pages = Path("/proc/self/statm")
    if pages.exists():
        taken = int(pages.read_text().split()[0]) * PAGE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (taken + memory_bytes, taken + memory_bytes))


def _read_weights(path: Path, net: str) -> tuple[dict[str, Any], Arrays]:
    read = weights.read_weights(path, net)
    facts = {field.name: getattr(read, field.name) for field in fields(read)}
    return facts, facts.pop("tensors")


def _read_networks(path: Path) -> tuple[dict[str, Any], Arrays]:
    networks = weights.read_networks(path)
    arrays = {
        f"{network}{SEPARATOR}{name}": _plain(value)
        for network, tensors in networks.items()
        for name, value in tensors.items()
        if isinstance(value, torch.Tensor | np.ndarray)
    }
    return {"networks": list(networks)}, arrays


def _plain(value: Any) -> NDArray[Any]:
    """Return a tensor as an array of its numbers; numpy knows no bfloat16."""
    if isinstance(value, np.ndarray):
        return value
    value = value.detach()
    array: NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return array
