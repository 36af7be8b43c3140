"""The mean of two generators draws between them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from photo2cartoon_models.conversion.average import main
from photo2cartoon_models.manifest import load_manifest
from photo2cartoon_models.preprocess import probe_input

LITE, COMIC = (load_manifest()[name] for name in ("photo2cartoon-lite", "comic"))


@pytest.fixture(scope="module")
def darker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light network, whose last convolution weighs half of what it weighs."""
    model = onnx.load(LITE.path)
    last = [one for one in model.graph.initializer if len(one.dims) == 4][-1]
    halved = onnx.numpy_helper.to_array(last) / 2
    last.CopyFrom(onnx.numpy_helper.from_array(halved.astype(np.float32), last.name))
    path = tmp_path_factory.mktemp("models") / "darker.onnx"
    onnx.save(model, path)
    return path


def weights(path: Path) -> dict[str, NDArray[Any]]:
    return {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_every_weight_lies_between_both(darker: Path, tmp_path: Path, share: float) -> None:
    out = tmp_path / "mean.onnx"
    assert main([str(LITE.path), str(darker), str(out), "--share", str(share)]) == 0
    first, second, mean = (weights(path) for path in (LITE.path, darker, out))
    for name, found in mean.items():
        expected = (1 - share) * first[name] + share * second[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    port = LITE.inputs[0]
    feed = {port.name: probe_input(port.shape, port.layout, port.range)}
    (drawn,) = onnxruntime.InferenceSession(out).run(None, feed)
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize(
    ("second", "more"), [(COMIC.path, []), (LITE.path, ["--share", "2"]), (Path("no.onnx"), [])]
)
def test_what_cannot_be_averaged_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: Path, more: list[str]
) -> None:
    out = tmp_path / "mean.onnx"
    assert main([str(LITE.path), str(second), str(out), *more]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not out.exists()
