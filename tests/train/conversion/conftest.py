"""One export for all tests and processes that want the same one: each takes some minutes."""

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping

import onnx
import pytest
from torch import Tensor, nn

from photo2cartoon_models.conversion import convert as conversion
from photo2cartoon_models.conversion.export import export_onnx


@pytest.fixture(scope="session", autouse=True)
def exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the exporter made of a network and an example; other processes wait for it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # the run's

    def export(
        net: nn.Module, example: Tensor, names: tuple[str, str], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        path = folder / f"{name_of(net, example, names)}.onnx"
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                onnx.save(export_onnx(net, example, names, {}), path)
        model = onnx.load(path)
        onnx.helper.set_model_props(model, dict(sorted(metadata.items())))
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "export_onnx", export)
        yield


def name_of(net: nn.Module, example: Tensor, names: tuple[str, str]) -> str:
    """Return a digest of all that decides what the exporter makes."""
    digest = hashlib.sha256(f"{net}{example.shape}{example.dtype}{names}".encode())
    for name, value in net.state_dict().items():
        digest.update(name.encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()
