"""The installed package at work, in a folder that has packages called `app` and `models` itself."""

import json
import subprocess
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from photo2cartoon import cartoonize
from tests.package.environments import Installed, pip
from tests.places import PHOTO

MISSING = "ONNX Runtime is not installed: pip install 'photo2cartoon[cpu]' or [gpu]"


@pytest.fixture(scope="module")
def drawn_here() -> NDArray[np.uint8]:
    """The cartoon that the checkout draws on the one runtime that the wheel's extra brings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2C_PROVIDER", "cpu")
        return cartoonize(PHOTO)


def read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_lock_has_all_that_the_wheel_asks_for(installed: Installed) -> None:
    pip("check", environment=installed.environment)


def test_help(installed: Installed) -> None:
    done = installed.call("photo2cartoon", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("serve", "run", "bulk", "train", "doctor", "models"):
        assert f" {command} " in done.stdout


def test_cartoonize_draws_what_the_checkout_draws(
    installed: Installed, drawn_here: NDArray[np.uint8], tmp_path: Path
) -> None:
    program = (
        "import sys, numpy as np\n"
        "from photo2cartoon import cartoonize\n"
        "np.save(sys.argv[2], cartoonize(sys.argv[1]))\n"
    )
    done = installed.call("python", "-c", program, PHOTO, tmp_path / "cartoon.npy")
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(np.load(tmp_path / "cartoon.npy"), drawn_here)


def test_run_draws_it_too(
    installed: Installed, drawn_here: NDArray[np.uint8], tmp_path: Path
) -> None:
    target = tmp_path / "cartoon.png"
    done = installed.call("photo2cartoon", "run", PHOTO, "-o", target)
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_array_equal(read(target), drawn_here)


def test_the_models_came_whole(installed: Installed) -> None:
    done = installed.call("python", "-m", "photo2cartoon", "models", "verify")
    assert done.returncode == 0
    assert done.stdout.count(": ok\n") == 7


def test_the_service_starts_there(installed: Installed) -> None:
    command = installed.environment / "bin" / "photo2cartoon"
    with subprocess.Popen(
        [command, "serve"],
        cwd=installed.folder,
        env={**installed.variables, "P2C_PORT": "0"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if '"event": "ready"' in line)
        with urlopen(f"{json.loads(ready)['url']}/readyz") as answer:
            assert answer.status == 200
        process.terminate()


def test_the_folder_keeps_its_own_packages(installed: Installed) -> None:
    program = (
        "import photo2cartoon, photo2cartoon_models, app.main, models\n"
        "photo2cartoon.cartoonize\n"
        "print(app.main.app.title, models.ResnetGenerator.__name__)\n"
        "print(photo2cartoon.__file__, photo2cartoon_models.__file__, app.__file__)\n"
    )
    done = installed.call("python", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    own, places = done.stdout.splitlines()
    assert own == "FastAPI ResnetGenerator"
    service, networks, app = map(Path, places.split())
    assert service.is_relative_to(installed.environment)
    assert networks.is_relative_to(installed.environment)
    assert app == installed.folder / "app" / "__init__.py"


def test_the_version_is_the_distributions(installed: Installed, wheel: Path) -> None:
    done = installed.call("python", "-c", "import photo2cartoon as p; print(p.__version__)")
    assert wheel.name.split("-")[1] == done.stdout.strip()


def test_without_extras_one_line_says_what_is_missing(
    without_extras: Installed, tmp_path: Path
) -> None:
    for command in (["run", PHOTO, "-o", tmp_path / "x.png"], ["serve"], ["--help"]):
        done = without_extras.call("photo2cartoon", *command)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{MISSING}\n")
    done = without_extras.call("python", "-c", "from photo2cartoon import cartoonize")
    assert done.stderr.splitlines()[-1] == f"ImportError: {MISSING}"
    assert not (tmp_path / "x.png").exists()


def test_without_extras_the_rest_still_answers(without_extras: Installed) -> None:
    program = "from photo2cartoon import NoFaceFound, Problem, __version__; print(__version__)"
    done = without_extras.call("python", "-c", program)
    assert (done.returncode, done.stderr) == (0, "")
    doctor = without_extras.call("photo2cartoon", "doctor")
    assert (doctor.returncode, doctor.stderr) == (1, "")
    assert MISSING.partition(":")[0] in doctor.stdout
    assert "pip install 'photo2cartoon[cpu]' or [gpu]" in doctor.stdout
