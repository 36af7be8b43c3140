"""What is in the wheel, and what is not."""

import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

from photo2cartoon_models.manifest import load_manifest
from tests.places import ROOT

LARGEST = 30_000_000  # bytes; the models are 31 MB before they are packed


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_is_as_large_as_its_models(
    wheel: Path, names: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    size = wheel.stat().st_size
    with capsys.disabled():
        print(f"\n{wheel.name}: {size / 1e6:.1f} MB, {len(names)} files")  # noqa: T201
    assert size <= LARGEST


def test_it_brings_two_packages_and_its_metadata(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    (metadata,) = {top for top in tops if top.endswith(".dist-info")}
    assert tops == {"photo2cartoon", "photo2cartoon_models", metadata}
    assert {f"{metadata}/licenses/{name}" for name in ("LICENSE", "NOTICE")} <= names


def test_it_holds_every_tracked_file_of_the_packages_and_no_other(names: set[str]) -> None:
    packages = ("app/photo2cartoon", "models/photo2cartoon_models")
    command = ["git", "ls-files", *packages]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {line.partition("/")[2] for line in listed.splitlines()}
    assert expected
    assert {name for name in names if ".dist-info/" not in name} == expected


def test_it_holds_what_is_read_as_data(names: set[str]) -> None:
    models = {model.path.name for model in load_manifest().values()}
    files = {f"weights/{name}" for name in models} | {"manifest.json", "evaluation/report.html"}
    files |= {f"configs/{path.name}" for path in ROOT.glob("models/*/configs/*.yaml")}
    assert len(files) >= 11
    assert {f"photo2cartoon_models/{name}" for name in files} <= names
    assert {"photo2cartoon/cli/compare.html", "photo2cartoon/py.typed"} <= names
    assert "photo2cartoon_models/py.typed" in names


def test_it_holds_no_tests_and_no_papers(names: set[str]) -> None:
    assert [name for name in names if "test" in name.lower() or name.endswith(".md")] == []
