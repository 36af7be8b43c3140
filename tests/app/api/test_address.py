"""An address on which nobody can listen is refused in one line, before anything is loaded."""

import socket
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("models were loaded")

    monkeypatch.setattr("photo2cartoon.api.server.open_pipeline", fail)
    monkeypatch.setattr("photo2cartoon.api.server.configure_logs", lambda _: None)
    monkeypatch.setattr("photo2cartoon.api.server.capture_native_stderr", lambda: None)


def serve(*options: str) -> tuple[int, list[str]]:
    done = CliRunner().invoke(commands, ["serve", *options])
    return done.exit_code, done.stderr.splitlines()


def test_a_port_in_use_is_said_in_one_line(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_PORT", str(taken))
    code, lines = serve()
    assert (code, lines) == (
        2,
        [f"port {taken} of 127.0.0.1 is in use: --port or P2C_PORT takes another, 0 a free one"],
    )
    monkeypatch.delenv("P2C_PORT")
    assert serve("--port", str(taken)) == (code, lines)


def test_an_address_of_another_machine_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_HOST", "192.0.2.1")  # for documentation: nobody has it
    code, lines = serve()
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith("cannot listen on 192.0.2.1:8000: ")
