"""What import-linter's contracts (pyproject.toml, `make check`) cannot say."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.places import ROOT

PACKAGES = (ROOT / "app" / "photo2cartoon", ROOT / "models" / "photo2cartoon_models")
FILES = [path for package in PACKAGES for path in sorted(package.rglob("*.py"))]
COMMANDS = sorted((PACKAGES[0] / "cli").glob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SHARED = {f"photo2cartoon_models.{name}" for name in ("manifest", "preprocess", "cutout", "files")}


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Modules that a file imports, `from x import y` as x."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_commands_import_other_models_when_they_run(path: Path) -> None:
    top = set(imports(path, inside_functions=False))
    assert {name for name in top if name.startswith("photo2cartoon_models")} <= SHARED


def test_shared_models_need_numpy_only() -> None:
    for name in ("manifest", "preprocess", "files"):
        found = {module.partition(".")[0] for module in imports(PACKAGES[1] / f"{name}.py")}
        assert found - sys.stdlib_module_names <= {"numpy"}


def test_serving_loads_no_training_package_and_importing_does_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, threading, photo2cartoon.api.server, photo2cartoon.cli.main\n"
        "heavy = {'torch', 'onnx', 'tflite', 'insightface'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1\n"
    )
    environment = {"P2C_NONSENSE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)


def test_no_drawers() -> None:
    drawer = re.compile(r"utils?|helpers?|common|base|managers?|services?|misc")
    for path in FILES:
        assert not drawer.fullmatch(path.stem)


def test_tests_share_rooms_and_not_each_other() -> None:
    """What two tests need stands in a module of its own; a conftest holds fixtures only."""
    shared = re.compile(r"tests\.(.*\.)?(test_\w+|conftest)")
    found = {path: {name for name in imports(path) if shared.fullmatch(name)} for path in TESTS}
    assert {str(path): names for path, names in found.items() if names} == {}
