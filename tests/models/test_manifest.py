"""A model is used only as its manifest entry says."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.manifest import (
    MANIFEST_PATH,
    ManifestError,
    find_generator,
    load_manifest,
    load_model,
)

Change = Callable[[dict[str, Any]], object]


def changed_manifest(folder: Path, change: Change) -> Path:
    """A manifest of one real model, copied to `folder`, with `change` made to its entry."""
    entry = json.loads(MANIFEST_PATH.read_text())["models"][0]
    (folder / "weights").mkdir()
    (folder / entry["file"]).write_bytes((MANIFEST_PATH.parent / entry["file"]).read_bytes())
    change(entry)
    path = folder / "manifest.json"
    path.write_text(json.dumps({"models": [entry]}))
    return path


def test_every_committed_model_is_the_file_of_its_entry() -> None:
    models = load_manifest().values()
    assert {model.role for model in models} == {"detector", "landmarks", "matte", "generator"}
    for model in models:
        assert len(model.read_verified()) == model.size_bytes
        assert model.licence
        assert model.source
        assert model.made_by


def test_every_weight_file_has_an_entry() -> None:
    files = set((MANIFEST_PATH.parent / "weights").glob("*.onnx"))
    assert files == {model.path for model in load_manifest().values()}


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = changed_manifest(tmp_path, lambda entry: None)
    model = load_manifest(path)["face_short"]
    data = bytearray(model.path.read_bytes())
    data[1000] ^= 1
    model.path.write_bytes(data)
    with pytest.raises(ManifestError, match="not the file of the manifest"):
        OnnxNetwork(model)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = changed_manifest(tmp_path, lambda entry: entry.update(file="weights/none.onnx"))
    with pytest.raises(ManifestError, match=r"cannot read .*none\.onnx"):
        OnnxNetwork(load_manifest(path)["face_short"])


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["inputs"][0].update(name="picture"),
        lambda entry: entry["inputs"][0].update(shape=["N", 1, "H", "W"]),
        lambda entry: entry["inputs"][0].update(dtype="uint8"),
        lambda entry: entry["outputs"].pop(),
        lambda entry: entry["outputs"][0].update(shape=["N", "A", 4]),
    ],
    ids=["input name", "input shape", "dtype", "output missing", "output shape"],
)
def test_a_contract_that_the_graph_does_not_keep_is_refused(tmp_path: Path, change: Change) -> None:
    model = load_manifest(changed_manifest(tmp_path, change))["face_short"]
    with pytest.raises(ManifestError, match="the graph has"):
        OnnxNetwork(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.pop("sha256"),
        lambda entry: entry.update(sha512="0"),
        lambda entry: entry["inputs"][0].pop("range"),
        lambda entry: entry.update(precision="int8"),
        lambda entry: entry.update(precision=None),
        lambda entry: entry.update(colours="bright"),
    ],
    ids=[
        "missing key",
        "unknown key",
        "missing tensor key",
        "unknown precision",
        "no precision",
        "unknown colours",
    ],
)
def test_a_malformed_entry_is_refused(tmp_path: Path, change: Change) -> None:
    with pytest.raises(ManifestError):
        load_manifest(changed_manifest(tmp_path, change))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"models": 3}'])
def test_a_malformed_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ManifestError):
        load_manifest(path)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    entry = json.loads(MANIFEST_PATH.read_text())["models"][0]
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"models": [entry, entry]}))
    with pytest.raises(ManifestError, match="twice"):
        load_manifest(path)


def test_only_a_fixed_image_size_can_be_asked_for() -> None:
    models = load_manifest()
    assert models["face_mesh"].image_size == 192
    with pytest.raises(ManifestError, match="no image size"):
        _ = models["selfie"].image_size


def test_the_precision_is_what_the_entry_states(tmp_path: Path) -> None:
    path = changed_manifest(tmp_path, lambda entry: entry.update(precision="float16"))
    assert load_manifest(path)["face_short"].precision == "float16"
    assert {model.precision for model in load_manifest().values()} == {"float32"}


def own_generator(folder: Path, **changes: object) -> Path:
    """An embedded generator as an operator's file, with its entry beside it."""
    entries = json.loads(MANIFEST_PATH.read_text())["models"]
    entry = next(entry for entry in entries if entry["role"] == "generator")
    path = folder / "mine.onnx"
    path.write_bytes((MANIFEST_PATH.parent / entry["file"]).read_bytes())
    path.with_suffix(".json").write_text(json.dumps({**entry, "name": "mine", **changes}))
    return path


def test_an_operators_generator_may_bring_its_own_entry(tmp_path: Path) -> None:
    path = own_generator(tmp_path, precision="float16", style="ours")
    model = find_generator(load_manifest(), path)
    assert (model.name, model.style, model.precision) == ("mine", "ours", "float16")
    assert model.path == path  # whatever `file` says: this entry was copied
    assert model == load_model(path)
    assert model.golden is not None
    model.read_verified()


def test_an_operators_entry_holds_its_file_to_the_digest(tmp_path: Path) -> None:
    path = own_generator(tmp_path, sha256="0" * 64)
    with pytest.raises(ManifestError, match="not the file of the manifest"):
        find_generator(load_manifest(), path).read_verified()


def test_an_operators_generator_alone_is_taken_for_float32(tmp_path: Path) -> None:
    path = own_generator(tmp_path, precision="float16")
    path.with_suffix(".json").unlink()
    model = find_generator(load_manifest(), path)
    assert (model.name, model.precision, model.golden) == ("mine", "float32", None)
    model.read_verified()


# What `convert --pixels` writes: the pipeline feeds no such generator.
BYTES = {
    "name": "image",
    "dtype": "uint8",
    "shape": ["N", 256, 256, 4],
    "layout": "NHWC",
    "colour": "RGB",
    "range": [0, 255],
    "meaning": "aligned portrait and its matte",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"role": "matte"}, "not that of a generator"),
        ({"inputs": [BYTES]}, "not that of a generator"),
        ({"inputs": []}, "not that of a generator"),
        ({"precision": "half"}, "precision 'half'"),
        ({"sha512": "0"}, "sha512"),
    ],
)
def test_an_entry_that_is_no_generators_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        find_generator(load_manifest(), own_generator(tmp_path, **changes))


def test_a_device_is_no_model() -> None:
    """It has no end: reading it would take all memory."""
    with pytest.raises(ManifestError, match="not a regular file"):
        find_generator(load_manifest(), "/dev/zero")
    model = replace(load_manifest()["comic"], path=Path("/dev/zero"))
    with pytest.raises(ManifestError, match="not a regular file"):
        model.read_verified()
