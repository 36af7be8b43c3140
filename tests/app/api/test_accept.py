"""Accept: preferences, odd headers, and how the work grows with the header's length."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from photo2cartoon.api.accept import MAX_LENGTH, best_match

PICTURES = ["image/webp", "image/jpeg", "image/png"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "image/png"),
        ("*", "image/png"),
        ("image/*", "image/png"),
        ("IMAGE/JPEG", "image/jpeg"),
        ("image/webp, */*", "image/webp"),
        ("image/png;q=0.4, image/*;q=0.5", "image/jpeg"),
        ("*/*, image/png;q=0", "image/jpeg"),
        ("image/*;q=0, image/webp", "image/webp"),
        ('image/jpeg;x="a,b;c"', "image/jpeg"),
        ("image/jpeg ; q = 0.2 , image/webp;q=0.1", "image/jpeg"),
        ("image/png;q=nan, image/webp;q=inf, image/jpeg;q=1e0", None),
        ("image/png;q=0", None),
        ("nonsense", None),
        (",;,=,q=1", None),
        ("*/*" + " " * MAX_LENGTH, None),
    ],
)
def test_the_best_match(accept: str, expected: str | None) -> None:
    assert best_match(accept, PICTURES) == expected


def _calls(function: Callable[[], Any]) -> int:
    """How many Python frames, and calls into C, a call makes."""
    count = 0

    def note(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal count
        count += 1

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("unit", [";", "a/b,", 'a/b;x=";', "q=1;", ","])
def test_the_work_grows_with_the_length_alone(unit: str) -> None:
    def work(length: int) -> int:
        return _calls(lambda: best_match((unit * length)[:length], PICTURES))

    assert work(8_000) < 9 * work(1_000)
