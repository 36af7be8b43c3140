"""A model that answers otherwise than the manifest says does not serve."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon_models.manifest import ManifestError, load_manifest


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
