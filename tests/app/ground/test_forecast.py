"""The running estimate is RFC 6298's."""

import random

import pytest

from photo2cartoon.ground.forecast import RunningQuantile, RunningTime


def test_the_first_job_stands_alone_and_later_ones_blend_in() -> None:
    times = RunningTime()
    assert (times.mean, times.deviation) == (0, 0)
    times.add(0.8)
    assert (times.mean, times.deviation) == (0.8, 0.4)  # RFC 6298, 2.2
    times.add(1.6)  # 2.3: the deviation first, with the old mean
    assert times.deviation == pytest.approx(0.75 * 0.4 + 0.25 * 0.8)
    assert times.mean == pytest.approx(0.875 * 0.8 + 0.125 * 1.6)


def test_it_follows_a_change() -> None:
    times = RunningTime()
    for seconds in [0.1] * 50 + [0.3] * 50:
        times.add(seconds)
    assert times.mean == pytest.approx(0.3, rel=0.01)
    assert times.deviation < 0.01


@pytest.mark.parametrize("share", [0.9, 0.98, 0.995])
def test_the_quantile_is_followed(share: float) -> None:
    chance = random.Random(0)
    quantile = RunningQuantile(share)
    above = 0
    for number in range(20_000):
        value = chance.random()
        above += number >= 1_000 and value > quantile.value
        quantile.add(value, step=0.01)
    assert quantile.value == pytest.approx(share, abs=0.03)
    assert above / 19_000 < 2 * (1 - share)
    for _ in range(20_000):
        quantile.add(0.0, step=0.01)
    assert quantile.value == 0


def test_a_bad_hour_is_forgotten_by_the_time_that_two_more_would_have_come() -> None:
    quantile = RunningQuantile(0.995)
    for _ in range(30):
        quantile.add(40.0, step=1.25)
    assert quantile.value > 30
    for number in range(400):
        quantile.add(0.0, step=0.3)
        assert quantile.value > 29 or number == 399
    assert quantile.value == 0
