"""A session that would not compute where it was asked to is refused. The sessions are fakes."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest

from photo2cartoon.ground.settings import Settings
from photo2cartoon.runtime import device as device_module
from photo2cartoon.runtime import session as session_module
from photo2cartoon.runtime.checks import StartRefused
from photo2cartoon.runtime.device import CPU, Device, Shapes
from photo2cartoon.runtime.gpu import Gpu
from photo2cartoon.runtime.network import OnnxNetwork
from photo2cartoon.runtime.session import check_placement, count_nodes, open_session
from photo2cartoon_models.manifest import load_manifest

CUDA = Device("cuda")
SELFIE = load_manifest()["selfie"]


class FakeSession:
    """Says where its nodes lie."""

    def __init__(self, providers: list[str], nodes: dict[str, list[str]]) -> None:
        self.providers = providers
        self.nodes = nodes

    def get_providers(self) -> list[str]:
        return self.providers

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(ep_name: str, ops: list[str]) -> Any:
            nodes = [SimpleNamespace(op_type=op) for op in ops]
            return SimpleNamespace(ep_name=ep_name, get_nodes=lambda: nodes)

        return [part(*item) for item in self.nodes.items()]


BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]


def fake(monkeypatch: pytest.MonkeyPatch, session: Any) -> list[Any]:
    """Let ONNX Runtime open `session`, or raise it; returns what it was asked with."""
    asked: list[Any] = []

    def open_fake(content: bytes, options: Any, **how: Any) -> Any:
        asked.append((options, how))
        if isinstance(session, Exception):
            raise session
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", open_fake)
    return asked


def test_a_session_silently_placed_on_the_cpu_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    # What ONNX Runtime does where CUDA's libraries do not load: a warning, then this.
    asked = fake(monkeypatch, FakeSession(["CPUExecutionProvider"], {}))
    with pytest.raises(StartRefused) as caught:
        open_session(b"", "selfie", CUDA)
    assert str(caught.value) == (
        "model selfie: ONNX Runtime put it on CPUExecutionProvider, not on CUDAExecutionProvider: "
        "run photo2cartoon doctor for details, or set P2C_PROVIDER=cpu to do without a GPU"
    )
    assert asked[0][1]["enable_fallback"] == 0  # nor may it start again on the CPU in a run


def test_a_real_session_of_this_cpu_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(SELFIE.read_verified(), "selfie", CPU)
    with pytest.raises(StartRefused, match="put it on CPUExecutionProvider"):
        check_placement(session, "selfie", CUDA)
    monkeypatch.setattr(session, "get_providers", lambda: BOTH)
    with pytest.raises(StartRefused, match="CUDAExecutionProvider got none of its nodes"):
        check_placement(session, "selfie", CUDA)


def test_arithmetic_on_the_cpu_beside_a_gpu_is_caught() -> None:
    nodes = {"CUDAExecutionProvider": ["Conv"] * 50, "CPUExecutionProvider": ["Conv", "Shape"]}
    with pytest.raises(StartRefused, match=r"1 nodes would compute on the CPU \(1 Conv\)"):
        check_placement(FakeSession(BOTH, nodes), "generator", CUDA)


def test_arithmetic_on_shapes_may_stay_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = ["Shape", "Gather", "Unsqueeze", "Concat", "Cast"]
    session = FakeSession(BOTH, {BOTH[0]: ["Conv"] * 50, BOTH[1]: shapes})
    fake(monkeypatch, session)
    assert open_session(b"", "generator", CUDA) is session
    assert count_nodes(session, CUDA) == {BOTH[0]: 50}  # nothing that P2CProviderFallback tells of
    assert count_nodes(session, CPU) == {BOTH[0]: 50, BOTH[1]: 5}


def test_tensorrt_may_leave_nodes_to_cuda_but_not_to_the_cpu() -> None:
    tensorrt = Device("tensorrt")
    chain = ["TensorrtExecutionProvider", *BOTH]
    check_placement(FakeSession(chain, {chain[0]: ["Conv"], chain[1]: ["Pad"]}), "x", tensorrt)
    with pytest.raises(StartRefused, match="1 Pad"):
        check_placement(FakeSession(chain, {chain[0]: ["Conv"], chain[2]: ["Pad"]}), "x", tensorrt)
    with pytest.raises(StartRefused, match="TensorrtExecutionProvider got none"):
        check_placement(FakeSession(chain, {chain[1]: ["Conv"]}), "x", tensorrt)
    with pytest.raises(StartRefused, match="not on TensorrtExecutionProvider"):
        check_placement(FakeSession(BOTH, {}), "x", tensorrt)


def test_what_cuda_says_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, RuntimeError("CUDA failure 100: no CUDA-capable device is detected\nmore"))
    with pytest.raises(StartRefused) as caught:
        open_session(b"", "selfie", CUDA)
    message = str(caught.value)
    assert "no session with CUDAExecutionProvider: CUDA failure 100" in message
    assert "\n" not in message


def test_the_settings_reach_onnx_runtime(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chosen = {
        "P2C_PROVIDER": "tensorrt",
        "P2C_DEVICE_ID": "3",
        "P2C_TF32": "false",
        "P2C_PREFER_NHWC": "true",
        "P2C_CONV_SEARCH": "exhaustive",
        "P2C_CUDA_GRAPHS": "true",
        "P2C_ENGINE_CACHE": str(tmp_path),
    }
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(device_module, "choose_provider", lambda asked, _: (asked, "asked for"))
    (_, tensorrt), (_, cuda) = Device.choose(Settings()).providers("x")
    expected = {"device_id": "3", "trt_cuda_graph_enable": "1"}
    assert expected.items() <= tensorrt.items()
    assert Path(tensorrt["trt_engine_cache_path"]).parent == tmp_path
    expected = {
        "device_id": "3",
        "use_tf32": "0",
        "prefer_nhwc": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
    }
    assert expected.items() <= cuda.items()


def test_a_device_without_settings_is_that_of_the_default_settings() -> None:
    assert Device.choose(Settings(provider="cpu")) == CPU


def test_the_options_reach_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    session = FakeSession(BOTH, {BOTH[0]: ["Conv"]})
    asked = fake(monkeypatch, session)
    chosen = replace(
        CUDA, device_id=1, tf32=False, prefer_nhwc=True, conv_search="exhaustive", cuda_graphs=True
    )
    for device in (CUDA, chosen):
        open_session(b"", "x", device)
    default, other = (how["providers"] for _, how in asked)
    assert [name for name, _ in default] == ["CUDAExecutionProvider"]  # the CPU is not asked for
    expected = {
        "device_id": "0",
        "use_tf32": "1",
        "prefer_nhwc": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "enable_cuda_graph": "0",
    }
    assert expected.items() <= default[0][1].items()
    expected = {
        "device_id": "1",
        "use_tf32": "0",
        "prefer_nhwc": "1",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "enable_cuda_graph": "1",
    }
    assert expected.items() <= other[0][1].items()


def test_engines_are_kept_by_gpu_versions_and_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(device_module, "read_gpu", lambda _: Gpu("L4", "8.9", 0, 0))
    monkeypatch.setattr(session_module, "find_spec", lambda _: None)
    chain = ["TensorrtExecutionProvider", *BOTH]
    asked = fake(monkeypatch, FakeSession(chain, {chain[0]: ["Conv"]}))
    device = Device("tensorrt", engine_cache=tmp_path / "engines")
    open_session(b"", "style-0123", device, Shapes("image", (256, 256, 4), 16, half=True))
    (name, options), (second, _) = asked[0][1]["providers"]
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    folder = Path(options["trt_engine_cache_path"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "engines"
    for part in ("sm8.9", "tensorrtunknown", onnxruntime.__version__, "style-0123"):
        assert part in folder.name
    assert options["trt_profile_min_shapes"] == "image:1x256x256x4"
    assert options["trt_profile_max_shapes"] == "image:16x256x256x4"
    assert options["trt_fp16_enable"] == "1"

    (tmp_path / "file").write_text("")
    device = replace(device, engine_cache=tmp_path / "file")
    with pytest.raises(StartRefused, match="cannot make the folder"):
        open_session(b"", "style-0123", device)


def test_a_device_is_named_with_all_that_changes_its_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device_module, "read_gpu", lambda _: Gpu("L4", "8.9", 0, 0))
    assert CPU.describe() == "CPUExecutionProvider"
    names = {
        CUDA.describe(),
        replace(CUDA, tf32=False).describe(),
        replace(CUDA, prefer_nhwc=True).describe(),
        replace(CUDA, conv_search="default").describe(),
        Device("tensorrt").describe(),
    }
    assert len(names) == 5
    assert "gpu=L4 8.9" in CUDA.describe()
    monkeypatch.setattr(device_module, "read_gpu", lambda _: Gpu("H100", "9.0", 0, 0))
    assert CUDA.describe() not in names


def test_the_embedded_networks_stay_on_the_cpu_when_told_nothing() -> None:
    network = OnnxNetwork(SELFIE)
    assert set(network.nodes) == {"CPUExecutionProvider"}
