"""The programs that these tests need; one that is missing is a failure, not a skip."""

import shutil
import subprocess
import sys
from pathlib import Path


def find(name: str) -> str:
    """Path of a program: of this environment's packages, or of the system's."""
    place = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert place, f"{name} is missing: `make test-ops` installs wheels, .ci/run Debian packages"
    return place


def call(name: str, *arguments: str | Path) -> str:
    """Run a program; its output. It must end well."""
    done = subprocess.run([find(name), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
