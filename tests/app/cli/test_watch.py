"""A folder that is watched: finished photos are drawn once, and a signal is a clean end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.cli.watch import Arrivals
from tests.places import ROOT
from tests.server import wait_for


def test_a_photo_is_given_once_it_stays_as_it_is(tmp_path: Path) -> None:
    arrivals, slow, other = Arrivals(), tmp_path / "slow.jpg", tmp_path / "other.jpg"
    slow.write_bytes(b"1")
    assert arrivals.look([slow]) == ([], [])
    with slow.open("ab") as file:
        file.write(b"2")
    other.write_bytes(b"1")
    assert arrivals.look([slow, other]) == ([], [])
    assert arrivals.look([slow, other]) == ([slow, other], [])
    assert arrivals.look([slow, other]) == ([], [])


def test_a_photo_that_changes_or_is_replaced_is_given_again(tmp_path: Path) -> None:
    arrivals, photo = Arrivals(), tmp_path / "a.jpg"
    photo.write_bytes(b"1")
    arrivals.look([photo])
    assert arrivals.look([photo]) == ([photo], [])
    photo.write_bytes(b"12")
    assert arrivals.look([photo]) == ([], [])
    assert arrivals.look([photo]) == ([], [photo])
    photo.unlink()
    assert arrivals.look([photo]) == ([], [])
    photo.write_bytes(b"123")
    arrivals.look([photo])
    assert arrivals.look([photo]) == ([], [photo])


@pytest.fixture
def watcher(tmp_path: Path, photo: bytes) -> Iterator[subprocess.Popen[str]]:
    """A real process on the folder `in`, which holds a drawn photo, one to draw and a bad one."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    for name in ("drawn.jpg", "there.jpg"):
        (source / name).write_bytes(photo)
    (target / "drawn-cartoon.png").write_bytes(b"mine")
    (source / "bad.jpg").write_text("no picture")
    command = [sys.executable, "-m", "photo2cartoon", "watch", str(source), str(target)]
    process = subprocess.Popen(
        [*command, "--every", "0.05", "--on-no-face", "centre"],
        cwd=ROOT,
        env={**os.environ, "P2C_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_watched_folder(
    watcher: subprocess.Popen[str],
    ending: signal.Signals,
    tmp_path: Path,
    photo: bytes,
    faceless: bytes,
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    wait_for((target / "there-cartoon.png").exists, 60)
    (source / "new").mkdir()
    (source / "new" / "faceless.png").write_bytes(faceless)
    wait_for((target / "new" / "faceless-cartoon.png").exists, 60)
    (source / "bad.jpg").write_bytes(photo)
    wait_for((target / "bad-cartoon.png").exists, 60)
    watcher.send_signal(ending)
    output, errors = watcher.communicate(timeout=60)
    assert watcher.returncode == 0
    assert output.splitlines()[0] == f"watching {source}; Ctrl-C ends"
    assert output.splitlines()[-1].endswith(f"; {target}")
    assert "1 skipped, 1 failed" in output
    assert errors.startswith("bad.jpg: ")
    assert (errors.count("(unsupported_format)"), errors.count("\n")) == (1, 1)
    names = sorted(str(path.relative_to(target)) for path in target.rglob("*.*"))
    assert names == [
        "bad-cartoon.png", "drawn-cartoon.png", "new/faceless-cartoon.png", "there-cartoon.png",
    ]  # fmt: skip
    assert (target / "drawn-cartoon.png").read_bytes() == b"mine"


def test_a_wrong_call_watches_nothing(tmp_path: Path) -> None:
    for call in ([tmp_path, tmp_path], [tmp_path / "gone", tmp_path], [tmp_path, "x", "--size=3"]):
        done = CliRunner().invoke(commands, ["watch", *map(str, call)])
        assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []
