"""What the README and the pages of docs/ promise, a test holds."""

import re
import shlex
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from photo2cartoon.ground.config_file import VARIABLE
from photo2cartoon.ground.settings import Settings
from tests.places import PHOTO, ROOT
from tests.server import Server

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "models" / "README.md"])
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
CURLS = [line for line in COMMANDS if line.startswith("curl")]
OUTPUTS = {
    "cartoon.png": ("PNG", 256),
    "cartoon.jpg": ("JPEG", 256),
    "cartoon.webp": ("WEBP", 256),
    "scene.png": ("PNG", 512),
    "whole.png": ("PNG", 512),
}


def shell(command: list[str], folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    environment = {"P2C_URL": url, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_readme_has_its_commands() -> None:
    assert "make serve" in COMMANDS
    assert "pip install '.[cpu]'" in COMMANDS
    assert "docker run --rm -p 8000:8000 photo2cartoon" in COMMANDS
    assert "make test" in COMMANDS
    assert len(CURLS) == 10


@pytest.mark.parametrize("command", CURLS)
def test_each_curl_line_of_the_readme_works(server: Server, tmp_path: Path, command: str) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    words = shlex.split(command.replace("localhost:8000", server.url))
    done = shell(words, tmp_path, server.url)
    assert done.returncode == 0, done.stderr
    for name in OUTPUTS.keys() & set(words):
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.width) == OUTPUTS[name]
    if "cartoons.zip" in words:
        assert zipfile.ZipFile(tmp_path / "cartoons.zip").namelist()[:2] == ["0.png", "1.png"]
    else:
        said = '"ready"' in done.stdout or '"comic"' in done.stdout
        assert OUTPUTS.keys() & set(words) or said


def test_the_readme_tree_is_the_disk() -> None:
    tree = README.split("## What is where")[1].split("```")[1]
    named = set(re.findall(r"^(\w+)/ ", tree, re.MULTILINE))
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {name.split("/")[0] for name in files.split("\0") if "/" in name}
    assert named == {folder for folder in folders if not folder.startswith(".")}


def test_every_function_of_the_walk_is_where_the_architecture_says() -> None:
    page = (DOCS / "architecture.md").read_text()
    rows = re.findall(r"^ *([\w.]+) +((?:app|models)/\S+\.py)", page, re.MULTILINE)
    names = [name for name, _ in rows]
    assert names[0] == "RequestId"
    assert names[-1] == "encode_image"
    assert {"Engine.cartoonize", "Lanes.run", "Pipeline.cartoonize", "draw"} < set(names)
    for name, file in rows:
        source = (ROOT / file).read_text()
        for word in name.split("."):
            assert re.search(rf"^ *(?:(?:async )?def|class) {word}\b", source, re.MULTILINE), name


def test_every_setting_is_documented_as_it_is() -> None:
    page = (DOCS / "settings.md").read_text()
    rows = re.findall(r"^\| `(P2C_\w+)` \| `(.*?)` \| (.*?) \|$", page, re.MULTILINE)

    def written(value: object) -> str:
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    real = [
        (f"P2C_{name.upper()}", written(field.default), field.description)
        for name, field in Settings.model_fields.items()
    ]
    assert rows == real


@pytest.mark.parametrize("page", ["README.md", "docs/python.md", "docs/architecture.md"])
def test_the_python_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks), {})


def test_the_index_names_every_page() -> None:
    named = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text())
    assert set(named) == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_has_lines_of_at_most_120_characters(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert [line for line in prose.splitlines() if len(line) > 120] == []


def test_settings_named_elsewhere_exist() -> None:
    names = r"P2C_[A-Z0-9_]+"
    known = {f"P2C_{name.upper()}" for name in Settings.model_fields} | {"P2C_URL", VARIABLE}
    for folder in ("docker", "k8s", "docs", "examples"):
        for path in (ROOT / folder).rglob("*.*"):
            if path.suffix not in (".png", ".jpg"):
                assert set(re.findall(names, path.read_text())) <= known | {"P2C_"}, path
    assert set(re.findall(names, (ROOT / "Dockerfile").read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if "://" not in target:
            name, _, place = target.partition("#")
            there = page.parent / name if name else page
            assert there.exists(), target
            assert not place or place in places(there), target


def places(page: Path) -> set[str]:
    """Anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_promise_of_security_names_tests_that_are_there() -> None:
    promised = (ROOT / "SECURITY.md").read_text().split("## What is promised")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in promised.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 20
    for promise, tests in rows:
        files = re.findall(r"`(\S+)`", tests)
        assert files, promise
        for file in files:
            assert re.search(r"^(async )?def test_", (ROOT / file).read_text(), re.MULTILINE), file


def test_the_first_make_serve_says_what_it_is_doing(tmp_path: Path) -> None:
    call = ["make", "--dry-run", "serve", f"VENV={tmp_path / 'new'}"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("echo", str(tmp_path)))]
    slow = [number for number, line in enumerate(lines) if " -m pip install " in line]
    assert len(slow) == 3
    assert all(lines[number - 1].startswith("echo") for number in slow)


def test_the_changelog_knows_this_version() -> None:
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    newest = re.search(r"^## \[(.*?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert version
    assert newest
    assert newest[1] == version[1]


SCRIPTS = ROOT / "examples" / "curl"


def test_example_one(server: Server, tmp_path: Path) -> None:
    done = shell([str(SCRIPTS / "one.sh"), str(PHOTO), "out.png"], tmp_path, server.url)
    assert (done.returncode, done.stderr) == (0, "200 image/png\n")
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (256, 256)


def test_example_one_shows_the_problem(server: Server, tmp_path: Path) -> None:
    done = shell([str(SCRIPTS / "one.sh"), __file__, "out.png"], tmp_path, server.url)
    assert done.returncode == 22
    assert "unsupported_format" in (tmp_path / "out.png").read_text()


def test_example_folder(server: Server, tmp_path: Path, photo: bytes) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").write_bytes(photo)
    (photos / "two words.JPEG").write_bytes(photo)
    (photos / "broken.png").write_text("no picture")
    (photos / "notes.txt").write_text("not a photo")
    done = shell([str(SCRIPTS / "folder.sh"), str(photos), "out"], tmp_path, server.url)
    assert done.returncode == 1
    assert "broken.png: " in done.stderr
    assert "415" in done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["one.png", "two words.png"]


def test_example_retry_waits_out_a_full_service(tmp_path: Path) -> None:
    server = Server(P2C_THREADS="1", P2C_MAX_QUEUE="0")
    codes: list[int] = []

    def call(number: int) -> None:
        script = [str(SCRIPTS / "retry.sh"), str(PHOTO), f"{number}.png"]
        codes.append(shell(script, tmp_path, server.url).returncode)

    callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    server.stop()
    assert codes == [0] * 4
    for number in range(4):
        with Image.open(tmp_path / f"{number}.png") as image:
            assert image.size == (256, 256)
    assert any('"code": "overloaded"' in line for line in server.lines)
