"""The committed networks alone: what they promise at their ends, and that they run."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from photo2cartoon_models.manifest import MANIFEST_PATH, load_manifest
from photo2cartoon_models.mediapipe.tflite_to_onnx import PRODUCER
from photo2cartoon_models.mediapipe.wheel import NETWORKS, Network
from photo2cartoon_models.preprocess import GOLDEN_TOLERANCE, probe_input, summarise

WEIGHTS = MANIFEST_PATH.parent / "weights"

IMAGE = ["batch", 3, "height", "width"]
DETECTOR = {"boxes": ["batch", "anchors", 16], "scores": ["batch", "anchors", 1]}
ENDS: dict[str, dict[str, list[Any]]] = {
    "face_short": {"image": IMAGE, **DETECTOR},
    "face_full": {"image": IMAGE, **DETECTOR},
    "face_mesh": {
        "image": ["batch", 3, 192, 192],
        "landmarks": ["batch", 1404],
        "score": ["batch", 1],
    },
    "selfie": {"image": IMAGE, "mask": ["batch", 1, "height", "width"]},
}
# Input sizes that the service uses, with the number of anchors where there are any.
SIZES = [
    ("face_short", 128, 896),
    ("face_short", 256, 3584),
    ("face_full", 192, 2304),
    ("face_full", 384, 9216),
    ("face_mesh", 192, 0),
    ("selfie", 256, 0),
    ("selfie", 320, 0),
]


def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = WEIGHTS / f"{name}.onnx"
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ENDS)
def test_names_and_shapes(name: str) -> None:
    net = session(name)
    ends = [*net.get_inputs(), *net.get_outputs()]
    assert {end.name: end.shape for end in ends} == ENDS[name]
    assert {end.type for end in ends} == {"tensor(float)"}


def test_the_golden_answers_are_these_files() -> None:
    """`python -m photo2cartoon_models.conversion.golden` would write what is there."""
    for model in load_manifest().values():
        net = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
        contract = model.inputs[0]
        probe = probe_input(contract.shape, contract.layout, contract.range)
        outputs = net.run([output.name for output in model.outputs], {contract.name: probe})
        assert model.golden is not None
        for contract, output, golden in zip(model.outputs, outputs, model.golden, strict=True):
            assert golden is not None
            low, high = contract.range
            off = np.abs(summarise(output) - golden).max() / (high - low)
            assert off < GOLDEN_TOLERANCE / 10, model.name
            assert np.ptp(golden) > 0 or len(golden) == 1, model.name  # it says something


@pytest.mark.parametrize(("name", "size", "anchors"), SIZES)
def test_runs_at_every_size_and_batch(name: str, size: int, anchors: int) -> None:
    net = session(name)
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, size, size)).astype(np.float32)
    free = {"batch": 2, "height": size, "width": size, "anchors": anchors}
    together = net.run(None, {"image": image})
    alone = net.run(None, {"image": image[1:]})
    for end, pair, single in zip(net.get_outputs(), together, alone, strict=True):
        assert pair.shape == tuple(free.get(dim, dim) for dim in end.shape)
        assert np.isfinite(pair).all()
        np.testing.assert_allclose(pair[1:], single, rtol=1e-4, atol=1e-3)


def test_mask_is_a_probability() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32).repeat(32, 2).repeat(32, 3)
    (mask,) = session("selfie").run(None, {"image": image})
    assert mask.min() >= 0
    assert 0.1 < mask.max() <= 1


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_files_say_where_they_come_from(network: Network) -> None:
    model = onnx.load(WEIGHTS / f"{network.name}.onnx")
    metadata = {p.key: p.value for p in model.metadata_props}
    assert metadata["licence"] == "Apache-2.0"
    assert metadata["source"].endswith(network.member)
    assert metadata["source_sha256"] == network.sha256


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_the_converter_signs_as_it_did(network: Network) -> None:
    """`make verify-models` compares whole files: a module may move, its old name stays in them."""
    assert onnx.load(WEIGHTS / f"{network.name}.onnx").producer_name == PRODUCER
