"""Large documents: what would keep the JSON reader busy is refused before it is read."""

import asyncio
import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api import large
from photo2cartoon.api.large import (
    MAX_PARTS,
    READ_AT_ONCE,
    one_at_a_time,
    parse_json,
    read_document,
)
from photo2cartoon.ground.settings import LITE

URLS = ["/cartoonize", f"/v2/models/{LITE}/infer"]
BUSY = {
    "lists": b"[],",
    "objects": b"{},",
    "nested": b"[[[[]]]],",
    "numbers": b"1,",
    "members": b'{"a":0},',
    "escapes": b'"' + b"\\n" * 40 + b'",',
}


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("piece", BUSY.values(), ids=BUSY)
def test_json_of_many_parts_is_not_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, url: str, piece: bytes
) -> None:
    """20 MB of lists took 450 MB and held the event loop up for as long as they were read."""

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(large, "json", SimpleNamespace(loads=read))
    body = b'{"photo":"eA==","more":[' + piece * (MAX_PARTS + 1) + b"0]}"
    headers = {"content-type": "application/json"}
    answer = client.post(url, content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_a_photo_with_escaped_slashes_is_read() -> None:
    """As PHP writes base64."""
    photo = Random(0).randbytes(2_000_000)
    document = json.dumps({"photo": base64.b64encode(photo).decode(), "size": 512})
    escaped = document.replace("/", "\\/").encode()
    assert escaped.count(b"\\") > MAX_PARTS
    read = parse_json(escaped)
    assert base64.b64decode(read["photo"]) == photo
    assert parse_json(escaped, tuple)[1] == ("size", 512)


def test_a_small_body_waits_for_no_large_one(client: TestClient, photo: bytes) -> None:
    ended = threading.Event()
    large._thread.submit(ended.wait, 30)  # somebody's large document
    document = {"photo": base64.b64encode(photo).decode()}
    try:
        answer = client.post("/cartoonize", json=document, headers={"accept": "image/png"})
        assert (answer.status_code, ended.is_set()) == (200, False)
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(read_document(len, bytes(READ_AT_ONCE + 1)), 0.01))
    finally:
        ended.set()


def test_large_documents_take_turns() -> None:
    at_work, most = 0, 0

    def work() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        threading.Event().wait(0.01)
        at_work -= 1

    async def several() -> None:
        await asyncio.gather(*(one_at_a_time(work) for _ in range(5)))

    with ThreadPoolExecutor(2) as callers:  # whose event loops differ
        for caller in [callers.submit(asyncio.run, several()) for _ in range(2)]:
            caller.result()
    assert most == 1
