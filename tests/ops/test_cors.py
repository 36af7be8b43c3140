"""Pages of other origins, in a real browser: who is listed may draw and read, nobody else."""

import base64
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from photo2cartoon.api.app import GIVEN_HEADERS
from tests.ops.chromium import Browser, Page
from tests.places import PHOTO
from tests.server import Server, connect, wait_for

KEY = "open sesame"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a page that has nothing to do with the service."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "index.html").write_text("<!doctype html><title>Shop</title>")
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser, shop: str) -> Iterator[Page]:
    page = browser.open(shop)
    yield page
    page.send("Page.close")


def draw(page: Page, url: str, **headers: str) -> dict[str, Any]:
    """Send a photo from within a page; return what its script can see of the answer."""
    content = base64.b64encode(PHOTO.read_bytes()).decode()
    seen: dict[str, Any] = page.evaluate(f"""(async () => {{
      const bytes = Uint8Array.from(atob({content!r}), (one) => one.charCodeAt(0));
      const body = new FormData();
      body.append("photo", new Blob([bytes], {{ type: "image/jpeg" }}), "photo");
      try {{
        const init = {{ method: "POST", body, headers: {headers} }};
        const answer = await fetch("{url}/cartoonize", init);
        const {{ size, type }} = await answer.blob();
        return {{ status: answer.status, headers: Object.fromEntries(answer.headers), size, type }};
      }} catch (error) {{
        return {{ error: error.name }};
      }}
    }})()""")
    return seen


def wait_for_request(service: Server, method: str) -> None:
    """Wait until the service has logged one request of that method, and no second one."""
    asked = f'"method": "{method}"'
    wait_for(lambda: any(asked in line for line in service.lines))
    assert sum(asked in line for line in service.lines) == 1


def test_a_listed_origin_draws_and_reads_the_answer(page: Page, shop: str) -> None:
    keys = f"shop:{sha256(KEY.encode()).hexdigest()}:1"
    with Server(P2C_CORS_ORIGINS=f"https://other.example,{shop}", P2C_API_KEYS=keys) as service:
        drawn = draw(page, service.url, **{"X-API-Key": KEY})
        assert (drawn["status"], drawn["type"]) == (200, "image/png")
        assert drawn["size"] > 1000
        told = {name.lower() for name in GIVEN_HEADERS} - {"retry-after"}
        assert told <= set(drawn["headers"])
        assert "x-content-type-options" not in drawn["headers"]  # sent, but not for this page
        named = draw(
            page,
            service.url,
            **{
                "Authorization": f"Bearer {KEY}",
                "If-None-Match": drawn["headers"]["etag"],
                "X-Request-ID": "from-the-shop",
            },
        )
        assert (named["status"], named["headers"]["x-request-id"]) == (304, "from-the-shop")
        with connect(service.url) as other:  # the key may have one request under way
            head = f"POST /cartoonize HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
            other.sendall(f"{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
            assert other.recv(100).startswith(b"HTTP/1.1 100 ")
            busy = draw(page, service.url, **{"X-API-Key": KEY, "X-Request-Timeout-Ms": "60000"})
        assert (busy["status"], busy["type"]) == (429, "application/problem+json")
        assert int(busy["headers"]["retry-after"]) >= 1
        refused = draw(page, service.url)
        assert (refused["status"], refused["type"]) == (401, "application/problem+json")
        unknown = draw(page, service.url, **{"X-Other": "1"})  # the preflight does not allow it
        assert unknown == {"error": "TypeError"}


@pytest.mark.parametrize("origins", ["", "https://other.example"])
def test_an_origin_that_is_not_listed_reads_nothing(page: Page, origins: str) -> None:
    with Server(P2C_CORS_ORIGINS=origins) as service:
        assert draw(page, service.url) == {"error": "TypeError"}
        wait_for_request(service, "POST")  # a form needs no preflight: it is drawn, not shown
        assert draw(page, service.url, **{"X-API-Key": KEY}) == {"error": "TypeError"}
        wait_for_request(service, "OPTIONS")
        wait_for_request(service, "POST")  # the second was never sent
    assert any("CORS policy" in line for line in page.console())


def test_a_star_lets_every_page_in(page: Page) -> None:
    with Server(P2C_CORS_ORIGINS="*") as service:
        assert draw(page, service.url)["status"] == 200
