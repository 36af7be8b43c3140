"""The import rule of CONTRIBUTING.md, read from the files themselves."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

SHARED = {"models.manifest", "models.preprocess"}
# From the bottom up; a file imports only from lines above its own.
LAYERS = [
    {"errors", "settings", "forecast", "logs", "gpu", "machine"},
    {"ticket", "results", "runtime"},
    {"device"},
    {"session", "cudart"},
    {"warp", "onnx", "decode", "encode", "lanes"},
    {"options", "blazeface", "facemesh", "batcher", "binding", "pack"},
    {"face"},
    {"alignment", "scrfd"},
    {"matte", "scene"},
    {"drawer", "fuse"},
    {"pipeline", "etag"},
    {"predictor", "bulk", "engine", "openapi", "reading"},
    {"metrics", "prepare", "tracing"},
    {"middleware"},
    {"routes"},
    {"batch"},
    {"main", "terminal", "doctor"},
    {"photo_commands"},
    {"cli"},
    {"__main__"},
]
WEB_FILES = {"main", "routes", "batch", "reading", "middleware", "openapi", "tracing"}
APP_FILES = sorted((ROOT / "app").glob("*.py"))


def imports(path: Path, *, inside_functions: bool = True) -> Iterator[str]:
    """Modules that a file imports, `from x import y` as x."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if inside_functions else tree.body:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


def test_every_file_of_app_has_its_layer() -> None:
    names = {path.stem for path in APP_FILES} - {"__init__"}
    assert names == set().union(*LAYERS)


@pytest.mark.parametrize("path", APP_FILES, ids=lambda path: path.stem)
def test_app_imports_run_one_way(path: Path) -> None:
    if path.stem == "__init__":
        assert set(imports(path)) == {"typing", "app.predictor"}  # that one when asked for
        return
    level = next(k for k, names in enumerate(LAYERS) if path.stem in names)
    below = set().union(*LAYERS[:level])
    for module in imports(path):
        package, _, rest = module.partition(".")
        if package == "app":
            assert rest in below, f"{path.stem} imports {module}"
        if package == "models" and path.stem != "cli":
            assert module in SHARED, f"{path.stem} imports {module}"


def test_the_command_line_imports_other_models_inside_subcommands_only() -> None:
    top = set(imports(ROOT / "app" / "cli.py", inside_functions=False))
    assert {module for module in top if module.startswith("models")} <= SHARED


@pytest.mark.parametrize("path", APP_FILES, ids=lambda path: path.stem)
def test_the_web_framework_stays_at_the_door(path: Path) -> None:
    web = {"fastapi", "starlette", "uvicorn"}
    found = {module.partition(".")[0] for module in imports(path)} & web
    assert not found or path.stem in WEB_FILES


def test_models_import_nothing_of_app() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        assert not [module for module in imports(path) if module.partition(".")[0] == "app"]


def test_shared_models_need_numpy_only() -> None:
    for name in ("manifest", "preprocess"):
        found = {m.partition(".")[0] for m in imports(ROOT / "models" / f"{name}.py")}
        assert found - sys.stdlib_module_names <= {"numpy"}


def test_serving_loads_no_training_package_and_importing_does_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, threading, app.main, app.cli\n"
        "heavy = {'torch', 'onnx', 'tflite', 'insightface'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert threading.active_count() == 1\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "P2C_NONSENSE": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)


def test_no_drawers() -> None:
    drawer = re.compile(r"utils?|helpers?|common|base|managers?|services?|misc")
    for folder in ("app", "models"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not drawer.fullmatch(path.stem)
