"""Damaged uploads by the hundred, with odd options and headers: documented answers, JSON lines."""

import io
import json
import logging
from random import Random

import pytest
from PIL import Image
from starlette.testclient import TestClient

from benchmarks.serving.hostile import fuzz, is_documented
from photo2cartoon.telemetry.logs import JsonFormatter

SIDE = 96  # px: what is fuzzed is small, so that there can be much of it


def corpus(photo: bytes) -> list[bytes]:
    """A small face in every format that the service takes."""
    image = Image.open(io.BytesIO(photo)).convert("RGB").crop((100, 0, 356, 256))
    files = []
    for kind, mode in (
        ("JPEG", "RGB"), ("PNG", "RGB"), ("PNG", "P"), ("WEBP", "RGB"), ("GIF", "P"),
        ("BMP", "RGB"), ("TIFF", "L"), ("AVIF", "RGB"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        image.resize((SIDE, SIDE)).convert(mode).save(buffer, kind)
        files.append(buffer.getvalue())
    return files


@pytest.mark.parametrize("seed", range(8))
def test_fuzzed_uploads_get_documented_answers_and_lines_of_json(
    client: TestClient, photo: bytes, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    random, files = Random(seed), corpus(photo)
    caplog.set_level(logging.INFO)
    formatter = JsonFormatter()
    for _ in range(50):
        sent = fuzz(random, files)
        caplog.clear()
        answer = client.post(sent.path, headers=_plain(sent.headers), content=sent.body)
        code = ""
        if answer.status_code not in (200, 304):
            code = answer.json()["code"]
            assert answer.headers["content-type"] == "application/problem+json"
        assert is_documented(answer.status_code, code), sent
        lines = [formatter.format(record) for record in caplog.records]
        assert [json.loads(line)["event"] for line in lines].count("request") == 1
        assert not [line for line in lines if json.loads(line)["level"] in ("warning", "error")]


def _plain(headers: dict[str, str]) -> dict[str, str]:
    return headers | {"X-Request-Timeout-Ms": headers.get("X-Request-Timeout-Ms", "60000")}
