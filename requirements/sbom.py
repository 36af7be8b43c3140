"""Write a bill of materials, CycloneDX 1.6 in JSON: what the lock files pin, and the models.

    python requirements/sbom.py LOCK... > sbom.json

Names, versions, sha256 digests and who asks for whom are the lock files' own; the models are the
manifest's. The same files give the same document: it has no time in it, and its serial number is
made of its content. Standard library only, so that it runs before anything is installed.
"""

import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "models" / "photo2cartoon_models" / "manifest.json"
PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")
VIA = re.compile(r"#\s+(?:via\s+)?([A-Za-z0-9][A-Za-z0-9._-]*)(?: \(pyproject\.toml\))?")


def main(locks: list[str]) -> None:
    """Print the document of some lock files."""
    document = describe([Path(lock) for lock in locks])
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def describe(locks: list[Path]) -> dict[str, Any]:
    """Return the document. A package that several locks pin is listed once for each version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    root = {"type": "application", "bom-ref": project["name"], "name": project["name"]}
    root |= {"version": project["version"], "licenses": [{"license": {"id": project["license"]}}]}
    packages: dict[str, dict[str, Any]] = {}
    askers: dict[str, set[str]] = {}
    for lock in locks:
        for package, asked_by in read_lock(lock.read_text()):
            packages.setdefault(package["bom-ref"], package)
            askers.setdefault(package["bom-ref"], set()).update(asked_by)
    components = [*sorted(packages.values(), key=lambda one: one["bom-ref"]), *models()]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": _dependencies(project["name"], components, askers),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return document | {"serialNumber": f"urn:uuid:{serial}"}


def read_lock(text: str) -> list[tuple[dict[str, Any], set[str]]]:
    """Return the packages of a hashed requirements file, each with the names that ask for it."""
    found: list[tuple[dict[str, Any], set[str]]] = []
    for line in text.splitlines():
        if pinned := PINNED.match(line):
            name, version = pinned[1].lower(), pinned[2]
            purl = f"pkg:pypi/{re.sub('[-_.]+', '-', name)}@{version}"
            facts = {"type": "library", "bom-ref": purl, "name": name, "version": version}
            found.append(({**facts, "purl": purl, "hashes": []}, set()))
        elif found and (digest := DIGEST.search(line)):
            found[-1][0]["hashes"].append({"alg": "SHA-256", "content": digest[1]})
        elif found and line.startswith("    #") and (via := VIA.fullmatch(line.strip())):
            found[-1][1].add(via[1])
    return found


def models() -> list[dict[str, Any]]:
    """Return the model files that come along, as the manifest describes them."""
    return [
        {
            "type": "machine-learning-model",
            "bom-ref": f"model:{entry['name']}",
            "name": entry["name"],
            "description": entry["source"],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
            "licenses": [{"license": {"name": entry["licence"]}}],
        }
        for entry in json.loads(MANIFEST.read_text(encoding="utf-8"))["models"]
    ]


def _dependencies(
    root: str, components: list[dict[str, Any]], askers: dict[str, set[str]]
) -> list[dict[str, Any]]:
    """Return who needs whom. What nobody in the locks asks for, and the models, the root needs."""
    by_name: dict[str, list[str]] = {root: [root]}
    for one in components:
        if one["type"] == "library":
            by_name.setdefault(one["name"], []).append(one["bom-ref"])
    needs: dict[str, set[str]] = {one["bom-ref"]: set() for one in [{"bom-ref": root}, *components]}
    for one in components:
        names = askers.get(one["bom-ref"], set()) & by_name.keys() or {root}
        for asker in (ref for name in names for ref in by_name[name]):
            needs[asker].add(one["bom-ref"])
    return [{"ref": ref, "dependsOn": sorted(needed)} for ref, needed in sorted(needs.items())]


if __name__ == "__main__":
    main(sys.argv[1:])
