"""The configuration file: where it is found, what wins over it, and what is said if it is wrong."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from photo2cartoon.ground.config_file import ConfigFileError, find_config_file
from photo2cartoon.ground.origins import Stated, describe_settings, explain
from photo2cartoon.ground.settings import Settings


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; the user's configuration folder is `home` in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("P2C_CONFIG", raising=False)
    return tmp_path


def write(text: str, path: str = "photo2cartoon.toml") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def complaints() -> list[str]:
    try:
        Settings()
    except (ValidationError, ConfigFileError) as refusal:
        return explain(refusal)
    pytest.fail("nothing is wrong")


def test_every_kind_of_value(folder: Path) -> None:
    write(
        'port = 9000\npage = false\ngrace_s = 2.5\nstyles = ["a", "b c.onnx"]\n'
        'cors_origins = "https://a.example,https://b.example"\nmax_batch = 4\n'
    )
    read = Settings()
    assert (read.port, read.page, read.grace_s, read.max_batch) == (9000, False, 2.5, 4)
    assert read.styles == (Path("a"), Path("b c.onnx"))
    assert read.cors_origins == ("https://a.example", "https://b.example")


def test_arguments_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("port = 1\nthreads = 1\nmax_queue = 1\n")
    monkeypatch.setenv("p2c_threads", "2")
    monkeypatch.setenv("P2C_PORT", "2")
    monkeypatch.setenv("P2C_MAX_QUEUE", "")
    settings = Settings(port=3)
    assert (settings.port, settings.threads, settings.max_queue) == (3, 2, 1)
    rows = {row.name: row for row in describe_settings(settings)}
    assert rows["threads"] == Stated("threads", 2, "p2c_threads")
    assert rows["max_queue"] == Stated("max_queue", 1, "photo2cartoon.toml")
    assert rows["host"] == Stated("host", "127.0.0.1", "default")


def test_the_named_file_comes_first_then_the_folder_then_the_users(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_config_file() is None
    write("port = 1", "home/photo2cartoon/photo2cartoon.toml")
    assert Settings().port == 1
    write("threads = 2")  # the other file is not read any more
    assert (Settings().port, Settings().threads) == (8000, 2)
    write("port = 3", "other.toml")
    monkeypatch.setenv("P2C_CONFIG", "other.toml")
    assert (Settings().port, Settings().threads) == (3, 0)
    monkeypatch.setenv("P2C_CONFIG", "/dev/null")
    assert Settings() == Settings.model_construct()
    monkeypatch.setenv("P2C_CONFIG", "")
    assert Settings().threads == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", ["prot is no setting (did you mean port?)"]),
        ("P2C_PORT = 1", ["P2C_PORT is no setting (did you mean port?)"]),
        ("max-queue = 1", ["max-queue is no setting (did you mean max_queue?)"]),
        ("zzzzz = 1", ["zzzzz is no setting"]),
        ("[serve]\nport = 1", ["serve is no setting"]),
        ("port = 70000", ["port: Input should be less than or equal to 65535"]),
        (
            'log_level = "loud"\ncors_origins = ["*", "b"]',
            [
                "cors_origins: item 2: String should match pattern "
                r"'^(\*|[a-z][a-z0-9+.-]*://[^/\s]+)$'",
                "log_level: Input should be 'debug', 'info', 'warning' or 'error'",
            ],
        ),
        ("port = ", ["this is no TOML: Invalid value (at end of document)"]),
    ],
)
def test_one_line_names_the_file_and_the_key(text: str, said: list[str]) -> None:
    write(text)
    assert complaints() == [f"photo2cartoon.toml: {line}" for line in said]


def test_a_file_that_cannot_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_CONFIG", "gone.toml")
    assert complaints() == ["gone.toml: No such file or directory"]
    monkeypatch.setenv("P2C_CONFIG", str(folder))
    assert complaints() == [f"{folder}: Is a directory"]
    Path("latin.toml").write_bytes(b"host = '\xe9'")
    monkeypatch.setenv("P2C_CONFIG", "latin.toml")
    assert complaints()[0].startswith("latin.toml: this is no TOML: ")


def test_a_variable_that_is_wrong_is_named_though_the_file_has_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write("port = 1")
    monkeypatch.setenv("P2C_PORT", "eighty")
    (line,) = complaints()
    assert line.startswith("P2C_PORT: ")
