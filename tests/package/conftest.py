"""The package as others get it: a wheel, in environments and a folder that know no checkout."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.package.environments import BUILT_FROM, PROJECT, Installed, make_environment, pip
from tests.places import ROOT

LOCK = ROOT / "requirements" / "cpu.txt"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tracked files. setuptools writes beside its source, so that is a copy."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", *BUILT_FROM], cwd=ROOT, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with packages of its own called `app` and `models`."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def installed(wheel: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The locked requirements, then the wheel: what the image and `make serve` install."""
    environment = make_environment(tmp_path_factory.mktemp("installed") / "venv")
    pip("install", "--no-compile", "--require-hashes", "-r", LOCK, environment=environment)
    pip("install", "--no-compile", "--no-deps", wheel, environment=environment)
    return Installed(environment, folder)


@pytest.fixture(scope="session")
def without_extras(
    wheel: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """`pip install photo2cartoon` and no more: what the wheel asks for, which is no runtime."""
    work = tmp_path_factory.mktemp("without_extras")
    constraints = work / "constraints.txt"
    constraints.write_text("\n".join(re.findall(r"^\S+==\S+", LOCK.read_text(), re.MULTILINE)))
    environment = make_environment(work / "venv")
    pip("install", "--no-compile", "-c", constraints, wheel, environment=environment)
    return Installed(environment, folder)
