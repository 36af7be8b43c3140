"""The second runtime answers like the first, from any thread, in the precision asked for."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.opening import open_pipeline
from photo2cartoon.runtime import openvino as room
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon.runtime.device import CPU, Device
from photo2cartoon.runtime.network import OnnxNetwork, open_network
from photo2cartoon.runtime.openvino import OpenVinoNetwork
from photo2cartoon_models.manifest import ManifestError, Model, find_generator, load_manifest
from tests.networks import write_generator

MANIFEST = load_manifest()
OPENVINO = Device("openvino", streams=2)
GREY = 1 / 127.5  # one grey level on -1..1


@pytest.fixture(scope="module")
def lite() -> OpenVinoNetwork:
    return OpenVinoNetwork(MANIFEST["photo2cartoon-lite"], OPENVINO)


@pytest.fixture
def small(tmp_path: Path) -> Model:
    """A generator of one convolution."""
    return find_generator(MANIFEST, write_generator(tmp_path / "small.onnx"))


@pytest.mark.parametrize("name", ["face_mesh", "photo2cartoon-lite"])
def test_it_answers_like_onnx_runtime(name: str) -> None:
    first, second = OnnxNetwork(MANIFEST[name]), OpenVinoNetwork(MANIFEST[name], OPENVINO)
    second.warm_up()
    assert second.nodes["OpenVINO"] > 10
    for one, other in zip(first.run(first.probe()), second.run(second.probe()), strict=True):
        assert (other.shape, other.dtype) == (one.shape, one.dtype)
        assert np.abs(one - other).max() < GREY


def test_only_what_gains_runs_on_it() -> None:
    kinds = {model.role: type(open_network(model, OPENVINO)) for model in MANIFEST.values()}
    assert kinds == {
        "detector": OnnxNetwork,
        "matte": OnnxNetwork,
        "landmarks": OpenVinoNetwork,
        "generator": OpenVinoNetwork,
    }
    assert {type(open_network(model)) for model in MANIFEST.values()} == {OnnxNetwork}


def test_batches_of_any_size_run(small: Model) -> None:
    network, reference = OpenVinoNetwork(small, OPENVINO), OnnxNetwork(small)
    rng = np.random.default_rng(0)
    for size in (1, 3, 1, 2):
        batch = rng.random((size, 3, 256, 256), np.float32)[:, :, :, ::-1]  # as it lies in memory
        (found,), (expected,) = network.run(batch), reference.run(batch)
        np.testing.assert_allclose(found, expected, atol=GREY / 10)


def test_pictures_of_any_size_run(tmp_path: Path) -> None:
    shape: list[str | int | None] = ["N", 3, "H", "W"]
    node = helper.make_node("Tanh", ["input"], ["output"])
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("input", "output")
    ]
    graph = helper.make_graph([node], "free", [ends[0]], [ends[1]])
    path = tmp_path / "free.onnx"
    imports = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    sizes = ("N", 3, "H", "W")
    entry = find_generator(MANIFEST, write_generator(tmp_path / "fixed.onnx"))
    (source,), (target,) = entry.inputs, entry.outputs
    content = path.read_bytes()
    model = replace(
        entry,
        path=path,
        size_bytes=len(content),
        sha256=digest_of(content),
        inputs=(replace(source, shape=sizes),),
        outputs=(replace(target, shape=sizes),),
    )
    network = OpenVinoNetwork(model, OPENVINO)
    for sides in ((1, 3, 64, 48), (2, 3, 16, 2048), (1, 3, 256, 256)):
        batch = np.random.default_rng(0).random(sides, np.float32)
        np.testing.assert_allclose(network.run(batch)[0], np.tanh(batch), atol=GREY / 10)


def digest_of(content: bytes) -> str:

    return hashlib.sha256(content).hexdigest()


def test_any_thread_gets_its_own_answer_and_may_keep_it(small: Model) -> None:
    network = OpenVinoNetwork(small, OPENVINO)
    rng = np.random.default_rng(0)
    batches = [rng.random((1, 3, 256, 256), np.float32) for _ in range(12)]
    alone = [network.run(batch)[0] for batch in batches]
    together = threading.Barrier(6)

    def run(batch: np.ndarray[Any, np.dtype[np.float32]]) -> Any:
        together.wait(30)
        return network.run(batch)[0]

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(run, batches))
    for one, other in zip(alone, found, strict=True):
        np.testing.assert_array_equal(one, other)


class Recorder:
    """OpenVINO, and what it was asked to compile with; a precision of its own, if it is to lie."""

    def __init__(self, precision: str | None = None) -> None:
        self.real = room.core()
        self.precision = precision
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def compile_model(self, graph: Any, where: str, options: dict[str, Any]) -> Any:
        self.asked.append(dict(options))
        compiled = self.real.compile_model(
            graph, where, options | {"INFERENCE_PRECISION_HINT": "f32"}
        )
        claimed = self.precision or options["INFERENCE_PRECISION_HINT"]
        kind = SimpleNamespace(get_type_name=lambda: claimed)
        return SimpleNamespace(
            get_property=lambda _: kind,
            get_runtime_model=compiled.get_runtime_model,
            create_infer_request=compiled.create_infer_request,
        )


Record = Callable[..., Recorder]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    def make(precision: str | None = None) -> Recorder:
        recorder = Recorder(precision)
        monkeypatch.setattr(room, "core", lambda: recorder)
        return recorder

    return make


def test_only_generators_compute_in_bfloat16(record: Record, small: Model) -> None:
    recorder = record()
    half = replace(OPENVINO, precision="bfloat16", streams=3)
    networks = [OpenVinoNetwork(model, half) for model in (MANIFEST["face_mesh"], small)]
    assert [network.precision for network in networks] == ["float32", "bfloat16"]
    hints = [options["INFERENCE_PRECISION_HINT"] for options in recorder.asked]
    assert hints == 3 * ["f32"] + 3 * ["bf16"]  # a stream, a graph
    for options in recorder.asked:  # each on its caller's thread, on whatever core is free
        assert (options["NUM_STREAMS"], options["INFERENCE_NUM_THREADS"]) == (0, 1)
        assert options["ENABLE_CPU_PINNING"] is False


def test_a_precision_that_openvino_does_not_take_is_refused(record: Record, small: Model) -> None:
    record("f32")
    with pytest.raises(StartRefused, match="would compute in f32, not in bfloat16") as caught:
        OpenVinoNetwork(small, replace(OPENVINO, precision="bfloat16"))
    assert "\n" not in str(caught.value)


def test_a_file_that_breaks_its_contract_is_refused(small: Model) -> None:
    (target,) = small.outputs
    with pytest.raises(ManifestError, match="the graph has"):
        OpenVinoNetwork(replace(small, outputs=(replace(target, name="cartoon"),)), OPENVINO)


def test_an_operator_that_openvino_lacks_is_told_in_one_line(small: Model, tmp_path: Path) -> None:
    graph = onnx.load(small.path)
    graph.graph.node[0].op_type, graph.graph.node[0].domain = "Draw", "elsewhere"
    graph.opset_import.append(helper.make_opsetid("elsewhere", 1))
    content = graph.SerializeToString()
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    odd = replace(small, path=path, sha256=digest_of(content), size_bytes=len(content))
    with pytest.raises(StartRefused, match="model small: OpenVINO: ") as caught:
        OpenVinoNetwork(odd, OPENVINO)
    assert "\n" not in str(caught.value)
    assert "P2C_PROVIDER=cpu" in str(caught.value)


def bfloat16(monkeypatch: pytest.MonkeyPatch, *, native: bool) -> None:
    monkeypatch.setattr(room, "has_bfloat16", lambda: native)


def test_the_processor_decides_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    for native in (False, True):
        bfloat16(monkeypatch, native=native)
        auto = Device.choose(Settings(provider="openvino", threads=3))
        assert (auto.precision, auto.streams) == ("bfloat16" if native else "float32", 3)
        plain = Device.choose(Settings(provider="openvino", cpu_precision="float32"))
        assert plain.precision == "float32"
    assert auto.describe() != plain.describe() != CPU.describe()  # ETags know it
    asked = Settings(provider="openvino", cpu_precision="bfloat16")
    assert Device.choose(asked).precision == "bfloat16"
    bfloat16(monkeypatch, native=False)
    with pytest.raises(StartRefused, match="this processor has no bfloat16") as caught:
        Device.choose(asked)
    assert "\n" not in str(caught.value)
    with pytest.raises(StartRefused, match="ONNX Runtime does without"):
        Device.choose(Settings(provider="cpu", cpu_precision="bfloat16"))


def test_the_capability_is_asked_of_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in (["FP32", "BF16"], ["FP32", "INT8"]):
        fake = SimpleNamespace(get_property=lambda *_, names=names: names)
        monkeypatch.setattr(room, "core", lambda fake=fake: fake)
        assert room.has_bfloat16() == ("BF16" in names)


def test_auto_does_without_what_fails_its_self_test(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, small: Model, record: Record
) -> None:
    record()
    bfloat16(monkeypatch, native=True)
    tried: list[str] = []

    def fail(network: OpenVinoNetwork) -> None:
        tried.append(network.precision)
        raise ManifestError("3.1 grey levels off the manifest's")

    monkeypatch.setattr(OpenVinoNetwork, "warm_up", fail)
    caplog.set_level("INFO")
    settings = Settings(generator=small.path, styles=(), threads=1)
    pipeline = open_pipeline(settings)
    assert pipeline.device.provider == "cpu"
    assert {type(network) for network in pipeline.networks} == {OnnxNetwork}
    records = [vars(each)["fields"] for each in caplog.records if each.message == "device"]
    assert [(each["provider"], each["precision"]) for each in records] == [
        ("openvino", "bfloat16"),
        ("openvino", "float32"),
        ("cpu", "float32"),
    ]
    assert "3.1 grey levels off" in records[-1]["why"]
    with pytest.raises(ManifestError, match="grey levels off"):  # asked for by name: or not at all
        open_pipeline(settings.model_copy(update={"provider": "openvino"}))
    with pytest.raises(ManifestError, match="grey levels off"):
        open_pipeline(settings.model_copy(update={"cpu_precision": "bfloat16"}))
