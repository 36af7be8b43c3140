"""What `photo2cartoon` exports, what that costs, and what is said where ONNX Runtime is missing."""

import ast
import inspect
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

import photo2cartoon
from photo2cartoon import Photo2CartoonPredictor, cartoonize, predictor
from photo2cartoon.ground import errors
from tests.places import PHOTO, ROOT

PUBLIC = {
    "FaceTooSmall",
    "InternalError",
    "InvalidOption",
    "NoFaceFound",
    "NoSuchFace",
    "Photo2CartoonPredictor",
    "Problem",
    "TooManyPixels",
    "UndecodableImage",
    "UnsupportedFormat",
    "UnusableOutput",
    "__version__",
    "cartoonize",
}
NO_RUNTIME = (
    "import sys; sys.modules['onnxruntime'] = None\n"
    "from photo2cartoon.runtime import checks; checks.PACKAGES = ()\n"
)
MISSING = "ONNX Runtime is not installed: pip install 'photo2cartoon[cpu]' or [gpu]"


def call(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, where the package is not loaded yet."""
    environment = {"PYTHONPATH": f"{ROOT / 'app'}:{ROOT / 'models'}"}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def raised_in(folder: Path) -> Iterator[str]:
    """Names of what the files of a folder raise."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise):
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                if isinstance(raised, ast.Name):
                    yield raised.id


def test_these_names_are_public() -> None:
    assert set(photo2cartoon.__all__) == PUBLIC
    assert set(dir(photo2cartoon)) >= PUBLIC
    with pytest.raises(AttributeError, match="no attribute 'cartoonise'"):
        _ = photo2cartoon.cartoonise


def test_a_star_import_brings_them_all() -> None:
    names: dict[str, object] = {}
    exec("from photo2cartoon import *", names)
    assert names.keys() - {"__builtins__"} == PUBLIC
    assert names["cartoonize"] is predictor.cartoonize
    assert names["Photo2CartoonPredictor"] is predictor.Photo2CartoonPredictor


def test_every_problem_that_a_photo_can_meet_is_public() -> None:
    package = ROOT / "app" / "photo2cartoon"
    problems = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    raised = {*raised_in(package / "pipeline"), *raised_in(package / "runtime")} & problems
    assert raised | {"Problem"} == PUBLIC & problems
    assert {"NoFaceFound", "UnusableOutput"} < raised


def test_importing_the_package_loads_nothing_heavy() -> None:
    done = call("import sys, photo2cartoon; print(*sys.modules)")
    loaded = {module.partition(".")[0] for module in done.stdout.split()}
    assert "photo2cartoon" in loaded
    assert not loaded & {"numpy", "cv2", "PIL", "pydantic", "onnxruntime", "photo2cartoon_models"}
    assert "importlib.metadata" not in done.stdout.split()


def test_the_version_is_that_of_the_installed_distribution(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert photo2cartoon.__version__ == version("photo2cartoon")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert photo2cartoon.__version__ == "0+unknown"


def test_it_draws_what_the_predictor_draws_and_loads_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor._load_shared.cache_clear()
    made: list[Photo2CartoonPredictor] = []
    start = threading.Barrier(4)

    class Counted(Photo2CartoonPredictor):
        def __init__(self, output_path: str | None) -> None:
            super().__init__(output_path)
            made.append(self)

    def draw() -> None:
        start.wait()
        drawn.append(cartoonize(PHOTO))

    monkeypatch.setattr(predictor, "Photo2CartoonPredictor", Counted)
    drawn: list[NDArray[np.uint8]] = []
    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    expected = made[0].run(PHOTO)
    assert len(drawn) == 4
    for cartoon in drawn:
        np.testing.assert_array_equal(cartoon, expected)
    assert cartoonize(PHOTO, background="transparent").shape == (256, 256, 4)
    assert len(made) == 1
    predictor._load_shared.cache_clear()


def test_models_that_did_not_load_are_loaded_by_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    predictor._load_shared.cache_clear()
    monkeypatch.setenv("P2C_THREADS", "many")
    with pytest.raises(ValueError, match="threads"):
        cartoonize(PHOTO)
    monkeypatch.delenv("P2C_THREADS")
    assert_type(cartoonize(PHOTO), NDArray[np.uint8])
    predictor._load_shared.cache_clear()


def test_the_types_are_seen() -> None:
    """`make check` reads these: a lazily loaded name of type Any would not pass."""
    assert_type(photo2cartoon.__version__, str)
    assert_type(photo2cartoon.Photo2CartoonPredictor, type[Photo2CartoonPredictor])
    for package in ("app/photo2cartoon", "models/photo2cartoon_models"):
        assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("name", ["cartoonize", "Photo2CartoonPredictor"])
def test_a_missing_runtime_is_named_in_one_line(name: str) -> None:
    done = call(f"{NO_RUNTIME}from photo2cartoon import {name}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {MISSING}"


@pytest.mark.parametrize("arguments", [["run", "x.jpg", "-o", "y.png"], ["--help"], ["serve"]])
def test_the_command_line_says_so_without_a_traceback(arguments: list[str]) -> None:
    program = f"from photo2cartoon.__main__ import main; sys.argv[1:] = {arguments}; main()"
    done = call(NO_RUNTIME + program)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{MISSING}\n")


def test_another_missing_library_keeps_its_own_message() -> None:
    done = call("import sys; sys.modules['cv2'] = None\nfrom photo2cartoon import cartoonize")
    assert done.returncode == 1
    assert "import of cv2 halted" in done.stderr.splitlines()[-1]
