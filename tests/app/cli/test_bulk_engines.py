"""Bulk on Ray, as far as it goes without Ray: what is refused, in words; and what travels.

A real cluster works in tests/ops/test_ray.py.
"""

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli import bulk_sources
from photo2cartoon.cli.main import commands
from photo2cartoon.cli.objects import Folder


@pytest.fixture(autouse=True)
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide Ray and pyarrow, if this environment has them."""
    hidden = ("ray", "pyarrow")
    monkeypatch.setattr(
        bulk_sources, "find_spec", lambda name: None if name in hidden else find_spec(name)
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--engine", "ray"], "pip install 'photo2cartoon[cpu,ray]'"),
        (["--address", "auto"], "only --engine ray has it"),
        (["--workers", "2"], "only --engine ray has it"),
        (["--engine", "ray", "--workers", "0"], "--workers"),
        (["--engine", "spark"], "spark"),
        (["--report", "s3://reports/a.PARQUET"], "needs the package pyarrow"),
    ],
)
def test_a_call_that_cannot_work_is_refused_before_any_work(
    options: list[str], why: str, tmp_path: Path, photo: bytes
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(photo)
    call = ["bulk", str(tmp_path / "in"), str(tmp_path / "out"), *options]
    done = CliRunner().invoke(commands, call)
    assert done.exit_code == 2
    assert why in " ".join(done.output.replace("│", "").split())
    assert not (tmp_path / "out").exists()


def test_the_command_line_does_not_load_ray() -> None:
    program = (
        "import sys, photo2cartoon.cli.main\n"
        "sys.exit('photo2cartoon.cli.bulk_command' not in sys.modules or 'ray' in sys.modules"
        " or 'photo2cartoon.cli.on_ray' in sys.modules or 'fsspec' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_folder_travels_as_a_place_that_is_the_same_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"content")
    monkeypatch.chdir(tmp_path)
    sent = pickle.dumps(Folder("photos"))
    monkeypatch.chdir(os.sep)
    assert pickle.loads(sent).read("a.jpg") == b"content"
    assert pickle.loads(pickle.dumps(Folder("memory://bucket/in"))).url == "memory://bucket/in"
