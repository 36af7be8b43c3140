"""How evenly groups are treated, and what chance alone would give."""

import numpy as np
import pytest

from photo2cartoon_models.evaluation.groups import SMALLEST, compare_groups

COUNT = 40


def test_groups_of_which_one_is_further_by_far() -> None:
    rng = np.random.default_rng(0)
    groups = ["a"] * COUNT + ["b"] * COUNT + ["few"] * (SMALLEST - 1) + [""]
    distances = np.concatenate(
        [rng.normal(0.1, 0.01, COUNT), rng.normal(0.2, 0.01, COUNT), [0.9] * SMALLEST]
    )
    report = compare_groups(groups, distances.tolist())
    assert [(row["group"], row["count"]) for row in report["rows"]] == [
        ("a", COUNT),
        ("b", COUNT),
        ("few", SMALLEST - 1),
    ]
    assert (report["ratio"]["nearest"], report["ratio"]["furthest"]) == ("a", "b")
    assert report["ratio"]["low"] < 2 < report["ratio"]["high"] < 2.2
    assert 1 < report["chance"] < 1.5


def test_equal_groups_differ_no_more_than_chance_says() -> None:
    rng = np.random.default_rng(1)
    groups = [name for name in "abcdefghij" for _ in range(COUNT)]
    distances = rng.gamma(4, 0.05, len(groups)).tolist()
    within = [compare_groups(rng.permutation(groups).tolist(), distances) for _ in range(20)]
    below = sum(report["ratio"]["value"] < report["chance"] for report in within)
    assert below >= 16  # 19 are expected


@pytest.mark.parametrize("count", [1, SMALLEST - 1])
def test_too_few_photos_have_no_ratio(count: int) -> None:
    report = compare_groups(["a"] * COUNT + ["b"] * count, [0.5] * (COUNT + count))
    assert (report["ratio"], report["chance"]) == (None, None)
