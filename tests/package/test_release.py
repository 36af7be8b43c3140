"""What `make release-check` refuses, and the wheel that it writes; `make` itself is left out."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.package.environments import BUILT_FROM
from tests.places import ROOT


def git(checkout: Path, *arguments: str) -> None:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")
    subprocess.run(["git", *who, *arguments], cwd=checkout, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose one commit is a release: its entry of the changelog has a date."""
    folder = tmp_path / "checkout"
    command = ["git", "ls-files", "-z", *BUILT_FROM, ".ci", ".gitignore"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    changes = (ROOT / "CHANGELOG.md").read_text()
    (folder / "CHANGELOG.md").write_text(changes.replace("- unreleased", "- 2026-12-01", 1))
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Release")
    return folder


def check(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / ".ci" / "release", sys.executable],
        env={**os.environ, "MAKE": "true", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_no_release_is_refused(checkout: Path) -> None:
    (checkout / "new.py").touch()
    assert check(checkout).stderr == "no release: the working tree has changes\n"
    (checkout / "new.py").unlink()

    assert check(checkout, MAKE="false").returncode == 1  # the wheel's tests fail

    git(checkout, "tag", "v0.1.0")
    assert check(checkout).stderr == "no release: the tag v0.1.0 exists already\n"

    (checkout / "CHANGELOG.md").write_text("## [0.1.0] - unreleased\n")
    git(checkout, "commit", "-qam", "Not yet")
    assert check(checkout).stderr == "no release: CHANGELOG.md has no dated entry for 0.1.0\n"
    assert not (checkout / "dist").exists()


@pytest.mark.parametrize("address", ["", "https://example.org/photo2cartoon/raw/v0.1.0"])
def test_the_description_suits_an_index(checkout: Path, address: str) -> None:
    done = check(checkout, ADDRESS=address)
    assert done.returncode == 0, done.stderr
    assert "comic: Apache-2.0" in done.stdout
    assert "photo2cartoon: Research and demonstration only" in done.stdout
    with ZipFile(checkout / "dist" / "photo2cartoon-0.1.0-py3-none-any.whl") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        description = archive.read(name).decode()
    if address:
        assert f"]({address}/docs/images/astronaut.jpg)" in description
        assert f"]({address}/docs/http.md)" in description
        assert "](https://github.com/minivision-ai/photo2cartoon)" in description
    else:
        assert "![" not in description
