"""The documentation as a site: it builds strictly, holds together, and asks no other host."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.ops.chromium import Browser
from tests.ops.tools import find
from tests.places import ROOT

LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
FOREIGN = re.compile(r"^(?:https?:)?//")


class Html(HTMLParser):
    """What a page says of itself.

    Attributes:
        ids: places that a link can lead to.
        links: targets of its links.
        loads: what a browser fetches to show it.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if name in values)
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if LOADING.get(tag, "") in values:
            self.loads.append(values[LOADING[tag]])


def build(target: Path, checkout: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Build the site of a checkout with the MkDocs that `find` finds."""
    path = f"{Path(find('mkdocs')).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [checkout / ".ci" / "docs", target, Path(sys.prefix) / "npm" / "node_modules"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    done = build(target)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Html]:
    found = {path: Html(path.read_text()) for path in site.rglob("*.html")}
    del found[site / "404.html"]  # a server gives it at any address, so its links begin at the root
    return found


def test_every_page_is_there(site: Path, pages: dict[Path, Html]) -> None:
    documents = {path.relative_to(ROOT) for path in (ROOT / "docs").glob("*.md")}
    assert documents
    for document in documents:
        assert site / document.with_suffix(".html") in pages or document.stem == "index"
    assert {site / "index.html", site / "docs" / "index.html"} <= set(pages)


def test_every_link_and_anchor_leads_somewhere(pages: dict[Path, Html]) -> None:
    inner = [(page, link) for page, html in pages.items() for link in html.links if ":" not in link]
    assert len(inner) > 500
    for page, link in inner:
        name, _, place = link.partition("#")
        there = page.parent.joinpath(unquote(name)).resolve() if name else page
        assert there.is_file(), (page, link)
        assert not place or unquote(place) in pages[there].ids, (page, link)


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Html]) -> None:
    loads = [load for html in pages.values() for load in html.loads]
    assert len(loads) > len(pages)
    assert [load for load in loads if FOREIGN.match(load)] == []
    styles = list(site.rglob("*.css"))
    assert styles
    for style in styles:
        assert re.findall(r"(?:url\(|@import\s*)['\"]?(?:https?:)?//", style.read_text()) == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with the pages alone, to break."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in (".ci", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    for page in [*ROOT.glob("*.md"), *ROOT.glob("models/*.md"), ROOT / "mkdocs.yml"]:
        place = folder / page.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(page, place)
    for name in ("k8s/components/monitoring", "examples/gateway"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[gone](gone.md)", "gone.md"),
        ("[gone](http.md#gone)", "#gone"),
        ("![gone](images/gone.png)", "images/gone.png"),
    ],
)
def test_a_broken_link_stops_the_build(
    copy: Path, tmp_path: Path, line: str, complaint: str
) -> None:
    with (copy / "docs" / "python.md").open("a") as page:
        page.write(f"\n{line}\n")
    done = build(tmp_path / "site", copy)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_a_page_that_the_navigation_lacks_stops_the_build(copy: Path, tmp_path: Path) -> None:
    (copy / "docs" / "new.md").write_text("# New\n")
    done = build(tmp_path / "site", copy)
    assert done.returncode == 1
    assert "docs/new.md" in done.stderr


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", ["index.html", "docs/http.html", "docs/settings.html"])
def test_it_is_read_from_the_disk(browser: Browser, site: Path, name: str, width: int) -> None:
    page = browser.open((site / name).as_uri(), width=width)
    page.wait_for("document.querySelector('.md-content h1')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.console() == []
    asked = [
        event["params"]["request"]["url"]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_search_finds_without_a_server(browser: Browser, site: Path) -> None:
    page = browser.open((site / "index.html").as_uri())
    page.click("label[for=__search]")
    page.evaluate(
        "(() => { const field = document.querySelector('.md-search__input');"
        "field.focus(); field.value = 'P2C_DEADLINE_MS';"
        "field.dispatchEvent(new Event('input', {bubbles: true}));"
        "field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); })()"
    )
    page.wait_for("document.querySelector('.md-search-result__link[href*=\"docs/settings\"]')")
