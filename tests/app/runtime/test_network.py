"""A model whose answer differs from the manifest's does not serve."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from photo2cartoon.runtime import network as network_module
from photo2cartoon.runtime.device import CPU, Device, Shapes
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon.runtime.session import open_session
from photo2cartoon_models.manifest import ManifestError, Precision, load_manifest


@pytest.fixture
def network() -> OnnxNetwork:
    return OnnxNetwork(load_manifest()["selfie"])


def test_the_embedded_models_pass_their_self_test() -> None:
    for model in load_manifest().values():
        OnnxNetwork(model).warm_up()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda output: output * np.nan, "not finite"),
        (lambda output: np.zeros_like(output), "flat"),
        (lambda output: output + np.float32(0.1), "grey levels off"),
    ],
)
def test_a_wrong_answer_stops_the_start(
    network: OnnxNetwork, monkeypatch: pytest.MonkeyPatch, change: Any, message: str
) -> None:
    (good,) = network.run(network.probe())
    monkeypatch.setattr(network, "run", lambda _: [change(good)])
    with pytest.raises(ManifestError, match=message):
        network.warm_up()


def test_a_kernels_rounding_does_not(network: OnnxNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    (good,) = network.run(network.probe())
    monkeypatch.setattr(network, "run", lambda _: [good + np.float32(0.001)])
    network.warm_up()


def test_an_operators_model_has_no_golden_answer(network: OnnxNetwork) -> None:
    network.model = replace(network.model, golden=None)
    network.warm_up()


@pytest.mark.parametrize(("precision", "fp16"), [("float32", "0"), ("float16", "1")])
def test_tensorrt_computes_in_the_precision_of_the_entry(
    monkeypatch: pytest.MonkeyPatch, precision: Precision, fp16: str
) -> None:
    asked: list[dict[str, str]] = []

    def open_on_cpu(
        content: bytes, name: str, device: Device, shapes: Shapes, **how: bool
    ) -> onnxruntime.InferenceSession:
        asked.append(device.providers(name, shapes)[0][1])
        return open_session(content, name, CPU, shapes, **how)

    monkeypatch.setattr(network_module, "open_session", open_on_cpu)
    model = replace(load_manifest()["face_mesh"], precision=precision)
    OnnxNetwork(model, Device("tensorrt"))
    assert [options["trt_fp16_enable"] for options in asked] == [fp16]
