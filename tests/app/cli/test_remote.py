"""`run --server`: the same options, files and exit codes, drawn by a service."""

import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.ground.errors import UnsupportedFormat
from photo2cartoon.ground.options import Options
from photo2cartoon.ground.settings import LITE
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.places import PHOTO
from tests.server import Server

KEYS = f"me:{sha256(b'secret').hexdigest()}"


@pytest.fixture(autouse=True)
def no_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn here."""

    def refuse(_: object) -> Any:
        raise AssertionError

    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", refuse)


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A service with an API key."""
    with Server(P2C_API_KEYS=KEYS, P2C_THREADS="1") as server:
        yield server


def run(server: str, *arguments: str | Path, **more: Any) -> tuple[int, str]:
    call = ["run", "--server", server, *map(str, arguments)]
    result = CliRunner().invoke(commands, call, **more)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def test_the_files_are_those_of_a_local_run(
    server: Server, tmp_path: Path, pipeline: Pipeline, photo: bytes
) -> None:
    code, output = run(server.url, PHOTO, "-o", tmp_path / "x.webp", "--style", LITE)
    assert (code, output) == (0, f"{PHOTO} -> {tmp_path / 'x.webp'}")
    expected = pipeline.cartoonize(photo, Options(format="webp", style=LITE))
    assert [(tmp_path / "x.webp").read_bytes()] == expected
    call = ["run", "-", "--server", server.url, "--style", LITE]
    piped = CliRunner().invoke(commands, call, input=photo)
    assert [piped.stdout_bytes] == pipeline.cartoonize(photo, Options(style=LITE))
    assert run(server.url, PHOTO, "-o", tmp_path, "--faces", "all", "--size", "256")[0] == 0
    assert (tmp_path / "astronaut-cartoon.png").exists()


def test_failures_and_wrong_calls_have_the_same_exit_codes(server: Server, tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    code, output = run(server.url, text, tmp_path / "missing.jpg", PHOTO, "-o", tmp_path / "out")
    assert code == 1
    assert f"{text}: {UnsupportedFormat.default_detail} (unsupported_format)" in output
    assert "missing.jpg: No such file or directory" in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["astronaut-cartoon.png"]
    code, output = run(server.url, PHOTO, "--style", "oil")
    assert (code, f"style must be one of: comic, {LITE}." in output) == (2, True)
    code, output = run(server.url, PHOTO, "--style", LITE, "--compose", "whole")
    assert (code, "compose=whole needs another style: comic." in output) == (2, True)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:1", "http://127.0.0.1:1: no answer from the service"),
        ("localhost:8000", "not an address of HTTP: localhost:8000"),
    ],
)
def test_a_service_that_is_not_there_is_named(address: str, said: str) -> None:
    code, output = run(address, PHOTO)
    assert code == 2
    assert said in output


def test_the_key_comes_as_an_option_or_from_the_environment(locked: Server, tmp_path: Path) -> None:
    code, output = run(locked.url, PHOTO, "-o", tmp_path / "x.png")
    assert (code, output) == (2, f"{locked.url}: No valid API key (--api-key)")
    assert run(locked.url, PHOTO, "-o", tmp_path / "x.png", "--api-key", "secret")[0] == 0
    environment = {"PHOTO2CARTOON_API_KEY": "secret"}
    assert run(locked.url, PHOTO, "-o", tmp_path / "y.png", env=environment)[0] == 0


def test_a_service_that_goes_away_is_named_for_each_photo(tmp_path: Path, photo: bytes) -> None:
    with Server(P2C_THREADS="1", P2C_STYLES=LITE) as server:

        def stop_before_drawing(*_: object) -> bytes:
            server.stop()
            return photo

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "read_bytes", stop_before_drawing)
            code, output = run(server.url, "me.jpg", "-o", tmp_path / "x.png")
    assert code == 1
    assert output.startswith("me.jpg: no answer from the service")
    assert output.endswith(f"({server.url})")


def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "photo2cartoon.client")
    monkeypatch.setitem(sys.modules, "httpx2", None)
    code, output = run("http://localhost", PHOTO)
    assert (code, output) == (2, "httpx2 is not installed: pip install 'photo2cartoon[client]'")
