"""What is wrong with a machine is said in one line, from facts that the tests make up."""

import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from photo2cartoon.runtime import checks as runtime
from photo2cartoon.runtime import gpu
from photo2cartoon.runtime.checks import Finding, StartRefused, choose_provider, find_problems

GPU_WHEEL = {"onnxruntime-gpu": "1.31.1"}
CUDA = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class Nvml:
    """The part of `pynvml` that is asked."""

    class NVMLError(Exception):
        pass

    def __init__(self, driver: str = "580.65.06", gpus: int = 1) -> None:
        self.driver = driver
        self.gpus = gpus

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise self.NVMLError

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self.driver

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index >= self.gpus:
            raise self.NVMLError
        return f"index {index}"

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return f"uuid {uuid}"

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return f"GPU at {handle}"

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:  # noqa: N802
        return 8, 9

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        return SimpleNamespace(used=3 << 30, total=24 << 30)


Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make up a machine; by default one on which everything is right."""

    def make(
        packages: dict[str, str] = GPU_WHEEL,
        providers: list[str] = CUDA,
        driver: str = "580.65.06",
        gpus: int = 1,
        failed: str = "",
    ) -> None:
        def version(package: str) -> str:
            if package not in packages:
                raise PackageNotFoundError
            return packages[package]

        monkeypatch.setattr(runtime, "version", version)
        monkeypatch.setattr(runtime, "available_providers", lambda: providers)
        monkeypatch.setattr(runtime, "preload_libraries", lambda: failed)
        monkeypatch.setitem(sys.modules, "pynvml", Nvml(driver, gpus))
        monkeypatch.setattr(gpu, "DRIVER_FILE", Path("nowhere"))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return make


def refusal(asked: str, device_id: int = 0) -> str:
    with pytest.raises(StartRefused) as caught:
        choose_provider(asked, device_id)
    message = str(caught.value)
    assert "\n" not in message
    assert message == f"{caught.value.finding.what}: {caught.value.finding.remedy}"
    return message


def test_a_good_machine_has_no_problems_and_auto_takes_its_gpu(machine: Machine) -> None:
    machine()
    assert find_problems("cuda") == []
    assert choose_provider("auto")[0] == "cuda"
    assert choose_provider("cuda") == ("cuda", "asked for")
    assert choose_provider("cpu") == ("cpu", "asked for")


@pytest.mark.parametrize("asked", ["auto", "cpu", "cuda", "tensorrt"])
def test_two_runtimes_are_refused_whatever_is_asked_for(machine: Machine, asked: str) -> None:
    machine(packages={"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"})
    message = refusal(asked)
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1 are both installed" in message
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message


def test_no_runtime_is_a_finding(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(packages={})
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    assert find_problems("cpu")[0].what == "ONNX Runtime is not installed"


@pytest.mark.parametrize(
    ("facts", "what", "remedy"),
    [
        (
            {"packages": {"onnxruntime": "1.31.1"}, "providers": ["CPUExecutionProvider"]},
            "onnxruntime 1.31.1 has no CUDAExecutionProvider",
            "photo2cartoon[gpu]",
        ),
        ({"driver": ""}, "no NVIDIA driver answers", "R580 or newer"),
        ({"driver": "535.104.05"}, "driver 535.104.05 is too old for CUDA 13", "R580"),
        ({"gpus": 0}, "there is no NVIDIA GPU", "give the machine"),
        ({"failed": "libcublas.so.13"}, "do not load: libcublas.so.13", "photo2cartoon[gpu]"),
    ],
)
def test_each_thing_that_is_missing_has_its_remedy(
    machine: Machine, facts: dict[str, Any], what: str, remedy: str
) -> None:
    machine(**facts)
    message = refusal("cuda")
    assert what in message
    assert remedy in message
    assert message.endswith("or set P2C_PROVIDER=cpu")
    provider, why = choose_provider("auto")  # does without, and says why
    assert provider == "cpu"
    assert what in why


def test_without_a_gpu_auto_takes_openvino_where_it_is_installed(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_only = {"onnxruntime": "1.31.1"}
    machine(cpu_only, ["CPUExecutionProvider"])
    assert choose_provider("auto") == (
        "cpu",
        "onnxruntime 1.31.1 has no CUDAExecutionProvider; OpenVINO is not installed",
    )
    assert "pip install 'photo2cartoon[openvino]', or set P2C_PROVIDER=cpu" in refusal("openvino")
    machine(cpu_only | {"openvino": "2026.4.1"}, ["CPUExecutionProvider"])
    provider, why = choose_provider("auto")
    assert provider == "openvino"
    assert why.endswith("; OpenVINO 2026.4.1 is installed")
    assert choose_provider("openvino") == ("openvino", "asked for")
    monkeypatch.setitem(sys.modules, "openvino", None)  # importing it fails
    assert "OpenVINO does not load: " in refusal("openvino")
    assert choose_provider("auto")[0] == "cpu"


def test_a_gpu_that_is_not_there_is_named(machine: Machine) -> None:
    machine(gpus=2)
    assert find_problems("cuda", 1) == []
    assert "P2C_DEVICE_ID=2 names a GPU that does not exist: 2 found" in refusal("cuda", 2)


def test_tensorrt_needs_tensorrt(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine()
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    monkeypatch.setattr(runtime, "find_library", lambda _: None)
    assert "pip install tensorrt-cu13" in refusal("tensorrt")
    monkeypatch.setattr(runtime, "find_library", lambda _: "libnvinfer.so.10")
    assert choose_provider("tensorrt")[0] == "tensorrt"


def test_the_driver_is_read_without_nvml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it fails
    file = tmp_path / "version"
    monkeypatch.setattr(gpu, "DRIVER_FILE", file)
    assert runtime.driver_version() is None
    for module, version in (
        ("x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("Open Kernel Module for x86_64  580.65.06  Release Build", "580.65.06"),
    ):
        compiler = "GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1)"
        file.write_text(f"NVRM version: NVIDIA UNIX {module}\n{compiler}\n")
        assert runtime.driver_version() == version
    assert gpu.count_gpus() is None
    assert gpu.read_gpu(0) is None


def test_a_gpu_is_described_and_counted_as_cuda_does(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(gpus=4)
    assert gpu.read_gpu(1) == gpu.Gpu("GPU at index 1", "8.9", 3 << 30, 24 << 30)
    assert gpu.read_gpu(4) is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-abc")
    assert gpu.count_gpus() == 2
    names = [found.name for found in map(gpu.read_gpu, (0, 1)) if found]
    assert names == ["GPU at index 2", "GPU at uuid GPU-abc"]
    assert gpu.read_gpu(2) is None


def test_what_onnx_runtime_cannot_load_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def preload_dlls() -> None:  # prints as ONNX Runtime 1.31.1 does
        for name in ("libcublasLt.so.13", "libcublas.so.13"):
            sys.stdout.write(f"Failed to load {name}: {name}: cannot open shared object file\n")
        sys.stdout.write("Please follow https://onnxruntime.ai/docs/install/ to install CUDA.\n")

    monkeypatch.setattr("onnxruntime.preload_dlls", preload_dlls)
    assert runtime.preload_libraries.__wrapped__() == "libcublasLt.so.13, libcublas.so.13"
    assert capsys.readouterr().out == ""


def test_this_installation_has_one_runtime() -> None:
    assert len(runtime.installed_runtimes()) == 1
    assert find_problems("cpu") == []
    assert runtime.preload_libraries() == ""
    assert "CPUExecutionProvider" in runtime.available_providers()


def test_a_problem_reads_as_a_sentence_and_its_remedy() -> None:
    assert str(StartRefused(Finding("it rains", "take an umbrella"))) == (
        "it rains: take an umbrella"
    )
