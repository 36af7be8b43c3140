"""The family's picture is complete, and every answer has the one shape."""

import re

import pytest

import photo2cartoon.ground.errors
from photo2cartoon.ground.errors import MethodNotAllowed, Overloaded, Problem
from tests.places import ROOT

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


def make(kind: type[Problem]) -> Problem:
    return Overloaded(retry_after_s=3) if kind is Overloaded else kind()


def test_the_picture_names_every_member() -> None:
    drawn = re.findall(r"── (\w+) +(\d{3}) +(\w+)", photo2cartoon.ground.errors.__doc__ or "")
    real = [(kind.__name__, str(kind.status), kind.code) for kind in Problem.__subclasses__()]
    assert drawn == sorted(real, key=lambda row: row[1]) == real


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in Problem.__subclasses__()]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", Problem.__subclasses__(), ids=lambda kind: kind.code)
def test_every_problem_has_one_shape(kind: type[Problem]) -> None:
    problem = make(kind)
    body = problem.body("abc")
    assert set(body) == MEMBERS
    assert body["type"] == f"urn:photo2cartoon:problem:{kind.code}"
    assert body["status"] == kind.status
    assert body["request_id"] == "abc"
    assert body["detail"] == problem.detail == str(problem)


def test_headers_that_belong_to_a_problem() -> None:
    assert Overloaded(retry_after_s=7).headers == {"Retry-After": "7"}
    assert MethodNotAllowed("POST").headers == {"Allow": "POST"}


def test_the_documentation_lists_every_code() -> None:
    page = (ROOT / "docs" / "http.md").read_text()
    rows = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [(str(kind.status), kind.code) for kind in Problem.__subclasses__()]
