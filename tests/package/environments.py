"""A virtual environment with the wheel in it, and a project that has other packages."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# What such folders hold: FastAPI's template calls its package `app`, minivision's is `models`.
BUILT_FROM = ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "app", "models")  # as the images
PROJECT = {
    "app/__init__.py": "",
    "app/main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n",
    "models/__init__.py": "from .networks import *\n",
    "models/networks.py": "class ResnetGenerator: ...\n",
}


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel, and a folder to work in.

    Attributes:
        environment: root of the virtual environment.
        folder: where commands run.
    """

    environment: Path
    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a shell in which the virtual environment is active."""
        ours = ("P2C_", "PYTHON")
        plain = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {**plain, "PATH": f"{self.environment / 'bin'}:{plain['PATH']}", "COLUMNS": "100"}

    def call(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the environment in the folder."""
        return subprocess.run(
            [self.environment / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )


def pip(*arguments: str | Path, environment: Path | None = None) -> None:
    """Run the checkout's pip, for another environment if there is one."""
    there = ("--python", environment / "bin" / "python") if environment else ()
    command = (sys.executable, "-m", "pip", "--disable-pip-version-check", *there, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def make_environment(path: Path) -> Path:
    """Make a virtual environment without pip, which `pip` above fills from outside."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", path], check=True)
    return path
