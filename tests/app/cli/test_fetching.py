"""`run https://...`: the command fetches the photo, within bounds."""

import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli import fetching
from photo2cartoon.cli.fetching import NotFetchedError, fetch
from photo2cartoon.cli.main import commands
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.places import PHOTO
from tests.scripted import Answer, ScriptedServer

FOUND: Answer = (200, {"Content-Type": "image/jpeg"}, PHOTO.read_bytes())


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch: pytest.MonkeyPatch, pipeline: Pipeline, tmp_path: Path) -> None:
    monkeypatch.setattr("photo2cartoon.cli.terminal.open_pipeline", lambda _: pipeline)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(commands, ["run", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.replace("│", " ").split())


def leading_to(place: str) -> Answer:
    return 302, {"Location": place}, b""


def test_an_address_is_drawn_like_the_file(tmp_path: Path) -> None:
    with ScriptedServer([leading_to("/p/me.jpg"), FOUND]) as web:
        code, output = run(f"{web.url}/p/you%20and%20me.jpg?size=3")
        assert run(f"{web.url}/", "-o", "named.png")[0] == 0
        assert run(f"{web.url}/x", PHOTO, "-o", "folder")[0] == 0
    assert (code, output) == (0, f"{web.url}/p/you%20and%20me.jpg?size=3 -> you and me-cartoon.png")
    assert run(PHOTO, "-o", "local.png")[0] == 0
    local = Path("local.png").read_bytes()
    for name in ("you and me-cartoon.png", "named.png", "folder/x-cartoon.png"):
        assert Path(name).read_bytes() == local
    paths = [path for path, _, _ in web.requests]
    assert paths == ["/p/you%20and%20me.jpg?size=3", "/p/me.jpg", "/", "/x"]
    assert web.requests[0][1]["accept-encoding"] == "identity"


def test_a_local_file_of_the_same_name_is_not_overwritten(photo: bytes) -> None:
    Path("me-cartoon.png").write_bytes(b"mine")
    with ScriptedServer([FOUND]) as web:
        assert run(f"{web.url}/me.jpg")[0] == 0
        assert run(f"{web.url}/me.jpg", "-o", "me.jpg")[0] == 0
    assert Path("me-cartoon.png").read_bytes() == b"mine"
    assert Path("me-cartoon_2.png").exists()
    assert Path("me.jpg").exists()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(404, {}, b"")], "The address answers 404 Not Found."),
        ([leading_to("ftp://host/x.jpg")], "neither http nor https"),
        ([leading_to("file:///etc/hostname")], "neither http nor https"),
        (
            [leading_to("/again")],
            "The address cannot be fetched: Exceeded maximum allowed redirect",
        ),
        ([None], "The address cannot be fetched: Server disconnected"),
    ],
)
def test_what_cannot_be_fetched_is_said(answers: list[Answer], said: str) -> None:
    with ScriptedServer(answers) as web:
        code, output = run(f"{web.url}/x.jpg", PHOTO, "-o", "out")
    assert code == 1
    assert said in output
    assert f"{web.url}/x.jpg: " in output
    assert "(not_fetched)" in output
    assert Path("out/astronaut-cartoon.png").exists()
    assert len(web.requests) <= fetching.REDIRECTS + 1


def test_a_fetched_photo_is_no_larger_than_one_that_is_sent(
    monkeypatch: pytest.MonkeyPatch, photo: bytes
) -> None:
    monkeypatch.setenv("P2C_MAX_BODY_BYTES", str(len(photo) - 1))
    with ScriptedServer([FOUND]) as web:
        assert fetch(web.url, len(photo)) == photo
        code, output = run(f"{web.url}/x.jpg")
    assert code == 1
    assert f"The file has more than {len(photo) - 1} bytes." in output


def test_a_slow_address_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TOTAL_S", 0)
    with ScriptedServer([FOUND]) as web, pytest.raises(NotFetchedError) as caught:
        fetch(web.url, 10**9)
    assert caught.value.strerror == "The file did not arrive within 0 s."
    monkeypatch.setattr(fetching, "SILENCE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with pytest.raises(NotFetchedError) as caught:
            fetch(f"http://{host}:{port}/", 10**9)
    assert str(caught.value.strerror).startswith("The address said nothing")


@pytest.mark.parametrize("address", ["ftp://host/x.jpg", "file:///etc/x.jpg", "http://[/x.jpg"])
def test_other_addresses_are_wrong_calls(address: str) -> None:
    code, output = run(address, "-o", "out")
    assert code == 2
    assert address in output
    assert not Path("out").exists()


def test_without_the_extra_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "httpx2", None)
    code, output = run("https://host/x.jpg")
    assert (code, output) == (2, "httpx2 is not installed: pip install 'photo2cartoon[client]'")
