"""`photo2cartoon models ...` and `convert` as people type them, without torch."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from photo2cartoon.cli import main as cli
from photo2cartoon.cli import terminal
from photo2cartoon.cli.training import HOW_TO_INSTALL
from photo2cartoon_models.manifest import (
    MANIFEST_PATH,
    ManifestError,
    load_manifest,
    load_published,
)
from photo2cartoon_models.pull import Pulled, PullError
from tests.places import ROOT

RUN = CliRunner()


def test_list_names_every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal.out, "width", 300)  # whatever COLUMNS was when it was made
    result = RUN.invoke(cli.commands, ["models", "list"])
    assert result.exit_code == 0
    for name in [*load_manifest(), *load_published()]:
        assert name in result.stdout
    assert "to pull" in result.stdout


def test_the_list_fits_a_terminal_of_80_columns() -> None:
    result = RUN.invoke(cli.commands, ["models", "list"])
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert re.search(
        r"^photo2cartoon +generator +[\d.]+ MB +included +Research", result.stdout, re.M
    )


def test_the_list_for_programs_has_every_fact() -> None:
    result = RUN.invoke(cli.commands, ["models", "list", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(result.stdout)}
    assert entries.keys() == {*load_manifest(), *load_published()}
    ours = entries["photo2cartoon"]
    assert (ours["included"], len(ours["sha256"])) == (True, 64)
    assert ours["licence"] == load_manifest()["photo2cartoon"].licence
    assert entries["minivision-onnx"]["included"] is False


def test_verify(monkeypatch: pytest.MonkeyPatch) -> None:
    result = RUN.invoke(cli.commands, ["models", "verify"])
    assert (result.exit_code, result.stdout.count(": ok")) == (0, len(load_manifest()))
    wrong = {name: replace(model, sha256="0" * 64) for name, model in load_manifest().items()}
    monkeypatch.setattr("photo2cartoon.cli.models.load_manifest", lambda **_: wrong)
    result = RUN.invoke(cli.commands, ["models", "verify"])
    assert result.exit_code == 1
    assert "is not the file of the manifest" in result.stderr


def test_show() -> None:
    shown = RUN.invoke(cli.commands, ["models", "show", "photo2cartoon-lite"]).stdout
    assert "input: input float32 (N, 3, 256, 256) NCHW RGB -1..1: aligned portrait" in shown
    shown = RUN.invoke(cli.commands, ["models", "show", "minivision-onnx"]).stdout
    assert "sha256: unknown" in shown
    assert "url: https://" in shown
    result = RUN.invoke(cli.commands, ["models", "show", "nothing"])
    assert result.exit_code == 2
    assert "paddlegan" in result.stderr
    for command in ("show", "pull"):
        misspelt = RUN.invoke(cli.commands, ["models", command, "photo2cartoon-lit"])
        assert misspelt.exit_code == 2
        assert "did you mean photo2cartoon-lite?" in re.sub(r"[│\s]+", " ", misspelt.stderr)


def test_pull_says_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "photo2cartoon_models.pull.pull", lambda *_: Pulled(tmp_path / "w.onnx", "ab12", False)
    )
    result = RUN.invoke(cli.commands, ["models", "pull", "minivision-onnx"])
    assert result.exit_code == 0
    assert "sha256 ab12 (unverified" in result.stdout
    assert "photo2cartoon convert" in result.stdout
    result = RUN.invoke(cli.commands, ["models", "pull", "selfie"])
    assert "comes along" in result.stdout


def test_failed_pull_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Pulled:
        raise PullError("cannot reach it; download it by hand")

    monkeypatch.setattr("photo2cartoon_models.pull.pull", fail)
    result = RUN.invoke(cli.commands, ["models", "pull", "minivision-onnx"])
    assert result.exit_code == 1
    assert "cannot reach it; download it by hand\n" in result.stderr


@pytest.mark.parametrize(
    "call",
    [
        ["train"],
        ["convert", "w.pt", "x.onnx"],
        ["evaluate", "x", "a", "--cartoons", "b", "--out", "c"],
    ],
)
def test_what_training_needs_is_said_in_one_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: list[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("photo2cartoon_models.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(cli.commands, call)
    assert result.exit_code == 2
    assert result.stderr.strip() == f"{call[0]} needs torch: {HOW_TO_INSTALL}"
    assert list(tmp_path.iterdir()) == []


def test_the_way_to_install_is_there_and_complete() -> None:
    """`make install-train` is a target, and the extra names what is installed with --no-deps."""
    assert re.search(r"^install-train: ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = set(project["optional-dependencies"]["train"])
    lines = (ROOT / "requirements" / "nodeps.in").read_text().splitlines()
    asking = {line.partition("#")[0].strip() for line in lines} - {""}
    assert len(asking) == 2
    assert asking < extra
    assert "photo2cartoon[train-locked]" in extra
    assert any(wanted.startswith("torch>=") for wanted in extra)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "../w.pt"}, "not a plain file name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_published_entries(tmp_path: Path, change: dict[str, str], message: str) -> None:
    content = json.loads(MANIFEST_PATH.read_text())
    content["published"][0].update(change)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=message):
        load_published(path)
    content["published"] = [content["published"][1]] * 2
    path.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match="occurs twice"):
        load_published(path)
