"""Completion, in a real shell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from photo2cartoon.cli.main import commands

COMPLETE = """
set -eu
eval "$(photo2cartoon --show-completion)"
complete -p photo2cartoon
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_photo2cartoon_completion photo2cartoon
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The console script on the PATH, as the installed package puts it there."""
    script = tmp_path / "photo2cartoon"
    script.write_text(f"#!{sys.executable}\nfrom photo2cartoon.__main__ import main\nmain()\n")
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def complete(environment: dict[str, str], *words: str) -> list[str]:
    """Return what bash would offer for the last word of a line."""
    call = ["bash", "-c", COMPLETE, "bash", "photo2cartoon", *words]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    registered, *offered = done.stdout.splitlines()
    assert registered.endswith(" photo2cartoon")
    return offered


def test_bash_completes_commands_options_and_values(environment: dict[str, str]) -> None:
    assert set(complete(environment, "")) == set(get_command(commands).commands)  # type: ignore[attr-defined]
    assert complete(environment, "serve", "--p") == ["--port", "--provider"]
    assert complete(environment, "serve", "--log-level", "w") == ["warning"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(environment: dict[str, str], shell: str) -> None:
    asked = {**environment, "_PHOTO2CARTOON_COMPLETE": f"source_{shell}"}
    done = subprocess.run(["photo2cartoon"], env=asked, capture_output=True, text=True, check=True)
    assert f"_PHOTO2CARTOON_COMPLETE=complete_{shell}" in done.stdout
