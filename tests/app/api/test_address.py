"""An address on which nobody can listen is refused in one line, before anything is loaded."""

import json
import socket
from collections.abc import Iterator

import httpx2
import pytest
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from tests.server import Server


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


def test_every_address_is_of_ipv4_too(taken: int) -> None:
    """`::` means both, so a port that is taken on IPv4 alone is refused."""
    code, lines = serve("--host", "::", "--port", str(taken))
    assert (code, lines) == (
        2,
        [f"port {taken} of :: is in use: --port or P2C_PORT takes another, 0 a free one"],
    )


def test_the_service_listens_on_ipv6_and_ipv4() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with Server(P2C_HOST="::", P2C_PORT=str(port)) as service:
        for host in ("[::1]", "127.0.0.1"):
            assert httpx2.get(f"http://{host}:{port}/livez").status_code == 200
    ready = [json.loads(line)["url"] for line in service.lines if '"event": "ready"' in line]
    assert sorted(ready) == [f"http://0.0.0.0:{port}", f"http://[::]:{port}"]
