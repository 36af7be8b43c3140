"""dlib's network read from a package of face-api's form with random weights."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from photo2cartoon_models.conversion.export import face_like
from photo2cartoon_models.readers.weights_error import WeightsError
from photo2cartoon_models.training.face_id import (
    BLOCKS,
    CHIP,
    CHIP_REGION,
    LENGTH,
    MANIFEST,
    face_chip,
    load_face_id,
)

LAYERS = [("conv32_down", (7, 7, 3, 32))]
for _name, _inputs, _outputs, _ in BLOCKS:
    LAYERS.append((f"{_name}/conv1", (3, 3, _inputs, _outputs)))
    LAYERS.append((f"{_name}/conv2", (3, 3, _outputs, _outputs)))


def _entries() -> list[dict[str, Any]]:
    """As in face-api's manifest: everything rounded to 8 bits."""
    shapes: dict[str, tuple[int, ...]] = {}
    spans = {}
    for name, filters in LAYERS:
        for part, shape, span in (
            ("conv/filters", filters, 1.7 / np.sqrt(np.prod(filters[:3]))),
            ("conv/bias", filters[3:], 0.1),
            ("scale/weights", filters[3:], 0.5),
            ("scale/biases", filters[3:], 0.1),
        ):
            shapes[f"{name}/{part}"] = shape
            spans[f"{name}/{part}"] = span
    shapes["fc"], spans["fc"] = (256, LENGTH), 0.1
    return [
        {"name": name, "shape": list(shape), "dtype": "float32", "quantization": {
            "dtype": "uint8", "scale": 2 * spans[name] / 255,
            "min": -spans[name] + float(name.endswith("scale/weights"))}}
        for name, shape in shapes.items()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _pack(tmp_path_factory.mktemp("npm"), _entries())


def _pack(folder: Path, entries: list[dict[str, Any]]) -> Path:
    size = sum(int(np.prod(entry["shape"])) for entry in entries)
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    (folder / "face_recognition_model.bin").write_bytes(content.tobytes())
    groups = [{"weights": entries, "paths": ["face_recognition_model.bin"]}]
    (folder / MANIFEST).write_text(json.dumps(groups))
    path = folder / "vladmandic-face-api-1.7.15.tgz"
    with tarfile.open(path, "w:gz", compresslevel=0) as archive:
        for name in (MANIFEST, "face_recognition_model.bin"):
            archive.add(folder / name, f"package/model/{name}")
    return path


def _as_face_api_runs_it(weights: dict[str, Tensor], chip: Tensor) -> Tensor:
    """The network layer by layer as its author wrote it: nothing folded, mean in pixels."""

    def layer(value: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        filters = weights[f"{name}/conv/filters"].permute(3, 2, 0, 1)
        value = functional.conv2d(value, filters, None, stride, padding)
        for sign, part in (("+", "conv/bias"), ("*", "scale/weights"), ("+", "scale/biases")):
            other = weights[f"{name}/{part}"].view(1, -1, 1, 1)
            value = value + other if sign == "+" else value * other
        return value

    mean = torch.tensor([122.782, 117.001, 104.298]).view(1, 3, 1, 1)
    value = ((chip + 1) / 2 * 255 - mean) / 256
    value = functional.max_pool2d(layer(value, "conv32_down", 2, 0).relu(), 3, 2)
    for name, _, _, down in BLOCKS:
        changed = layer(value, f"{name}/conv1", 2 if down else 1, 0 if down else 1).relu()
        changed = layer(changed, f"{name}/conv2")
        if down:
            value = functional.avg_pool2d(value, 2, 2)
            more = torch.zeros(len(value), changed.shape[1] - value.shape[1], *value.shape[2:])
            value = torch.cat([value, more], 1)
            larger = torch.zeros_like(value)
            larger[:, :, : changed.shape[2], : changed.shape[3]] = changed
            changed = larger
        value = (value + changed).relu()
    return value.mean((2, 3)) @ weights["fc"]


@torch.no_grad()
def test_same_answer_as_the_network_written_out(package: Path) -> None:
    content = np.frombuffer((package.parent / "face_recognition_model.bin").read_bytes(), np.uint8)
    weights, start = {}, 0
    for entry in _entries():
        rounded, size = entry["quantization"], int(np.prod(entry["shape"]))
        values = content[start : start + size] * rounded["scale"] + rounded["min"]
        weights[entry["name"]] = torch.tensor(values.reshape(entry["shape"]), dtype=torch.float32)
        start += size
    chip = torch.from_numpy(face_like(2, CHIP))
    vectors = load_face_id(package).embed(chip)
    expected = _as_face_api_runs_it(weights, chip)
    assert vectors.shape == (2, LENGTH)
    assert float(expected.abs().mean()) > 1e-3
    torch.testing.assert_close(
        vectors, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
    )


def test_29_convolutions_and_nothing_to_train(package: Path) -> None:
    net = load_face_id(package)
    assert sum(isinstance(module, torch.nn.Conv2d) for module in net.modules()) == 29
    assert not any(weight.requires_grad for weight in net.parameters())
    assert not net.training


def test_gradient_lies_in_the_face(package: Path) -> None:
    portrait = torch.from_numpy(face_like(1, 256)).requires_grad_()
    load_face_id(package)(portrait).square().sum().backward()
    assert portrait.grad is not None
    seen = portrait.grad.abs().sum((0, 1)) > 0
    x, y, side = (part * 256 for part in CHIP_REGION)
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    for places, centre in ((rows, y), (columns, x)):
        assert abs(float(places.min()) - (centre - side / 2)) < 6
        assert abs(float(places.max()) - (centre + side / 2)) < 6


@pytest.mark.parametrize("size", [128, 160, 256, 512])
def test_chip_of_any_portrait_size(size: int) -> None:
    ramp = torch.linspace(-1, 1, size).expand(1, 3, size, size)
    chip = face_chip(ramp)
    assert chip.shape == (1, 3, CHIP, CHIP)
    x, _, side = CHIP_REGION
    assert abs(float(chip.mean()) - (2 * x - 1)) < 0.02
    assert abs(float(chip[..., -1].mean() - chip[..., 0].mean()) - 2 * side) < 0.05


def test_half_precision_pictures_are_read(package: Path) -> None:
    portrait = torch.from_numpy(face_like(1, 128))
    net = load_face_id(package)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = net(portrait.bfloat16()).float()
        exact = net(portrait)
    assert float((rough - exact).norm() / exact.norm()) < 0.2


def test_the_manifest_itself_will_do(package: Path) -> None:
    unpacked, packed = load_face_id(package.parent / MANIFEST), load_face_id(package)
    torch.testing.assert_close(unpacked.state_dict(), packed.state_dict(), rtol=0, atol=0)


def test_another_network_is_refused(tmp_path: Path) -> None:
    entries = _entries()
    with pytest.raises(WeightsError, match="it has no fc"):
        load_face_id(_pack(tmp_path, entries[:-1]))
    with pytest.raises(WeightsError, match="not dlib's face recognition network"):
        load_face_id(_pack(tmp_path, [*entries[:-1], {**entries[-1], "shape": [128, 256]}]))
