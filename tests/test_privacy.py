"""Nothing phones home, and nothing is left in the caller's home folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import PHOTO

PROGRAMS = {
    "command": "from photo2cartoon.cli.main import main; main()",
    "models": "import photo2cartoon_models, onnxruntime; onnxruntime.InferenceSession(sys.argv[3])",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_onnx_runtime_keeps_to_itself(name: str, tmp_path: Path) -> None:
    """Its telemetry writes a lasting id below HOME; on a build machine (CI) it keeps still."""
    home = tmp_path / "home"
    home.mkdir()
    model = PHOTO.parents[2] / "models/photo2cartoon_models/weights/face_short.onnx"
    arguments = ["run", str(PHOTO), "-o", str(tmp_path / "cartoon.png")]
    if name == "models":
        arguments = ["-", "-", str(model)]
    quiet = ("CI", "ORT_DISABLE_TELEMETRY", "GITHUB_ACTIONS", "TF_BUILD")
    environment = {key: value for key, value in os.environ.items() if key not in quiet}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}
    program = f"import sys; {PROGRAMS[name]}"
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment, check=True)
    assert sorted(home.rglob("*")) == []
