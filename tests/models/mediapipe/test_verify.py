"""What `make verify-models` refuses, without the wheel and without a network."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photo2cartoon_models.manifest import Model, load_manifest
from photo2cartoon_models.mediapipe import verify
from photo2cartoon_models.mediapipe import wheel as mediapipe
from photo2cartoon_models.mediapipe.tflite_reader import ConversionError

CONTENT = b"the converted network"


def model_of(path: Path, content: bytes) -> Model:
    """A manifest entry for a file of this content at `path`."""
    digest = hashlib.sha256(content).hexdigest()
    return replace(load_manifest()["selfie"], path=path, sha256=digest, size_bytes=len(content))


@pytest.mark.parametrize(
    ("committed", "described", "problem"),
    [
        (CONTENT, CONTENT, None),
        (b"another", b"another", "not what the converter makes"),
        (CONTENT, b"another", "not the file of the manifest"),
        (CONTENT, None, "no entry in the manifest"),
        (None, CONTENT, "cannot read"),
    ],
)
def test_file_problems(
    tmp_path: Path, committed: bytes | None, described: bytes | None, problem: str | None
) -> None:
    fresh, path = tmp_path / "fresh.onnx", tmp_path / "net.onnx"
    fresh.write_bytes(CONTENT)
    if committed is not None:
        path.write_bytes(committed)
    problems = verify.file_problems(fresh, model_of(path, described) if described else None)
    assert [problem in line for line in problems if problem] == ([True] if problem else [])
    assert bool(problems) == bool(problem)


def wheel_with(path: Path, network: mediapipe.Network, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(network.member, content)
    return path


def test_wheel_members_are_pinned(tmp_path: Path) -> None:
    short, full, *_ = mediapipe.NETWORKS
    short = replace(short, sha256=hashlib.sha256(CONTENT).hexdigest())
    wheel = wheel_with(tmp_path / "a.whl", short, CONTENT)
    assert mediapipe.read_tflite(wheel, short) == CONTENT
    with pytest.raises(ConversionError, match="not the pinned file"):
        mediapipe.read_tflite(wheel_with(tmp_path / "b.whl", short, b"else"), short)
    with pytest.raises(ConversionError, match=f"has no {full.member}"):
        mediapipe.read_tflite(wheel, full)


class Pip:
    """Stands in for the download: leaves `content` where pip would."""

    def __init__(self, wheel: Path, content: bytes | None) -> None:
        self.wheel, self.content, self.calls = wheel, content, 0

    def __call__(self, command: list[str], **_: Any) -> Any:
        self.calls += 1
        assert not self.wheel.exists()
        if self.content is not None:
            self.wheel.write_bytes(self.content)
        return subprocess.CompletedProcess(command, self.content is None)


def test_wheel_is_reused_while_its_hash_matches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / mediapipe.WHEEL_FILE
    pip = Pip(wheel, CONTENT)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(mediapipe, "WHEEL_SHA256", hashlib.sha256(CONTENT).hexdigest())
    wheel.write_bytes(b"half a download")
    assert verify.fetch_wheel(tmp_path) == wheel
    assert verify.fetch_wheel(tmp_path).read_bytes() == CONTENT
    assert pip.calls == 1


@pytest.mark.parametrize(
    ("content", "message"), [(b"other", "another sha256"), (None, "pip could not download")]
)
def test_wrong_or_missing_wheel_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    monkeypatch.setattr(subprocess, "run", Pip(tmp_path / mediapipe.WHEEL_FILE, content))
    with pytest.raises(ConversionError, match=message):
        verify.fetch_wheel(tmp_path)
