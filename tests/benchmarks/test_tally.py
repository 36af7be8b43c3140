"""What an answer is worth, and the arithmetic of rates and percentiles."""

import pytest

from benchmarks.serving.bare import overlap_rate
from benchmarks.serving.load import LOST, Answer, LoadResult
from benchmarks.serving.tally import (
    classify,
    goodput,
    percentile_ms,
    summarize,
    throughput,
)


def answer(
    status: int = 200, latency_s: float = 0.1, digest: str = "right", due_s: float = 0.0
) -> Answer:
    return Answer(0, due_s, 0.0, latency_s, status, digest, "")


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        (answer(), "good"),
        (answer(latency_s=0.4), "good"),  # the deadline itself is in time
        (answer(latency_s=0.401), "late"),
        (answer(digest="other"), "wrong"),
        (answer(digest="other", latency_s=9), "wrong"),
        (answer(503, digest="right"), "refused"),
        (answer(429), "refused"),
        (answer(504, latency_s=9), "refused"),
        (answer(408), "refused"),
        (answer(500), "refused"),
        (answer(LOST, latency_s=20), "lost"),
    ],
)
def test_outcomes(given: Answer, outcome: str) -> None:
    assert classify(given, "right", deadline_s=0.4) == outcome


def test_goodput_counts_what_is_done_inside_the_window() -> None:
    assert goodput([0.5, 1.0, 1.5, 2.0, 3.0, 3.5], start_s=1, end_s=3) == 1.5


def test_throughput_leaves_the_edges_out() -> None:
    # One a second between two slow edges.
    done = [0.0, 10.0, 11.0, 12.0, 13.0, 14.0, 50.0]
    assert throughput(done, edge=1) == 1.0
    assert throughput(list(reversed(done)), edge=1) == 1.0
    assert throughput(done, edge=3) == 0.0  # nothing left to tell from


def test_the_bare_rate_is_that_of_the_time_all_lanes_work() -> None:
    lanes = [[0.0, 1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0, 6.0]]
    assert overlap_rate(lanes) == 2.0


def test_percentiles_are_in_ms() -> None:
    seconds = [value / 1000 for value in range(101)]
    assert percentile_ms(seconds, 50) == pytest.approx(50)
    assert percentile_ms(seconds, 99) == pytest.approx(99)
    assert percentile_ms([], 50) is None


def test_a_point_of_open_loop() -> None:
    answers = [answer(due_s=float(due)) for due in range(11)]
    answers[3] = answer(503, latency_s=0.005, due_s=3)
    answers[4] = answer(latency_s=0.7, due_s=4)
    figures = summarize(LoadResult(answers, wall_s=10, cpu_s=0.5), "right", 0.4, None)
    assert figures["outcomes"] == {"good": 9, "refused": 1, "late": 1}
    assert figures["statuses"] == {"200": 10, "503": 1}
    assert figures["refusals_s"] == [0.005]
    assert len(figures["latencies_s"]) == 10  # the late one is in the percentiles
    # Counted from 0.4 s to 10 s: nine good ones, less those done at 0.1 and at 10.1.
    assert figures["goodput"] == pytest.approx(7 / 9.6)
    assert figures["generator_cores"] == pytest.approx(0.05)
    assert "throughput" not in figures


def test_a_point_of_closed_loop() -> None:
    answers = [answer(due_s=float(due)) for due in range(11)]
    figures = summarize(LoadResult(answers, wall_s=11, cpu_s=0.1), "right", 0.4, 1)
    assert figures["throughput"] == pytest.approx(1)
    assert "goodput" not in figures
