"""The blind page: one file that loads nothing, in an order that tells nothing."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from photo2cartoon.cli.compare import SIDE, TEMPLATE, Triple, shrink, write_page
from photo2cartoon.cli.main import commands
from tests.places import PHOTO

RED, BLUE, GRAY = (200, 30, 30), (30, 30, 200), (128, 128, 128)


def _flat(colour: tuple[int, int, int], side: int = 32) -> NDArray[np.uint8]:
    return np.full((side, side, 3), colour, np.uint8)


def _write(folder: Path, names: list[str], colour: tuple[int, int, int]) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_flat(colour)).save(path)
    return folder


class _Page(HTMLParser):
    """What the page would load, its elements' ids, and its data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.policy = ""
        self.scripts: list[str] = []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""
        self._script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._script = False

    def handle_data(self, data: str) -> None:
        if self._script:
            self.scripts.append(data)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def _colour(url: str) -> NDArray[np.uint8]:
    head, _, content = url.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return np.asarray(np.asarray(picture)[0, 0], np.uint8)


def _triples(count: int) -> list[Triple]:
    return [Triple(f"p{i}.jpg", _flat(GRAY), _flat(RED), _flat(BLUE)) for i in range(count)]


def test_the_page_loads_nothing() -> None:
    page = _Page(write_page(("A", "B"), _triples(2), 0))
    assert page.loaded == []
    assert page.policy.startswith("default-src 'none'; img-src data:;")
    assert len(page.scripts) == 2


def test_the_script_finds_its_elements() -> None:
    page = _Page(TEMPLATE.read_text())
    wanted = set(re.findall(r'element\("([a-z-]+)"\)', page.scripts[1]))
    assert {"photo", "back", "save"} <= wanted
    assert wanted | {"one", "two", "none"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_each_side_stands_where_the_data_says() -> None:
    items = _Page(write_page(("A", "B"), _triples(40), 0)).data["items"]
    for item in items:
        first, second = (RED, BLUE) if item["first"] == "a" else (BLUE, RED)
        for key, colour in (("photo", GRAY), ("one", first), ("two", second)):
            np.testing.assert_allclose(_colour(item[key]), colour, atol=6)
    firsts = [item["first"] for item in items]
    assert 10 <= firsts.count("a") <= 30
    names = [item["name"] for item in items]
    assert sorted(names) == sorted(f"p{i}.jpg" for i in range(40))
    assert names != [f"p{i}.jpg" for i in range(40)]


def test_a_seed_gives_one_order() -> None:
    triples = _triples(12)
    pages = [write_page(("A", "B"), triples, seed) for seed in (5, 5, 6)]
    assert pages[0] == pages[1] != pages[2]


def test_names_cannot_write_html() -> None:
    name = "</script><script>alert(1)</script>.jpg"
    text = write_page((name, "B"), [Triple(name, *(_flat(GRAY),) * 3)], 0)
    page = _Page(text)
    assert len(page.scripts) == 2
    assert page.data["a"] == page.data["items"][0]["name"] == name


def test_pictures_are_bounded() -> None:
    assert shrink(np.zeros((300, 2000, 3), np.uint8)).shape == (77, SIDE, 3)
    small = _flat(GRAY)
    assert shrink(small) is small
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    (item,) = _Page(write_page(("A", "B"), [Triple("n", noise, noise, noise)], 0)).data["items"]
    assert all(len(item[key]) < 500_000 for key in ("photo", "one", "two"))


def test_folders_of_drawn_pictures(tmp_path: Path) -> None:
    """By the photos' names or as `bulk` names them; whatever lacks a side is left out."""
    photos = _write(tmp_path / "photos", ["x.jpg", "sub/y.png", "z.jpg"], GRAY)
    a = _write(tmp_path / "a", ["x.png", "sub/y.webp", "z.png"], RED)
    b = _write(tmp_path / "b", ["x-cartoon.png", "sub/y-cartoon.jpg"], BLUE)
    page = tmp_path / "out" / "page.html"
    call = ["compare", str(a), str(b), str(photos), "--out", str(page)]
    result = CliRunner().invoke(commands, call)
    assert result.exit_code == 0, result.output
    assert "1 of 3 photos left out" in result.stderr
    data = _Page(page.read_text()).data
    assert (data["a"], data["b"]) == (str(a), str(b))
    assert {item["name"] for item in data["items"]} == {"x.jpg", "sub/y.png"}


def test_a_generator_against_a_folder(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "astronaut.jpg").write_bytes(PHOTO.read_bytes())
    _write(photos, ["no-face.png"], GRAY)
    drawn = _write(tmp_path / "drawn", ["astronaut.png", "no-face.png"], BLUE)
    page = tmp_path / "page.html"
    call = ["compare", "photo2cartoon-lite", str(drawn), str(photos), "--out", str(page)]
    result = CliRunner().invoke(commands, call)
    assert result.exit_code == 0, result.output
    (item,) = _Page(page.read_text()).data["items"]
    assert item["name"] == "astronaut.jpg"
    cartoon = item["one" if item["first"] == "a" else "two"]
    np.testing.assert_allclose(_colour(cartoon), 255, atol=3)  # on white


@pytest.mark.parametrize(
    ("a", "message"), [("drawn", "no photo in it has a picture"), ("none.onnx", "none.onnx")]
)
def test_nothing_to_compare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "photos", ["x.jpg"], GRAY)
    _write(tmp_path / "drawn", ["y.png"], RED)
    result = CliRunner().invoke(commands, ["compare", a, "drawn", "photos", "--out", "page.html"])
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_count_spreads_over_the_names(tmp_path: Path) -> None:
    names = [f"{i}.png" for i in range(9)]
    folders = [str(_write(tmp_path / part, names, GRAY)) for part in ("a", "b", "photos")]
    page = tmp_path / "page.html"
    call = ["compare", *folders, "--out", str(page), "--count", "3"]
    assert CliRunner().invoke(commands, call).exit_code == 0
    shown = {item["name"] for item in _Page(page.read_text()).data["items"]}
    assert shown == {"0.png", "4.png", "8.png"}
