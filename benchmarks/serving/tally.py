"""From answers to figures: which were good, how fast, how many a second."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from benchmarks.serving.load import LOST, Answer, LoadResult

Outcome = Literal["good", "late", "wrong", "refused", "lost"]


def classify(answer: Answer, expected: str, deadline_s: float) -> Outcome:
    """Say what an answer is worth.

    good: 200, the right picture (its sha256 is `expected`), within the deadline; late: the same
    after it; wrong: 200 and another picture; refused: any other status; lost: no answer.
    """
    if answer.status == LOST:
        return "lost"
    if answer.status != 200:
        return "refused"
    if answer.digest != expected:
        return "wrong"
    return "good" if answer.latency_s <= deadline_s else "late"


def goodput(done_s: Sequence[float], start_s: float, end_s: float) -> float:
    """Good answers a second that were complete after `start_s` and up to `end_s`."""
    return sum(start_s < moment <= end_s for moment in done_s) / (end_s - start_s)


def throughput(done_s: Sequence[float], edge: int) -> float:
    """Jobs a second from the moments (s) they were done, without the first and last `edge` of them.

    At the edges not every connection or lane is busy.
    """
    ordered = sorted(done_s)
    if len(ordered) < 2 * edge + 2:
        return 0.0
    return (len(ordered) - 2 * edge - 1) / (ordered[-edge - 1] - ordered[edge])


def percentile_ms(seconds: Sequence[float], percent: float) -> float | None:
    """A percentile in ms; None without values."""
    return float(np.percentile(seconds, percent)) * 1000 if len(seconds) else None


def summarize(
    result: LoadResult, expected: str, deadline_s: float, connections: int | None
) -> dict[str, Any]:
    """The figures of one point; seconds of each right answer and each refusal stay with them.

    `connections` is that of a closed loop. An open loop's goodput is counted from one deadline
    after its first arrival to its last arrival: before, the queue fills, after, it empties.
    """
    answers = result.answers
    outcomes = [classify(answer, expected, deadline_s) for answer in answers]
    pairs = list(zip(outcomes, answers, strict=True))
    good = [answer.done_s for outcome, answer in pairs if outcome == "good"]
    right = [answer for outcome, answer in pairs if outcome in ("good", "late")]
    figures: dict[str, Any] = {
        "requests": len(answers),
        "outcomes": dict(Counter(outcomes)),
        "statuses": dict(Counter(str(answer.status) for answer in answers)),
        "latencies_s": [round(answer.latency_s, 5) for answer in right],
        "refusals_s": [round(a.latency_s, 5) for outcome, a in pairs if outcome == "refused"],
        "generator_cores": result.cpu_s / result.wall_s,
        "generator_ms": result.cpu_s / len(answers) * 1000,
        "lag_p99_ms": percentile_ms([answer.lag_s for answer in answers], 99),
    }
    if connections is not None:
        figures["throughput"] = throughput([answer.done_s for answer in right], connections)
    else:
        figures["goodput"] = goodput(good, answers[0].due_s + deadline_s, answers[-1].due_s)
    return figures
