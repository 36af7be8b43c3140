"""Nothing phones home, and nothing is left in the caller's home folder."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import openvino
import pytest

from tests.places import PHOTO

COMMAND = "from photo2cartoon.cli.main import main; main()"
PROGRAMS = {
    "cpu": COMMAND,
    "openvino": COMMAND,
    "models": "import photo2cartoon_models, onnxruntime; onnxruntime.InferenceSession(sys.argv[3])",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_runtimes_keep_to_themselves(name: str, tmp_path: Path) -> None:
    """ONNX Runtime's writes a lasting id below HOME; on a build machine (CI) it keeps still."""
    home = tmp_path / "home"
    home.mkdir()
    model = PHOTO.parents[2] / "models/photo2cartoon_models/weights/face_short.onnx"
    arguments = ["run", str(PHOTO), "-o", str(tmp_path / "cartoon.png")]
    if name == "models":
        arguments = ["-", "-", str(model)]
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "GITHUB_ACTIONS", "TF_BUILD")
    environment = {key: value for key, value in os.environ.items() if key not in quiet}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    environment |= {"P2C_PROVIDER": "openvino" if name == "openvino" else "cpu"}
    program = f"import sys; {PROGRAMS[name]}"
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment, check=True)
    assert sorted(home.rglob("*")) == []


def test_openvino_cannot_look_up_a_name() -> None:
    """No library of it names a resolver; its telemetry is a package that is not installed."""
    (folder,) = map(Path, openvino.__path__)
    libraries = [
        path for path in folder.rglob("*") if ".so" in path.suffixes or ".so." in path.name
    ]
    assert len(libraries) > 5
    for path in libraries:
        found = re.search(rb"getaddrinfo|gethostbyname|libcurl", path.read_bytes())
        assert found is None, path
    assert find_spec("openvino_telemetry") is None
