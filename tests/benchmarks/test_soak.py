"""The soak's inputs get the answers it expects; its judge tells right from wrong."""

from random import Random

import pytest
from starlette.testclient import TestClient

from benchmarks.serving.hostile import fuzz, is_documented
from benchmarks.serving.inputs import Input, bad_inputs, good_inputs, mix
from benchmarks.serving.load import LOST, Answer, Photo
from benchmarks.serving.soak import MIB, Verdict, grown, judge
from tests.places import PHOTO

GOOD = good_inputs(PHOTO.read_bytes())
BAD = bad_inputs(PHOTO.read_bytes())


@pytest.mark.parametrize("item", GOOD + BAD, ids=lambda item: item.name)
def test_the_service_answers_each_input_as_expected(client: TestClient, item: Input) -> None:
    answer = client.post(
        "/cartoonize",
        content=item.photo.body,
        headers={"content-type": item.photo.content_type},
    )
    code = "" if answer.status_code == 200 else answer.json()["code"]
    assert (answer.status_code, code) == (item.status, item.code)


def test_the_largest_photo_has_12_megapixels() -> None:
    assert "JPEG 4000 px" in {item.name for item in GOOD}


def test_one_in_ten_is_bad() -> None:
    order = mix(GOOD, BAD, bad_share=0.1, count=200, seed=1)
    assert len(order) == 200
    assert sum(place >= len(GOOD) for place in order) == 20
    assert set(order) == set(range(len(GOOD) + len(BAD)))
    assert order == mix(GOOD, BAD, bad_share=0.1, count=200, seed=1)


@pytest.mark.parametrize(
    ("status", "code", "digest", "expected"),
    [
        (200, "", "right", "right"),
        (200, "", "other", "wrong"),
        (503, "overloaded", "", "refused"),
        (504, "deadline", "", "refused"),
        (500, "internal_error", "", "wrong"),
        (422, "no_face", "", "wrong"),
        (LOST, "", "", "lost"),
    ],
)
def test_judging_a_good_photo(status: int, code: str, digest: str, expected: str) -> None:
    answer = Answer(0, 0.0, 0.0, 0.1, status, digest, code)
    assert judge(answer, Input("photo", Photo(b"")), "right") == expected


def test_judging_a_bad_one() -> None:
    item = Input("text", Photo(b""), 415, "unsupported_format")
    for status, code, expected in [
        (415, "unsupported_format", "right"),
        (415, "other", "wrong"),
        (200, "", "wrong"),
        (503, "overloaded", "refused"),
    ]:
        assert judge(Answer(0, 0.0, 0.0, 0.1, status, "", code), item, "") == expected


def test_growth_is_told_from_ups_and_downs() -> None:
    steady = [(size * MIB, 20) for size in (380, 420, 390, 410, 385, 440)]
    assert grown(steady) == 0
    assert grown([(k * 100 * MIB, 20) for k in range(1, 7)]) == 1
    assert grown([(400 * MIB, 20 * k) for k in range(1, 7)]) == 1
    assert grown(steady[:2]) == 0


@pytest.mark.parametrize("name", ["lost", "wrong", "slow", "grown", "killed"])
def test_a_verdict_passes_when_nothing_went_wrong(name: str) -> None:
    assert Verdict().passed
    assert not Verdict(**{name: 1}).passed


def test_only_documented_failures_are_allowed_to_those_who_mean_harm() -> None:
    for status, code in (
        (200, ""),
        (422, "no_face"),
        (503, "overloaded"),
        (504, "deadline_passed"),
    ):
        assert is_documented(status, code)
    for status, code in ((500, "internal_error"), (500, ""), (503, ""), (502, "overloaded")):
        assert not is_documented(status, code)


def test_a_seed_repeats_what_is_fuzzed() -> None:
    files = [PHOTO.read_bytes(), b"GIF89a"]
    one, two = ([fuzz(random, files) for _ in range(50)] for random in (Random(1), Random(1)))
    assert one == two
    assert len({request.body for request in one}) > 25
