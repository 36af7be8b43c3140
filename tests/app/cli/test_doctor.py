"""The doctor looks at everything, also where something is broken: that is what it is for."""

import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from photo2cartoon.cli import doctor
from photo2cartoon.cli.doctor import examine
from photo2cartoon.cli.main import commands
from photo2cartoon.ground.machine import MIB, memory_limit, total_memory, who_listens
from photo2cartoon.ground.settings import LITE
from photo2cartoon.runtime import checks as runtime
from photo2cartoon_models.manifest import load_manifest
from tests.packs import write_detector
from tests.places import ROOT
from tests.server import Server


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other server on this machine is the doctor's business here."""
    monkeypatch.setenv("P2C_PORT", "0")


def found() -> str:
    return "\n".join(f"{finding.what}: {finding.remedy}" for finding in examine().findings)


def test_nothing_is_wrong() -> None:
    result = CliRunner().invoke(commands, ["doctor"], terminal_width=100)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Nothing is wrong." in result.stdout
    assert result.stdout.count("\n") <= 40
    for word in (
        "python",
        "onnxruntime 1.",
        "CPUExecutionProvider",
        "would use",
        "openvino",
        "memory",
    ):
        assert word in result.stdout
    assert re.search(r"runs on +OpenVINO 20\d\d\.\S+ (float32|bfloat16)", result.stdout)
    for model in load_manifest().values():
        assert f"{model.sha256[:12]} verified" in result.stdout
    assert "networks load, and answer the self test" in " ".join(result.stdout.split())


def test_it_runs_where_the_rest_cannot_even_be_loaded(tmp_path: Path) -> None:
    """Without ONNX Runtime and OpenCV: every finding in one line, and no traceback."""
    program = (
        "import sys; sys.modules['onnxruntime'] = sys.modules['cv2'] = None\n"
        "from photo2cartoon.__main__ import main; sys.argv[1:] = [{!r}]; main()\n"
    )
    environment = {
        "PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'models'}",
        "P2C_PORT": "0",
        "COLUMNS": "100",
    }
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", program.format("doctor")], **run)  # type: ignore[call-overload]
    assert (done.returncode, done.stderr) == (1, "")
    assert "face_mesh" in done.stdout
    said = done.stdout.split("2 wrong:")[1]
    assert "import of onnxruntime halted" in said
    assert "import of cv2 halted" in said
    assert "install photo2cartoon again" in said
    served = subprocess.run([sys.executable, "-c", program.format("serve")], **run)  # type: ignore[call-overload]
    assert served.returncode == 2
    assert served.stderr.count("\n") == 1
    assert "photo2cartoon doctor" in served.stderr


def test_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_PROT", "80")
    monkeypatch.setenv("P2C_THREADS", "many")
    said = found()
    assert "unknown settings in the environment: P2C_PROT" in said
    monkeypatch.delenv("P2C_PROT")
    assert "P2C_THREADS: Input should be a valid integer" in found()
    monkeypatch.setenv("P2C_THREADS", "4000")
    assert "P2C_THREADS=4000 on" in found()
    assert ("settings", "P2C_PORT=0, P2C_THREADS=4000") in examine().rows


def test_settings_of_a_file_and_variables_that_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'max_queue = 3\napi_keys = "shop:{"0" * 64}"\n')
    monkeypatch.setenv("P2C_CONFIG", str(file))
    monkeypatch.setenv("P2C_URL", "mine")
    rows = dict(examine().rows)
    assert rows["settings"] == f"P2C_PORT=0, {file}: max_queue=3, {file}: api_keys=shop:***"
    assert rows["not settings"] == "P2C_URL: ignored"
    file.write_text("max_queue = ")
    assert f"{file}: this is no TOML" in found()


