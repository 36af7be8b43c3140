"""Large documents: JSON that is read, and answers that hold several pictures, one at a time.

Either takes several times its size in memory that no budget counts, and Python's `json` holds up
every thread while it works, the event loop too. So one thread does all of it, and JSON of many
parts is refused before it is read: a photo is one long text. Small JSON waits for nobody.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

MAX_PARTS: Final = 10_000  # lists, objects, members and elements; a request has some dozen
# Of a text, every so many bytes may be escaped: some clients write the slashes of base64 so, which
# are one in 64.
BYTES_PER_ESCAPE: Final = 16

READ_AT_ONCE: Final = 250_000  # bytes of JSON, which take 3 ms at most

P = ParamSpec("P")
T = TypeVar("T")

_thread = ThreadPoolExecutor(1, "documents")


async def one_at_a_time(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work` on the thread for large documents, and return what it returns."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread, partial(work, *args, **kwargs))


async def read_document(
    read: Callable[Concatenate[bytes, P], T], body: bytes, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Return what `read` makes of a body: at once if it is small, else when its turn comes."""
    if len(body) <= READ_AT_ONCE:
        return read(body, *args, **kwargs)
    return await one_at_a_time(read, body, *args, **kwargs)


def parse_json(document: bytes, hook: Callable[[Any], Any] | None = None) -> Any:
    """Read JSON of few parts, whatever its length.

    Args:
        document: the bytes.
        hook: makes an object of its pairs, in order; None: a dict.

    Raises:
        ValueError: it is no JSON, or has more than `MAX_PARTS` parts, or texts full of escapes.
        RecursionError: its lists and objects lie too deep in each other.
    """
    parts = sum(document.count(mark) for mark in (b"[", b"{", b",", b":"))
    escapes = document.count(b"\\")
    if parts > MAX_PARTS or escapes > MAX_PARTS + len(document) // BYTES_PER_ESCAPE:
        raise ValueError("more parts than any request has")
    return json.loads(document, object_pairs_hook=hook)
