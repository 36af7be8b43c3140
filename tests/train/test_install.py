"""What the models import is what the extra `train` installs: nothing is asked for afterwards."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.places import ROOT

MODELS = ROOT / "models" / "photo2cartoon_models"
# Converts the networks of MediaPipe's wheel: the extra `dev`, `make verify-models`.
BUILDERS = MODELS / "mediapipe"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def wanted(extra: str, project: dict[str, dict[str, list[str]]]) -> set[str]:
    """Names of the distributions of an extra, with those of the extras it names."""
    names = set()
    for line in project["optional-dependencies"][extra]:
        if inner := re.match(r"photo2cartoon\[(.*)\]", line):
            names |= wanted(inner[1], project)
        else:
            names.add(distribution(line))
    return names


def distribution(line: str) -> str:
    """The normalised name in a requirement, such as `pi-heif>=1.4`."""
    return re.split(r"[\[<>=;]", line)[0].lower().replace("_", "-")


def test_the_extra_has_all_that_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {distribution(line) for line in project["dependencies"]} | {"protobuf"}  # by onnx
    installed |= wanted("cpu", project) | wanted("train", project)
    paths = [path for path in MODELS.rglob("*.py") if BUILDERS not in path.parents]
    names = {name for path in paths for name in imported(path)}
    owners = packages_distributions()
    foreign = names - sys.stdlib_module_names - {"photo2cartoon_models"}
    assert {"torch", "lightning_fabric", "efficientnet_lite_pytorch"} <= foreign
    missing = {name for name in foreign if not installed & set(map(distribution, owners[name]))}
    assert missing == set()