def test_a_model_that_changed_and_one_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = load_manifest()
    manifest["selfie"] = replace(manifest["selfie"], sha256="0" * 64)
    manifest[LITE] = replace(manifest[LITE], path=tmp_path / "gone.onnx")
    monkeypatch.setattr(doctor, "load_manifest", lambda **_: manifest)
    report = examine()
    what = [finding.what for finding in report.findings]
    assert "selfie.onnx is not the file of the manifest" in what[0]
    assert "cannot read" in what[1]
    assert "gone.onnx" in what[1]
    assert len(what) == 2
    rows = dict(report.rows)
    assert rows["face_mesh"].endswith("verified")
    assert rows["start"].startswith("not tried")


def test_own_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "mine.onnx"
    own.write_bytes(load_manifest()[LITE].path.read_bytes())
    monkeypatch.setenv("P2C_GENERATOR", str(own))
    report = examine()
    assert report.findings == []
    rows = dict(report.rows)
    assert rows["P2C_GENERATOR"].endswith("the manifest does not know it")
    assert rows[LITE].endswith("not used")
    own.unlink()
    assert "generator: cannot read" in found()


def test_a_model_that_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "mine.onnx"
    own.write_bytes(load_manifest()["selfie"].path.read_bytes())
    monkeypatch.setenv("P2C_GENERATOR", str(own))
    assert "the graph has" in found()


def test_the_pack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("P2C_DETECTOR", "insightface")
    monkeypatch.setenv("P2C_INSIGHTFACE_PACK", str(tmp_path))
    assert "no .onnx file" in found()
    write_detector(tmp_path / "det.onnx")
    report = examine()
    assert report.findings == []
    rows = dict(report.rows)
    assert str(tmp_path) in rows["detector"]
    assert "of the pack" in rows["det.onnx"]
    assert rows["landmarks"] == "none in the pack: the embedded mesh"
    assert rows["face_short"].endswith("not used")
    write_detector(tmp_path / "det.onnx", side=640)
    assert "takes 640 px only" in found()


def test_both_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(runtime, "installed_runtimes", lambda: both)
    assert "are both installed" in found()


def test_both_opencvs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "5.0")
    assert "insightface is to be installed with --no-deps" in found()


def test_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_limit", lambda: 300 * MIB)
    assert "MiB of the container's 300 MiB" in found()


def test_a_check_that_fails_keeps_no_other_from_being_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> int:
        raise RuntimeError("no such machine")

    monkeypatch.setattr(doctor, "total_memory", fail)
    report = examine()
    assert [finding.what for finding in report.findings] == [
        "machine: RuntimeError: no such machine"
    ]
    assert "face_mesh" in dict(report.rows)


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        assert who_listens("127.0.0.1", port) is None
    with socket.create_server(("127.0.0.1", 0)) as other:
        said = who_listens("127.0.0.1", other.getsockname()[1])
    assert said is not None
    assert said.startswith("is taken")


def test_the_service_itself_may_hold_its_port(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2C_PORT", server.url.rpartition(":")[2])
    report = examine()
    assert report.findings == []
    assert dict(report.rows)["port"].endswith("is this service's")


@pytest.mark.parametrize(
    ("membership", "limits", "expected"),
    [
        ("", {}, None),
        ("", {"memory/memory.limit_in_bytes": 2**30}, 2**30),
        ("", {"memory/memory.limit_in_bytes": 9223372036854771712}, None),
        ("0::/", {"memory.max": 2**29}, 2**29),
        ("0::/pods/one", {"pods/one/memory.max": "max", "pods/memory.max": 2**29}, 2**29),
        ("4:cpu,memory:/pods/one\n0::/", {"memory/pods/one/memory.limit_in_bytes": 2**28}, 2**28),
        ("4:memory:/docker/1", {"memory/memory.limit_in_bytes": 2**30}, 2**30),
    ],
)
def test_memory_limits(
    membership: str, limits: dict[str, int | str], expected: int | None, tmp_path: Path
) -> None:
    groups = tmp_path / "membership"
    groups.write_text(membership)
    for name, limit in limits.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{limit}\n")
    assert memory_limit(tmp_path, groups) == expected
    assert total_memory() > 2**30


def test_paths_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_GENERATOR", "/models/[red]mine[/red].onnx")
    console = Console(record=True, width=120)
    doctor.show(examine(), console)
    assert "[red]mine[/red].onnx" in console.export_text()
