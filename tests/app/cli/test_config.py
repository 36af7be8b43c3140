"""`config show`, and the options of `serve`, which win over variables and file."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from photo2cartoon.cli.main import commands
from photo2cartoon.ground.settings import LITE, Settings
from tests.server import Server

DIGEST = hashlib.sha256(b"open sesame").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a configuration file."""
    (tmp_path / "photo2cartoon.toml").write_text(f'threads = 2\napi_keys = ["shop:{DIGEST}:3"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("P2C_PORT", "9001")
    return tmp_path


def call(*arguments: str) -> Any:
    return CliRunner().invoke(commands, arguments)


def test_each_setting_is_shown_with_its_origin_and_no_secret() -> None:
    done = call("config", "show")
    assert done.exit_code == 0
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines() if line}
    assert lines["port"] == ["9001", "(P2C_PORT)"]
    assert lines["threads"] == ["2", "(photo2cartoon.toml)"]
    assert lines["host"] == ["127.0.0.1"]
    assert lines["api_keys"] == ["shop:***", "(photo2cartoon.toml)"]
    assert lines["configuration"] == ["file:", "photo2cartoon.toml"]
    assert set(Settings.model_fields) == lines.keys() - {"configuration"}
    assert DIGEST not in done.output
    assert done.stderr == ""


def test_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2C_URL", "mine")
    done = call("config", "show", "--json")
    facts = json.loads(done.stdout)
    assert list(facts) == list(Settings.model_fields)
    assert facts["port"] == {"value": 9001, "source": "P2C_PORT"}
    assert facts["styles"] == {"value": ["comic", LITE], "source": "default"}
    assert facts["matte_model"] == {"value": None, "source": "default"}
    assert facts["api_keys"]["value"] == ["shop:***"]
    assert call("config", "show").stderr == "no settings, ignored: P2C_URL\n"


def test_a_wrong_setting_is_one_line(folder: Path) -> None:
    (folder / "photo2cartoon.toml").write_text("prot = 1")
    done = call("config", "show")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "photo2cartoon.toml: prot is no setting (did you mean port?)\n"


def test_an_option_that_is_wrong_is_one_line() -> None:
    done = call("serve", "--port", "70000")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "--port: Input should be less than or equal to 65535\n"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("serv",), "Did you mean 'serve'?"),
        (("config", "shwo"), "Did you mean 'show'?"),
        (("serve", "--prot", "1"), "--port"),
    ],
)
def test_what_was_meant(arguments: tuple[str, ...], meant: str) -> None:
    done = call(*arguments)
    assert (done.exit_code, meant in done.stderr) == (2, True)


def test_a_server_takes_options_before_variables_before_the_file(folder: Path) -> None:
    file = folder / "service.toml"
    file.write_text(f'host = "127.0.0.4"\nport = 1\ngenerator = "{LITE}"\nroot_path = "/toon"\n')
    environment = {"P2C_CONFIG": str(file), "P2C_HOST": "127.0.0.3", "P2C_STRANGE": "1"}
    with Server(arguments=("--host", "127.0.0.2", "--threads", "1"), **environment) as server:
        assert server.url.startswith("http://127.0.0.2:")
        styles = httpx2.get(f"{server.url}/v1/styles").json()
        assert [style["name"] for style in styles["styles"] if style["default"]] == [LITE]
    (told,) = [json.loads(line) for line in server.lines if "variables_ignored" in line]
    assert told["names"] == ["P2C_STRANGE"]
    with Server(arguments=("--style", "comic"), **environment) as server:
        styles = httpx2.get(f"{server.url}/v1/styles").json()
        assert [style["name"] for style in styles["styles"] if style["default"]] == ["comic"]
