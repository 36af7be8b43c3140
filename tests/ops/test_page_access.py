"""The pages for everybody: by keyboard, at all widths, in both themes, by axe-core's rules."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from photo2cartoon.ground.errors import Unauthorized
from tests.ops.chromium import Browser, Page
from tests.places import PHOTO
from tests.server import Server

AXE = Path(sys.prefix) / "npm" / "node_modules" / "axe-core" / "axe.min.js"
START = "document.querySelector('.compare') && document.querySelector('.card')"
DRAWN = "document.querySelector('#actions').checkVisibility()"
FOCUS = "document.activeElement.id || document.activeElement.name || document.activeElement.type"


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    with Server() as service:
        yield service


def complaints(page: Page) -> list[Any]:
    """Return what axe-core finds wrong: each rule with the elements that break it."""
    assert AXE.exists(), "`make test-ops` installs axe-core"
    page.evaluate(AXE.read_text() + "; null")
    found: list[Any] = page.evaluate("""(async () => {
      const { violations } = await axe.run(document, { resultTypes: ["violations"] });
      return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]);
    })()""")
    return found


def overflow(page: Page) -> int:
    """Return by how many px the page is wider than its window."""
    wider: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return wider


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_every_state_is_accessible_and_fits(
    browser: Browser, service: Server, pictures: dict[str, Path], width: int, theme: str
) -> None:
    page = browser.open(service.url, width, 800, theme)
    page.wait_for(START)
    assert page.evaluate(f"matchMedia('(prefers-color-scheme: {theme})').matches")
    assert (complaints(page), overflow(page)) == ([], 0)
    page.upload(pictures["no_face"])
    page.wait_for("document.querySelector('#problem').checkVisibility()")
    assert (complaints(page), overflow(page)) == ([], 0)
    page.choose("faces", "all")
    page.upload(pictures["two"])
    page.wait_for(DRAWN)
    assert (complaints(page), overflow(page)) == ([], 0)
    page.answer_with(Unauthorized().body("request-7"))
    page.click("#draw")
    page.wait_for("document.querySelector('#access').checkVisibility()")
    assert (complaints(page), overflow(page)) == ([], 0)
    page.click("#camera")
    page.wait_for("document.querySelector('#video').videoWidth")
    assert (complaints(page), overflow(page)) == ([], 0)
    page.send("Page.close")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_list_of_operations_is_accessible_and_fits(
    browser: Browser, service: Server, width: int, theme: str
) -> None:
    page = browser.open(f"{service.url}/docs", width, 800, theme)
    page.wait_for("document.querySelector('.operation:nth-of-type(4)')")
    assert "POST/cartoonize" in page.text("#operations")
    assert "undefined" not in page.text("#operations")
    assert (complaints(page), overflow(page), page.console()) == ([], 0, [])
    page.send("Page.close")


def test_a_picture_by_keyboard_alone(browser: Browser, service: Server) -> None:
    page = browser.open(service.url)
    page.wait_for(START)

    def tab_to(name: str) -> None:
        for _ in range(30):
            page.press("Tab")
            if page.evaluate(FOCUS) == name:
                ring = "document.activeElement.matches(':focus-visible')"
                assert page.evaluate(ring), name
                return
        pytest.fail(f"Tab never reaches {name}")

    tab_to("choose")
    tab_to("camera")
    tab_to("example")
    page.press("Enter")
    page.wait_for(DRAWN)
    tab_to("download")
    tab_to("copy")
    tab_to("style")
    page.press("ArrowRight")
    tab_to("compose")
    page.press("ArrowRight", "ArrowRight")
    tab_to("draw")
    page.press("Enter")
    page.wait_for("document.querySelector('#caption').innerText.startsWith('comic, 512')")
    page.send("Page.close")


def test_the_camera_closes_by_escape(browser: Browser, service: Server) -> None:
    page = browser.open(service.url)
    page.wait_for(START)
    page.evaluate("document.querySelector('#camera').focus()")
    page.press("Enter")
    page.wait_for("document.querySelector('#video').videoWidth")
    page.press("Escape")
    page.wait_for("!document.querySelector('#booth').open")
    page.wait_for("document.querySelector('#video').srcObject === null")  # the camera is off
    assert page.evaluate("document.activeElement.id") == "camera"
    page.send("Page.close")


def test_a_screen_reader_hears_how_far_it_is(browser: Browser, service: Server) -> None:
    page = browser.open(service.url)
    page.wait_for(START)
    page.evaluate("""window.said = []; new MutationObserver(() =>
      said.push(document.querySelector("[role=status]").textContent)).observe(
        document.querySelector("[role=status]"), { childList: true })""")
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    page.wait_for("said.at(-1) === 'The picture is drawn.'")
    said = page.evaluate("said")
    assert len(said) == len(set(said)) <= 5  # never a number that counts
    page.send("Page.close")
