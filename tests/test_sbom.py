"""The bills of materials hold all that the locks pin, and are CycloneDX."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from photo2cartoon_models.manifest import load_manifest
from requirements.sbom import describe
from tests.places import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_all_that_a_lock_pins_is_in_the_document(lock: Path) -> None:
    text = lock.read_text()
    document = describe([lock])
    libraries = [one for one in document["components"] if one["type"] == "library"]
    pinned = re.findall(r"^(\S+)==([^\s;\\]+)", text, re.MULTILINE)
    assert sorted((one["name"], one["version"]) for one in libraries) == sorted(pinned)
    digests = [each["content"] for one in libraries for each in one["hashes"]]
    assert sorted(digests) == sorted(re.findall(r"sha256:([0-9a-f]{64})", text))
    assert all(one["hashes"] for one in libraries)


def test_the_models_of_the_manifest_are_in_the_document() -> None:
    found = {
        (one["name"], one["hashes"][0]["content"])
        for one in describe([])["components"]
        if one["type"] == "machine-learning-model"
    }
    assert found == {(model.name, model.sha256) for model in load_manifest().values()}


def test_who_needs_whom_is_as_the_lock_says() -> None:
    document = describe(LOCKS)
    known = {one["bom-ref"] for one in document["components"]} | {"photo2cartoon"}
    needs = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert needs.keys() == known
    assert len(document["components"]) == len(known) - 1  # each reference names one component
    assert set().union(*needs.values()) == known - {"photo2cartoon"}  # nothing stands alone
    names = {
        ref.partition("@")[0]: {one.partition("@")[0] for one in ones}
        for ref, ones in needs.items()
    }
    assert "pkg:pypi/starlette" in names["pkg:pypi/fastapi"]
    assert {"pkg:pypi/fastapi", "model:comic"} <= names["photo2cartoon"]
    assert "pkg:pypi/starlette" not in names["photo2cartoon"]


def test_make_sbom_writes_the_same_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        command = ["make", "sbom", f"PYTHON={sys.executable}", f"SBOM={tmp_path / folder}"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["cpu.cdx.json", "gpu.cdx.json", "train.cdx.json"]
    for name in names:
        text = (tmp_path / "one" / name).read_text()
        assert (tmp_path / "two" / name).read_text() == text
        document = json.loads(text)
        assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
        assert re.fullmatch(
            r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"]
        )
        assert document["metadata"]["component"]["name"] == "photo2cartoon"
