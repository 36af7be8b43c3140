"""The page at `/` in headless Chromium: photos in, pictures out, and every problem in words."""

import base64
import io
import re
import signal
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from photo2cartoon.ground.errors import Problem
from tests.ops.chromium import Browser, Page
from tests.places import PHOTO
from tests.server import Server, ready, requests_under_way, wait_for

START = "document.querySelector('.compare') && document.querySelector('.card')"
DRAWN = "document.querySelector('#actions').checkVisibility()"
WRONG = "document.querySelector('#problem').checkVisibility()"
FAILED_LOAD = "Failed to load resource"  # Chromium's own line for every answer of 400 or more
# Draws nothing before SIGUSR1.
HOLD_ALL = """
import signal, threading
from photo2cartoon.cli.main import main
from photo2cartoon.pipeline.pipeline import Pipeline

go, draw = threading.Event(), Pipeline.cartoonize
Pipeline.cartoonize = lambda *given: go.wait(300) and draw(*given)
signal.signal(signal.SIGUSR1, lambda *_: go.set())
main()
"""


@pytest.fixture(scope="module")
def service() -> Iterator[Server]:
    """A service with low limits, so that small files exceed them."""
    with Server(P2C_MAX_BODY_BYTES="200000", P2C_MAX_PIXELS="1200000") as service:
        yield service


@pytest.fixture
def page(browser: Browser, service: Server) -> Iterator[Page]:
    """The page, whose console must be empty afterwards."""
    page = browser.open(service.url)
    page.wait_for(START)
    yield page
    assert [line for line in page.console() if FAILED_LOAD not in line] == []
    page.send("Page.close")


def fetch_picture(page: Page) -> Image.Image:
    """Return the picture behind the link Download, losslessly."""
    script = """(async () => {
      const image = new Image();
      image.src = document.querySelector("#download").href;
      await image.decode();
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.getContext("2d").drawImage(image, 0, 0);
      return canvas.toDataURL().split(",")[1];
    })()"""
    return Image.open(io.BytesIO(base64.b64decode(page.evaluate(script))))


def hand_over(page: Page, event: str, target: str, photo: Path | None) -> None:
    """Paste or drop a photo; None pastes or drops text."""
    content = base64.b64encode(photo.read_bytes() if photo else b"").decode()
    member = {"paste": "clipboardData", "drop": "dataTransfer"}[event]
    kind = {"paste": "ClipboardEvent", "drop": "DragEvent"}[event]
    page.evaluate(f"""(async () => {{
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob({content!r}), (one) => one.charCodeAt(0));
      if (bytes.length) data.items.add(new File([bytes], "photo.jpg", {{ type: "image/jpeg" }}));
      else data.setData("text/plain", "text");
      const init = {{ {member}: data, bubbles: true, cancelable: true }};
      document.querySelector({target!r}).dispatchEvent(new {kind}({event!r}, init));
    }})()""")


def test_it_shows_an_example_and_every_style(page: Page) -> None:
    styles = page.evaluate("[...document.querySelectorAll('.card')].map((card) => card.innerText)")
    assert styles == ["comic", "photo2cartoon-lite"]
    assert page.text("#licence") == "Licence: Apache-2.0"
    page.choose("style", "photo2cartoon-lite")
    assert page.text("#licence") == "Licence: Research and demonstration only"
    assert not page.shown("#actions")


def test_a_photo_becomes_a_picture(page: Page) -> None:
    page.choose("style", "comic")
    page.choose("background", "transparent")
    page.choose("size", "512")
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    assert page.text("#caption").startswith(
        "comic, 256 \N{MULTIPLICATION SIGN} 256\N{NO-BREAK SPACE}px, "
    )
    assert "no more" in page.text("#caption")
    assert page.evaluate("document.querySelector('#download').download") == "cartoon.png"
    picture = fetch_picture(page)
    assert (picture.size, picture.getpixel((0, 0))) == ((256, 256), (0, 0, 0, 0))
    assert page.text("#chosen") == "astronaut.jpg, 69 KB."
    assert page.text("#status") == "The picture is drawn."


