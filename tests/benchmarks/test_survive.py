"""What is said of a system that is harmed is what happened to it."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.serving.process import Command
from benchmarks.serving.survive import Target, held_bodies, kills, photos, within
from tests.benchmarks.tiny_server import TinyServer


def test_answers_are_counted(tiny_server: TinyServer) -> None:
    target = Target(Command([], tiny_server.port, "/cartoonize"))
    assert photos(3, b"photo")(target) == "3 x 200"
    assert [body for _, body in tiny_server.received] == [b"photo"] * 3


async def _leave(_: bytes) -> None:
    return None


def test_a_connection_that_ends_is_no_answer(tiny_server: TinyServer) -> None:
    tiny_server.reply = _leave
    assert Target(Command([], tiny_server.port, "/")).post(b"photo", 10) == "closed"


def test_a_server_that_is_gone_is_named() -> None:
    assert Target(Command([], 1, "/")).post(b"photo", 10) == "ConnectionRefusedError"


def test_bodies_are_held_until_time_is_up(
    tiny_server: TinyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.serving.survive.GOOD_TIMEOUT_S", 0.2)
    target = Target(Command([], tiny_server.port, "/"))
    assert held_bodies(2, 0)(target) == "2 x TimeoutError"
    assert tiny_server.received == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ("memory.events", "low 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n"),
    ],
)
def test_kills_are_read_from_either_version_of_cgroups(
    tmp_path: Path, file: str, text: str
) -> None:
    (tmp_path / file).write_text(text)
    assert kills(tmp_path) == 3


def test_a_system_joins_the_group_before_it_starts(tmp_path: Path) -> None:
    command = within(tmp_path, Command(["sh", "-c", "echo $$"], 1, "/"))
    started = subprocess.run(command.arguments, check=True, capture_output=True, text=True)
    assert (tmp_path / "cgroup.procs").read_text() == started.stdout
