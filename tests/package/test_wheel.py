"""What is in the wheel, and what is not."""

import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.metadata import Metadata

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


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: set[str]) -> Metadata:
    """What an index reads. Reading it checks every field as an index does."""
    (name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with ZipFile(wheel) as archive:
        return Metadata.from_email(archive.read(name), validate=True)


def test_its_metadata_say_what_it_is(metadata: Metadata) -> None:
    assert metadata.summary
    assert metadata.keywords
    assert "Typing :: Typed" in (metadata.classifiers or [])
    assert metadata.description == (ROOT / "README.md").read_text()
    assert metadata.description_content_type == "text/markdown"
    assert {"cpu", "gpu", "train"} <= set(metadata.provides_extra or [])


def test_its_licences_are_those_of_its_models(metadata: Metadata) -> None:
    assert metadata.license_expression == "Apache-2.0 AND LicenseRef-Research-Only"
    assert metadata.license_files == ["LICENSE", "NOTICE"]
    licences = {name: model.licence for name, model in load_manifest().items()}
    restricted = {name for name, licence in licences.items() if licence != "Apache-2.0"}
    assert restricted == {"photo2cartoon", "photo2cartoon-lite"}
    assert all(licences[name].startswith("Research and demonstration only") for name in restricted)
    notice = (ROOT / "NOTICE").read_text()
    assert {name for name in licences if f"{name}.onnx" in notice} == set(licences)
