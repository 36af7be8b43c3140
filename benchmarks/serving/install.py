"""Install each peer into a virtual environment of its own.

python -m benchmarks.serving.install FOLDER [NAME...]

A peer gets its own pins (`peers/NAME.txt`) and, at the service's versions, what the stages import,
both runtimes included: never the service's web packages, whose pins a peer may contradict.
"""

import re
import subprocess
import sys
import venv
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.serving.process import ROOT

PEERS = Path(__file__).parent / "peers"
STAGE_PACKAGES = (
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openvino",
    "pi-heif",
    "pillow",
    "pydantic",
    "pydantic-settings",
)


def main(
    folder: Annotated[Path, typer.Argument(help="Where the environments go.")],
    names: Annotated[list[str] | None, typer.Argument(help="Default: every peer.")] = None,
) -> None:
    """Make one environment a peer."""
    pins = stage_pins()
    for name in names or peer_names():
        print(f"installing {name}", flush=True)
        venv.create(folder / name, with_pip=True, clear=True)
        requirements = ["--requirement", str(PEERS / f"{name}.txt"), *pins]
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run([str(python_of(folder, name)), *install], check=True, stdout=sys.stderr)


def stage_pins() -> list[str]:
    """Return what the stages import, pinned as the service's lock files pin it."""
    files = (ROOT / "requirements" / name for name in ("cpu.txt", "openvino.txt"))
    locked = "\n".join(file.read_text() for file in files)
    pins = re.findall(r"^(\S+)==(\S+)", locked, re.MULTILINE)
    return [f"{name}=={version}" for name, version in pins if name in STAGE_PACKAGES]


def peer_names() -> list[str]:
    """Every peer: a file in `peers` with its requirements beside it."""
    return sorted(path.stem for path in PEERS.glob("*.txt"))


def python_of(folder: Path, name: str) -> Path:
    """The interpreter of a peer's environment."""
    return folder / name / "bin" / "python"


if __name__ == "__main__":
    typer.run(main)