def test_a_portrait_has_a_slider_over_its_part_of_the_photo(page: Page, service: Server) -> None:
    page.choose("style", "comic")
    page.choose("background", "transparent")
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    clip = "getComputedStyle(document.querySelector('.photo-layer')).clipPath"
    assert page.evaluate(clip) == "inset(0px 50% 0px 0px)"  # nothing of it behind the drawing
    page.evaluate("document.querySelector('.compare input').focus()")
    page.press("End")
    assert page.evaluate(clip) == "inset(0px 0% 0px 0px)"
    canvas = page.evaluate("document.querySelector('canvas.photo-layer').toDataURL()")
    shown = Image.open(io.BytesIO(base64.b64decode(canvas.split(",")[1]))).convert("RGB")
    answer = httpx2.post(
        f"{service.url}/cartoonize?style=comic",
        content=PHOTO.read_bytes(),
        headers={"Accept": "application/json", "Content-Type": "image/jpeg"},
        timeout=120,
    )
    rows = np.vstack([answer.json()["pictures"][0]["from_photo"], [0, 0, 1]])
    back = np.linalg.inv(rows)[:2].ravel().tolist()
    photo = Image.open(PHOTO)
    expected = photo.transform(shown.size, Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    white = Image.new("L", photo.size, 255)
    inside = white.transform(shown.size, Image.Transform.AFFINE, back)
    apart = np.abs(np.asarray(shown, float) - np.asarray(expected, float))
    assert apart[np.asarray(inside) == 255].mean() < 4


def test_a_photo_that_the_browser_cannot_show_leaves_the_drawing_alone(
    page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "photo.tiff"
    Image.open(PHOTO).crop((100, 0, 356, 256)).save(file, compression="tiff_deflate")
    page.upload(file)
    page.wait_for(DRAWN)
    assert page.evaluate("document.querySelectorAll('#view .frame > *').length") == 1
    assert page.shown("#view img")


def test_a_key_is_asked_for_where_the_service_wants_one(browser: Browser) -> None:
    with Server(P2C_API_KEYS=f"me:{sha256(b'secret').hexdigest()}") as service:
        page = browser.open(service.url)
        page.wait_for(START)
        assert not page.shown("#access")
        page.upload(PHOTO)
        page.wait_for(WRONG)
        assert page.text("#problem-title") == "This service wants a key"
        for wrong in ("secrets", "\N{CYRILLIC SMALL LETTER KA}"):  # which no header can hold
            page.wait_for("document.activeElement.id === 'key'")
            page.send("Input.insertText", text=wrong)
            page.press("Enter")
            page.wait_for("document.querySelector('#problem').dataset.code === 'key_unknown'")
            page.wait_for(WRONG)
            page.evaluate("document.querySelector('#key').value = ''")
        page.send("Input.insertText", text="secret")
        page.press("Enter")
        page.wait_for(DRAWN)
        assert not page.shown("#access")
        page.click("#draw")  # the page still has the key
        page.wait_for("!document.querySelector('#progress').checkVisibility()")
        assert page.text("#status") == "The picture is drawn."
        assert not page.shown("#problem")
        stores = "[localStorage.length, sessionStorage.length, document.cookie, location.search]"
        assert page.evaluate(stores) == [0, 0, "", ""]
        page.send("Page.reload")
        page.wait_for(START)
        page.upload(PHOTO)
        page.wait_for(WRONG)
        assert page.text("#problem-title") == "This service wants a key"
        assert [line for line in page.console() if FAILED_LOAD not in line] == []
        page.send("Page.close")


def test_a_background_of_any_colour(page: Page) -> None:
    page.evaluate("""(() => {
      const field = document.querySelector("#colour");
      field.value = "#0080ff";
      field.dispatchEvent(new Event("input", { bubbles: true }));
    })()""")
    page.click("#example")
    page.wait_for(DRAWN)
    assert fetch_picture(page).convert("RGB").getpixel((0, 0)) == (0, 128, 255)


def test_a_whole_photo_takes_a_style_that_draws_it_and_has_a_slider(page: Page) -> None:
    page.choose("style", "photo2cartoon-lite")
    page.choose("compose", "whole")
    assert page.evaluate("new FormData(document.querySelector('#options')).get('style')") == "comic"
    assert not page.shown("#sizes")
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    assert fetch_picture(page).size == (512, 512)
    cut = "getComputedStyle(document.querySelector('.drawn-layer')).clipPath"
    assert page.evaluate(cut) == "inset(0px 0px 0px 50%)"
    page.evaluate("document.querySelector('.compare input').focus()")
    page.press("End")
    assert page.evaluate(cut) == "inset(0px 0px 0px 100%)"
    page.choose("style", "photo2cartoon-lite")
    chosen = "new FormData(document.querySelector('#options')).get('compose')"
    assert page.evaluate(chosen) == "portrait"


def test_everyone_gets_a_portrait(page: Page, pictures: dict[str, Path]) -> None:
    page.choose("faces", "all")
    page.upload(pictures["two"])
    page.wait_for(DRAWN)
    names = "[...document.querySelectorAll('#faces img')].map((image) => image.alt)"
    assert page.evaluate(names) == ["Face 1", "Face 2"]
    page.click("#faces li:last-child button")
    page.wait_for("document.querySelector('#download').download === 'cartoon-2.png'")
    assert page.evaluate("document.querySelector('#faces [aria-pressed=true] img').alt") == "Face 2"
    assert page.text("#status") == "2 faces are drawn."


def test_everyone_is_drawn_in_the_photo(page: Page, pictures: dict[str, Path]) -> None:
    page.choose("compose", "scene")
    page.choose("faces", "all")
    page.upload(pictures["two"])
    page.wait_for(DRAWN)
    assert fetch_picture(page).size == (1024, 512)
    assert page.shown(".compare")
    assert not page.shown("#faces")


@pytest.mark.parametrize(("event", "target"), [("paste", "body"), ("drop", "#stage")])
def test_a_photo_can_be_pasted_and_dropped(page: Page, event: str, target: str) -> None:
    hand_over(page, event, target, None)
    page.wait_for(WRONG)
    assert (
        page.evaluate("document.querySelector('#problem').dataset.code")
        == ({"paste": "no_picture_pasted", "drop": "no_picture_dropped"}[event])
    )
    hand_over(page, event, target, PHOTO)
    page.wait_for(DRAWN)
    assert not page.shown("#problem")


def test_the_camera_takes_a_photo(page: Page) -> None:
    page.click("#camera")
    page.wait_for("document.querySelector('#video').videoWidth")
    page.click("#shoot")
    page.wait_for(DRAWN)
    assert not page.shown("#booth")
    assert page.text("#chosen").startswith("camera.jpg, ")


def test_the_picture_can_be_copied(page: Page) -> None:
    page.choose("compose", "scene")  # a JPEG, of which the clipboard gets a PNG
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    page.click("#copy")
    page.wait_for("document.querySelector('#copy').innerText === 'Copied'")
    kinds = page.evaluate("navigator.clipboard.read().then(([item]) => item.types)")
    assert kinds == ["image/png"]


WRONG_FILES = [
    "unsupported_format",
    "undecodable_image",
    "no_face",
    "face_too_small",
    "too_many_pixels",
    "body_too_large",
]
WORTH_ANOTHER_TRY = {
    "malformed_request",
    "upload_timeout",
    "internal_error",
    "overloaded",
    "would_be_late",
    "draining",
    "deadline_passed",
}


@pytest.mark.parametrize("code", WRONG_FILES)
def test_a_wrong_file_is_told_in_plain_words(
    page: Page, pictures: dict[str, Path], code: str
) -> None:
    page.upload(pictures[code])
    page.wait_for(WRONG)
    assert page.evaluate("document.querySelector('#problem').dataset.code") == code
    assert code not in page.text("#problem")
    assert not page.shown("#again")
    assert not page.shown("#progress")
    page.upload(PHOTO)  # and the next photo is drawn
    page.wait_for(DRAWN)
    assert not page.shown("#problem")


def test_every_problem_is_told_in_plain_words_of_its_own(page: Page) -> None:
    texts = set()
    for problem in Problem.__subclasses__():
        page.answer_with(problem().body("request-7"))
        page.upload(PHOTO)
        page.wait_for(f"document.querySelector('#problem').dataset.code === {problem.code!r}")
        page.wait_for(WRONG)
        text = page.text("#problem")
        assert not re.search(r"_|undefined|null|\bHTTP\b|\bbody\b|field", text), text
        assert ("request-7" in text) == (problem.code == "internal_error")
        assert page.shown("#again") == (problem.code in WORTH_ANOTHER_TRY)
        texts.add(text)
    assert len(texts) == len(Problem.__subclasses__())
    assert sum("Try again in 7 seconds" in text for text in texts) == 4


def test_a_click_without_a_photo_asks_for_one(page: Page) -> None:
    page.click("#draw")
    page.wait_for(WRONG)
    assert page.text("#problem-title") == "There is no photo yet"
    assert page.evaluate("document.activeElement.id") == "choose"


def test_a_service_that_is_gone(browser: Browser) -> None:
    with Server() as service:
        page = browser.open(service.url)
        page.wait_for(START)
    page.upload(PHOTO)
    page.wait_for(WRONG)
    assert page.text("#problem-title") == "The service cannot be reached"
    assert page.shown("#again")
    page.send("Page.close")


def test_whoever_waits_sees_the_queue_and_can_leave_it(browser: Browser, photo: bytes) -> None:
    with Server(HOLD_ALL, P2C_THREADS="1") as service:
        with requests_under_way(service.url, photo, 3):
            wait_for(lambda: ready(service.url)["waiting"] == 2)
            page = browser.open(service.url)
            page.wait_for(START)
            page.upload(PHOTO)
            page.wait_for("document.querySelector('#phase').innerText === '2 photos before yours'")
            page.click("#cancel")
            wait_for(lambda: ready(service.url)["waiting"] == 2)
            assert not page.shown("#progress")
            assert not page.shown("#problem")
            page.click("#draw")
            page.wait_for("document.querySelector('#phase').innerText === '2 photos before yours'")
            service.process.send_signal(signal.SIGUSR1)
            page.wait_for(DRAWN)
        assert page.console() == []
        page.send("Page.close")


def test_nothing_is_stored(page: Page) -> None:
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    stores = """(async () => [localStorage.length, sessionStorage.length, document.cookie,
      (await caches.keys()).length, (await indexedDB.databases()).length])()"""
    assert page.evaluate(stores) == [0, 0, "", 0, 0]
    assert page.console() == []


def test_nothing_is_loaded_from_elsewhere(page: Page, service: Server) -> None:
    page.upload(PHOTO)
    page.wait_for(DRAWN)
    urls = {
        event["params"]["request"]["url"]
        for event in page.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert len(urls) > 10
    ours = (f"{service.url}/", "blob:", "about:")
    assert [url for url in urls if not url.startswith(ours)] == []
