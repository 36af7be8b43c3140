"""The pages' files: headers, sizes, the switch, and that they keep step with the service."""

import re

import pytest
from starlette.testclient import TestClient

from photo2cartoon.api.app import create_app
from photo2cartoon.api.pages import FOLDER
from photo2cartoon.ground.errors import Problem
from photo2cartoon.ground.settings import Settings
from photo2cartoon.pipeline.pipeline import Pipeline
from tests.app.fakes import assert_problem

TEXTS = (".css", ".html", ".js", ".svg")
NAMES = sorted(file.name for file in FOLDER.iterdir())


@pytest.mark.parametrize("address", ["/", "/docs"])
def test_a_page_may_load_from_its_own_origin_only(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(
        rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; ")
    )
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("img-src") == "'self' blob:"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "connect")} == {"'self'"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["permissions-policy"].startswith("camera=(self)")
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith(".html")])
def test_each_file_has_its_type_and_is_asked_for_again_by_its_tag(
    client: TestClient, name: str
) -> None:
    answer = client.get(f"/page/{name}")
    kinds = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    kind = kinds.get(name.rpartition(".")[2], "image/webp")
    assert answer.headers["content-type"].partition(";")[0] == kind
    assert answer.content == (FOLDER / name).read_bytes()
    again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("address", ["/", "/docs", "/page/main.js"])
def test_head_says_what_get_would(client: TestClient, address: str) -> None:
    head, get = client.head(address), client.get(address)
    assert (head.status_code, head.content) == (200, b"")
    for header in ("content-type", "content-length", "etag"):
        assert head.headers[header] == get.headers[header]


@pytest.mark.parametrize("name", ["none.js", "index.html", "..%2fpages.py", "%2e%2e/pages.py"])
def test_nothing_else_can_be_asked_for(client: TestClient, name: str) -> None:
    assert_problem(client.get(f"/page/{name}"), 404, "not_found")


@pytest.mark.parametrize("address", ["/", "/docs", "/page/main.js", "/redoc"])
def test_the_pages_can_be_switched_off(pipeline: Pipeline, address: str) -> None:
    app = create_app(Settings(threads=1, page=False), lambda _: pipeline)
    with TestClient(app) as client:
        assert_problem(client.get(address), 404, "not_found")
        assert client.get("/openapi.json").status_code == 200


def test_the_pages_are_no_part_of_the_interface(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path in ("/", "/docs") or path.startswith("/page")]


def test_the_page_is_small_without_pictures() -> None:
    texts = [name for name in NAMES if name.endswith(TEXTS) and not name.startswith("docs.")]
    assert "index.html" in texts
    assert sum(len((FOLDER / name).read_bytes()) for name in texts) <= 60_000


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(TEXTS)])
def test_a_file_names_no_other_host_and_holds_no_inline_code(name: str) -> None:
    text = (FOLDER / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"^ *//.*$|\s// .*$", "", text, flags=re.MULTILINE)
    assert not re.search(r"\sstyle=|\son[a-z]+=[\"']|<style|<script(?![^>]*src=)|innerHTML", text)


def test_each_file_that_a_page_names_exists(client: TestClient) -> None:
    texts = [(FOLDER / name).read_text() for name in NAMES if name.endswith((".html", ".js"))]
    named = {name for text in texts for name in re.findall(r"page/([\w.-]+\.\w+)", text)}
    imported = {name for text in texts for name in re.findall(r'from "\./([\w.-]+)"', text)}
    assert {"main.js", "page.css", "example.webp"} <= named
    assert named | imported <= set(NAMES)


def test_every_problem_has_plain_words() -> None:
    words = (FOLDER / "words.js").read_text()
    explained = set(re.findall(r"^  (\w+): \[\"", words, re.MULTILINE))
    assert {problem.code for problem in Problem.__subclasses__()} <= explained
